/** How an attempt went, as far as it matters for what the endpoint may take next. */
export interface SlotOutcome {
  /** Failed after holding its slot for long: the endpoint is likely down. */
  hung: boolean;
  /** The endpoint asked to be left alone until then, in ms since the epoch. */
  pausedUntil?: number;
}

interface EndpointState {
  running: number;
  limit: number;
  hanging: boolean;
  pausedUntil: number;
}

const INITIAL_LIMIT = 8;

/**
 * Who may send now. Attempts in flight are bounded in all and per endpoint; an endpoint that lets requests hang is cut
 * down to one at a time, all such endpoints together to a quarter of the slots, and another quarter is kept for
 * endpoints with nothing in flight. So however many receivers are dead, the others' events go out at once.
 */
export class Slots {
  readonly #total: number;
  readonly #perEndpoint: number;
  readonly #endpoints = new Map<string, EndpointState>();
  #running = 0;
  #hangingRunning = 0;

  constructor(total: number, perEndpoint: number) {
    this.#total = total;
    this.#perEndpoint = perEndpoint;
  }

  get running(): number {
    return this.#running;
  }

  /** Endpoints that something is remembered of. */
  get known(): number {
    return this.#endpoints.size;
  }

  /** Takes up to `wanted` slots for an endpoint and returns how many it got. */
  take(endpoint: string, wanted: number, now: number): number {
    const state = this.#endpoints.get(endpoint) ?? { running: 0, limit: Math.min(INITIAL_LIMIT, this.#perEndpoint), hanging: false, pausedUntil: 0 };
    if (state.pausedUntil > now) return 0;
    const quarter = Math.ceil(this.#total / 4);
    const left = this.#total - this.#running;
    let open = Math.max(left - quarter, state.running === 0 ? Math.min(left, 1) : 0);
    if (state.hanging) open = Math.min(open, quarter - this.#hangingRunning);
    const taken = Math.max(0, Math.min(wanted, state.limit - state.running, open));
    if (taken > 0) this.#endpoints.set(endpoint, state);
    this.#count(state, taken);
    return taken;
  }

  /** Gives slots back that were not used, or one after an attempt. */
  give(endpoint: string, count: number, now: number, outcome?: SlotOutcome): void {
    const state = this.#endpoints.get(endpoint);
    if (!state) return;
    this.#count(state, -count);
    if (outcome) this.#learn(state, outcome);
    if (state.running === 0 && state.limit >= INITIAL_LIMIT && state.pausedUntil <= now) this.#endpoints.delete(endpoint);
  }

  /** The earliest end of a pause after `now`, in ms since the epoch. */
  nextUnpause(now: number): number | undefined {
    let next: number | undefined;
    for (const { pausedUntil } of this.#endpoints.values()) {
      if (pausedUntil > now && (next === undefined || pausedUntil < next)) next = pausedUntil;
    }
    return next;
  }

  /** Forgets endpoints with nothing in flight and no pause: they start anew, which for a dead one costs a few slots for a while. */
  forgetIdle(now: number): void {
    for (const [endpoint, state] of this.#endpoints) {
      if (state.running === 0 && state.pausedUntil <= now) this.#endpoints.delete(endpoint);
    }
  }

  #count(state: EndpointState, change: number): void {
    state.running += change;
    this.#running += change;
    if (state.hanging) this.#hangingRunning += change;
  }

  #learn(state: EndpointState, { hung, pausedUntil = 0 }: SlotOutcome): void {
    state.limit = hung ? Math.max(1, Math.floor(state.limit / 2)) : Math.min(this.#perEndpoint, state.limit + 1);
    state.pausedUntil = Math.max(state.pausedUntil, pausedUntil);
    const hanging = hung && state.limit === 1;
    if (hanging !== state.hanging) this.#hangingRunning += hanging ? state.running : -state.running;
    state.hanging = hanging;
  }
}

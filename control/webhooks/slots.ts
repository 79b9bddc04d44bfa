/** The right to have one attempt in flight. */
export interface Slot {
  readonly endpoint: string;
  slow: boolean;
}

/** How an attempt went, as far as it matters for what the endpoint may take next. */
export interface SlotOutcome {
  /** Failed after holding its slot for long: the endpoint is likely down. */
  hung: boolean;
  /** The endpoint asked to be left alone until then, in ms since the epoch. */
  pausedUntil?: number;
  /** What was asked: of another address than the endpoint has by now, nothing is learnt. */
  url?: string;
}

interface EndpointState {
  running: number;
  limit: number;
  answered: boolean;
  hanging: boolean;
  pausedUntil: number;
  /** The address that this was learnt of. */
  url: string | undefined;
}

const INITIAL_LIMIT = 8;

/**
 * Who may send now, so that however many endpoints are dead, the others' events go out at once. Attempts in
 * flight are bounded per endpoint, and in all by two lanes: every attempt begins in the fast one, and one
 * that takes long moves over to the slow one. An endpoint that lets requests hang is cut down to one at a
 * time, begun in the slow lane. A quarter of the fast lane is kept for endpoints with nothing in flight.
 */
export class Slots {
  readonly #fastLane: number;
  readonly #slowLane: number;
  readonly #perEndpoint: number;
  readonly #endpoints = new Map<string, EndpointState>();
  #fast = 0;
  #slow = 0;

  constructor(fastLane: number, perEndpoint: number) {
    this.#fastLane = fastLane;
    this.#slowLane = 2 * fastLane;
    this.#perEndpoint = perEndpoint;
  }

  get running(): number {
    return this.#fast + this.#slow;
  }

  /** Endpoints that something is remembered of. */
  get known(): number {
    return this.#endpoints.size;
  }

  /**
   * Takes as many slots as an endpoint may have now.
   * @param url its address, where that is known: what was learnt of an earlier one is forgotten
   */
  take(endpoint: string, now: number, url?: string): Slot[] {
    const state = this.#endpoints.get(endpoint) ?? { running: 0, ...this.#unknown(url) };
    if (url !== undefined && state.url !== url) Object.assign(state, this.#unknown(url));
    if (state.pausedUntil > now) return [];
    const left = this.#fastLane - this.#fast;
    const reserved = Math.ceil(this.#fastLane / 4);
    const open = state.hanging
      ? this.#slowLane - this.#slow
      : Math.max(left - reserved, state.running === 0 ? Math.min(left, 1) : 0);
    const count = Math.max(0, Math.min(state.limit - state.running, open));
    if (count > 0) this.#endpoints.set(endpoint, state);
    state.running += count;
    if (state.hanging) this.#slow += count;
    else this.#fast += count;
    return Array.from({ length: count }, () => ({ endpoint, slow: state.hanging }));
  }

  /**
   * An attempt has been in flight for long. Of an endpoint that has not answered anything yet, no more are
   * begun.
   */
  takesLong(slot: Slot): void {
    const state = this.#endpoints.get(slot.endpoint);
    if (state && !state.answered) {
      state.limit = 1;
      state.hanging = true;
    }
    if (slot.slow || this.#slow >= this.#slowLane) return;
    slot.slow = true;
    this.#fast--;
    this.#slow++;
  }

  /** Gives a slot back, after an attempt or unused. */
  give(slot: Slot, outcome?: SlotOutcome): void {
    if (slot.slow) this.#slow--;
    else this.#fast--;
    const state = this.#endpoints.get(slot.endpoint);
    if (!state) return;
    state.running--;
    if (outcome) this.#learn(state, outcome);
  }

  /** The earliest end of a pause after `now`, in ms since the epoch. */
  nextUnpause(now: number): number | undefined {
    let next: number | undefined;
    for (const { pausedUntil } of this.#endpoints.values()) {
      if (pausedUntil > now && (next === undefined || pausedUntil < next)) next = pausedUntil;
    }
    return next;
  }

  /**
   * Forgets endpoints with nothing in flight and no pause: they start anew, which for a dead one costs a few
   * slots for a second.
   */
  forgetIdle(now: number): void {
    for (const [endpoint, state] of this.#endpoints) {
      if (state.running === 0 && state.pausedUntil <= now) this.#endpoints.delete(endpoint);
    }
  }

  #unknown(url: string | undefined): Omit<EndpointState, 'running'> {
    return {
      limit: Math.min(INITIAL_LIMIT, this.#perEndpoint),
      answered: false,
      hanging: false,
      pausedUntil: 0,
      url,
    };
  }

  #learn(state: EndpointState, { hung, pausedUntil = 0, url }: SlotOutcome): void {
    if (url !== undefined && state.url !== undefined && url !== state.url) return;
    state.limit = hung
      ? Math.max(1, Math.floor(state.limit / 2))
      : Math.min(this.#perEndpoint, state.limit + 1);
    state.answered = !hung;
    state.hanging = hung && state.limit === 1;
    state.pausedUntil = Math.max(state.pausedUntil, pausedUntil);
  }
}

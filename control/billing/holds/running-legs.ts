import type { Logger } from '../../lib/logger.ts';
import { rfc3339 } from '../../lib/time.ts';
import { affordableSeconds, chargeOf, paidSeconds, type Tariff } from '../charge.ts';
import type { Caps } from '../ledger/account.ts';
import { KEPT_MS, nameOf, type Hold, type LegKey } from './hold.ts';
import type { HoldStore } from './store.ts';

/** Why a leg cannot be paid for any longer. */
export type Exhaustion = 'insufficient_balance' | 'spend_control_exceeded' | 'service_unavailable';

/** What is said of a leg that is about to run out: code, message, ends_at. */
export interface Warning extends Record<string, unknown> {
  code: Exhaustion;
  message: string;
  /** RFC 3339: when the call ends unless something changes. */
  ends_at: string;
}

interface Options {
  store: HoldStore;
  capsOf: (customerId: string) => Caps;
  holdSeconds: number;
  now: () => Date;
  logger: Logger;
}

interface Leg
  extends LegKey, Pick<Hold, 'customerId' | 'direction' | 'currency' | 'tariff' | 'coveredSeconds'> {
  answeredAt: Date | undefined;
  /** In ms: since when it is looked after here, or known to be answered. */
  since: number;
  /** Whether it has been brought up to date, or that has failed. */
  looked: boolean;
  /** Whether the database knows when it was answered. */
  answerStored: boolean;
  /**
   * In ms: until when the database knows that it is looked after. Of no interest once it is paid for by time.
   */
  keptUntil: number;
  nextTryAt: number;
  /** Set while it cannot be extended. */
  short: Exhaustion | undefined;
  ran: boolean;
}

/**
 * A hold is extended so long before it runs out, which is how long a database may be away without a call
 * noticing.
 */
const AHEAD_MS = 20_000;
/**
 * The end is told so much early: hanging up takes a moment, and a begun second would cost more than is held.
 */
const CUT_AHEAD_MS = 600;
const RETRY_MS = 1000;
/** A leg that ran out while nobody looked after it is ended unless it can be paid for within so long. */
const CATCH_UP_MS = 7000;
/**
 * What has been answered for a while is held no more for at first: it may have ended unseen, which is about
 * to be found out.
 */
const FOUND_MS = 2000;
/** Extensions under way at once: they share the database with everything else. */
const PARALLEL = 4;
/** Legs that one statement brings up to date. */
const LEGS_AT_ONCE = 100;

const MESSAGES: Record<Exhaustion, string> = {
  insufficient_balance: 'the balance does not cover more of this call',
  spend_control_exceeded: 'the spend limit does not allow more of this call',
  service_unavailable: 'more of this call cannot be paid for at the moment',
};

/**
 * The legs in the care of this process that money is held for: keeps each paid for while it runs, and says
 * when it cannot.
 */
export class RunningLegs {
  readonly #options: Options;
  readonly #legs = new Map<string, Leg>();
  /**
   * Legs that were taken over with their hold resolved, and when they are to end unless they have by then, in
   * ms.
   */
  readonly #unpaid = new Map<string, { key: LegKey; endsAt: number }>();
  #working: Promise<void> | undefined;
  /** Whether the last attempt failed: one line in the log for many calls. */
  #failing = false;
  readonly #exhausted: ((leg: LegKey, why: Exhaustion) => void)[] = [];
  readonly #warned: ((leg: LegKey, warning: Warning) => void)[] = [];

  constructor(options: Options) {
    this.#options = options;
  }

  get size(): number {
    return this.#legs.size;
  }

  onExhausted(listener: (leg: LegKey, why: Exhaustion) => void): void {
    this.#exhausted.push(listener);
  }

  onWarning(listener: (leg: LegKey, warning: Warning) => void): void {
    this.#warned.push(listener);
  }

  has(key: LegKey): boolean {
    return this.#legs.has(nameOf(key));
  }

  add(hold: Omit<Hold, 'heldMicros' | 'resolved'>): void {
    if (this.has(hold)) return;
    const { callId, leg, customerId, direction, currency, tariff, coveredSeconds, answeredAt, until } = hold;
    const now = this.#options.now().getTime();
    this.#legs.set(nameOf(hold), {
      callId,
      leg,
      customerId,
      direction,
      currency,
      tariff,
      coveredSeconds,
      answeredAt,
      since: now,
      looked: false,
      answerStored: answeredAt !== undefined,
      keptUntil: until?.getTime() ?? now,
      nextTryAt: answeredAt ? now + FOUND_MS : 0,
      short: undefined,
      ran: false,
    });
  }

  /** The call of a leg whose hold is resolved was taken over: it ends when it turns out to go on. */
  addUnpaid({ callId, leg }: LegKey): void {
    this.#unpaid.set(nameOf({ callId, leg }), {
      key: { callId, leg },
      endsAt: this.#options.now().getTime() + CATCH_UP_MS,
    });
  }

  answered(key: LegKey, at: Date): void {
    const leg = this.#legs.get(nameOf(key));
    if (!leg || leg.answeredAt) return;
    leg.answeredAt = at;
    leg.since = this.#options.now().getTime();
    if (leg.since - at.getTime() > FOUND_MS) leg.nextTryAt = leg.since + FOUND_MS;
  }

  /** Returns what was agreed for it, where it was here. */
  remove(key: LegKey): { tariff: Tariff; currency: string } | undefined {
    this.#unpaid.delete(nameOf(key));
    const leg = this.#legs.get(nameOf(key));
    this.#legs.delete(nameOf(key));
    return leg;
  }

  /** Tells that a leg is not paid for. */
  #exhaust(key: LegKey, why: Exhaustion): void {
    for (const listener of this.#exhausted) listener({ callId: key.callId, leg: key.leg }, why);
  }

  /** Tells at once of what has run out, and does what is due. Resolves when that is done; called often. */
  async tick(): Promise<void> {
    const now = this.#options.now().getTime();
    for (const leg of this.#legs.values()) {
      const until = coveredUntil(leg)?.getTime() ?? Infinity;
      const catchingUp = !leg.looked && now < leg.since + CATCH_UP_MS;
      if (leg.ran || now < until - CUT_AHEAD_MS || (!leg.short && (catchingUp || now < until))) continue;
      leg.ran = true;
      this.#exhaust(leg, leg.short ?? 'service_unavailable');
    }
    for (const [name, { key, endsAt }] of this.#unpaid) {
      if (now < endsAt) continue;
      this.#unpaid.delete(name);
      this.#exhaust(key, 'service_unavailable');
    }
    // The database may take its time: what has run out does not wait for it.
    this.#working ??= this.#work(now).finally(() => {
      this.#working = undefined;
    });
    await this.#working;
  }

  async #work(now: number): Promise<void> {
    const due = [...this.#legs.values()].filter(
      (leg) => leg.answeredAt && leg.nextTryAt <= now && (!leg.answerStored || this.#isDue(leg, now)),
    );
    const untold = due.filter((leg) => !leg.answerStored);
    for (let i = 0; i < untold.length; i += LEGS_AT_ONCE)
      await this.#storeAnswers(untold.slice(i, i + LEGS_AT_ONCE));
    const kept = [...this.#legs.values()].filter((leg) => this.#isToBeKept(leg, now));
    for (let i = 0; i < kept.length; i += LEGS_AT_ONCE) await this.#keep(kept.slice(i, i + LEGS_AT_ONCE));
    const running = due.filter((leg) => leg.answerStored).values();
    await Promise.all(
      Array.from({ length: PARALLEL }, async () => {
        for (const leg of running) await this.#look(leg);
      }),
    );
  }

  #isDue(leg: Leg, now: number): boolean {
    const until = coveredUntil(leg);
    return until !== undefined && !leg.ran && now >= until.getTime() - this.#ahead();
  }

  /** Others would take it for one that was left otherwise. What is paid for by time is extended instead. */
  #isToBeKept(leg: Leg, now: number): boolean {
    if (leg.nextTryAt > now || now < leg.keptUntil - KEPT_MS / 2) return false;
    return coveredUntil(leg) === undefined && (leg.answeredAt === undefined || leg.answerStored);
  }

  async #keep(legs: readonly Leg[]): Promise<void> {
    await this.#trying(legs, async () => {
      const until = this.#options.now().getTime() + KEPT_MS;
      await this.#options.store.keep(legs, new Date(until));
      for (const leg of legs) leg.keptUntil = until;
    });
  }

  /** Not more than half a slice, so that one slice at a time is held. */
  #ahead(): number {
    return Math.min(AHEAD_MS, this.#options.holdSeconds * 500);
  }

  async #storeAnswers(legs: readonly Leg[]): Promise<void> {
    await this.#trying(legs, async () => {
      const keptUntil = this.#options.now().getTime() + KEPT_MS;
      await this.#options.store.answered(
        legs.flatMap((leg) =>
          leg.answeredAt
            ? [
                {
                  callId: leg.callId,
                  leg: leg.leg,
                  answeredAt: leg.answeredAt,
                  coveredUntil: coveredUntil(leg) ?? new Date(keptUntil),
                },
              ]
            : [],
        ),
      );
      for (const leg of legs) Object.assign(leg, { answerStored: true, keptUntil });
    });
  }

  async #look(leg: Leg): Promise<void> {
    if (!this.has(leg)) return;
    await this.#trying([leg], async () => {
      if (this.#isDue(leg, this.#options.now().getTime())) await this.#extend(leg);
    });
  }

  /** What fails is tried again a little later. */
  async #trying(legs: readonly Leg[], work: () => Promise<void>): Promise<void> {
    const now = this.#options.now().getTime();
    try {
      await work();
      if (this.#failing) this.#options.logger.info('holds are brought up to date again');
      this.#failing = false;
    } catch (error) {
      if (!this.#failing)
        this.#options.logger.warn(
          { err: error, call: legs[0]?.callId, leg: legs[0]?.leg },
          'holds cannot be brought up to date; trying on',
        );
      this.#failing = true;
      for (const leg of legs) {
        leg.nextTryAt = now + RETRY_MS;
        const until = coveredUntil(leg);
        if (until && now >= until.getTime() - this.#ahead() / 2) this.#warn(leg, 'service_unavailable');
      }
    }
  }

  async #extend(leg: Leg): Promise<void> {
    const { store, holdSeconds, capsOf, now } = this.#options;
    // It may have run on while nobody looked after it.
    const used = Math.ceil((now().getTime() - (leg.answeredAt?.getTime() ?? 0)) / 1000);
    const wanted = paidSeconds(leg.tariff, Math.max(leg.coveredSeconds, used) + holdSeconds);
    let outcome = await this.#extendTo(leg, wanted, capsOf(leg.customerId));
    let why: Exhaustion | undefined;
    if (typeof outcome === 'object') {
      why = outcome.shortage === 'insufficient_balance' ? 'insufficient_balance' : 'spend_control_exceeded';
      // As far as the money goes.
      const possible = affordableSeconds(leg.tariff, leg.coveredSeconds, wanted, outcome.roomMicros);
      if (possible > leg.coveredSeconds)
        outcome = await this.#extendTo(leg, possible, capsOf(leg.customerId));
    }
    if (this.#legs.get(nameOf(leg)) !== leg) return; // It has ended meanwhile.
    if (outcome === 'resolved') {
      // Nobody else extends a leg of ours: either the reply to an extension was lost, or the hold has been
      // swept.
      const hold = (await store.ofCall(leg.callId)).find((one) => one.leg === leg.leg);
      if (hold && !hold.resolved) leg.coveredSeconds = hold.coveredSeconds;
      else if (this.#legs.get(nameOf(leg)) === leg) this.#swept(leg);
      return;
    }
    if (why === undefined) {
      leg.short = undefined;
      return;
    }
    leg.nextTryAt = now().getTime() + RETRY_MS; // Somebody may pay in meanwhile.
    this.#warn(leg, why);
  }

  async #extendTo(leg: Leg, toSeconds: number, caps: Caps): ReturnType<HoldStore['extend']> {
    const amountMicros = chargeOf(leg.tariff, toSeconds) - chargeOf(leg.tariff, leg.coveredSeconds);
    const until = new Date((leg.answeredAt?.getTime() ?? 0) + toSeconds * 1000);
    const outcome = await this.#options.store.extend({
      hold: leg,
      fromSeconds: leg.coveredSeconds,
      toSeconds,
      coveredUntil: until,
      amountMicros,
      caps,
      at: this.#options.now(),
    });
    if (outcome === 'done') leg.coveredSeconds = toSeconds;
    return outcome;
  }

  #swept(leg: Leg): void {
    this.remove(leg);
    if (!leg.ran) this.#exhaust(leg, 'service_unavailable');
  }

  #warn(leg: Leg, code: Exhaustion): void {
    if (leg.short === code) return;
    leg.short = code;
    const until = coveredUntil(leg) ?? this.#options.now();
    for (const listener of this.#warned)
      listener(
        { callId: leg.callId, leg: leg.leg },
        { code, message: MESSAGES[code], ends_at: rfc3339(until) },
      );
  }
}

/** Until when an answered leg is paid for; undefined where time costs nothing. */
function coveredUntil({ answeredAt, coveredSeconds, tariff }: Leg): Date | undefined {
  return answeredAt && tariff.priceMicros > 0n
    ? new Date(answeredAt.getTime() + coveredSeconds * 1000)
    : undefined;
}

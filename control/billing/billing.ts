import type { Customer } from '../customers/schema.ts';
import { capReached, checkSpendRules } from '../limits/spend-control.ts';
import { isAway } from '../lib/database-away.ts';
import { ApiError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { parseMicros } from '../lib/money.ts';
import { wholeSeconds } from '../lib/time.ts';
import { TookTooLong, within } from '../lib/within.ts';
import { chargeOf, paidSeconds } from './charge.ts';
import { KEPT_MS, type Hold, type LegKey, type LegTimes } from './holds/hold.ts';
import { RunningLegs, type Exhaustion, type Warning } from './holds/running-legs.ts';
import { Settlements, type Costs } from './holds/settlements.ts';
import type { HoldStore } from './holds/store.ts';
import type { Caps } from './ledger/account.ts';
import type { Direction, Rate } from './rates/rate.ts';
import type { Rates } from './rates/rates.ts';

export type { LegKey, LegTimes } from './holds/hold.ts';
export type { Exhaustion, Warning } from './holds/running-legs.ts';
export type { Rate } from './rates/rate.ts';

type Spender = Pick<Customer, 'id' | 'currency' | 'spend'>;

export interface BillingOptions {
  rates: Rates;
  store: HoldStore;
  /** From memory. */
  customerOf: (id: string) => Spender | undefined;
  costs: Costs;
  /** Seconds that are held for at a time. */
  holdSeconds: number;
  logger: Logger;
  now?: () => Date;
  /** How long a new call waits for a database that hangs, in ms. */
  patienceMs?: number;
}

/** What is held for a leg before it is dialled. */
export interface HoldRequest extends LegKey {
  customerId: string;
  applicationId: string | undefined;
  direction: Direction;
  number: string;
  rate: Rate;
}

/** What a leg costs by its rate. */
export interface LegCost {
  amountMicros: bigint;
  currency: string;
}

const PATIENCE_MS = 3000;
const TICK_MS = 200;
const SWEEP_MS = 10_000;
/** Calls in progress are left alone for so long after a start: they are still being taken over. */
const TAKING_OVER_MS = 60_000;
/** Settling what waits when the process leaves; the sweeper of the next life has the rest. */
const DRAIN_MS = 2000;

/**
 * Prepaid money for calls: a price, money set aside before a leg is dialled, more of it while the leg runs,
 * and exactly what was used charged at its end. Whatever becomes of a process, each hold is resolved once,
 * and no balance goes below zero.
 */
export class Billing {
  readonly #options: BillingOptions;
  readonly #now: () => Date;
  readonly #running: RunningLegs;
  readonly #settlements: Settlements;
  /** The legs that end while the holds of their call are read. */
  readonly #adopting = new Map<string, Set<number>>();
  #timers: NodeJS.Timeout[] = [];
  #startedAt = -Infinity;

  constructor(options: BillingOptions) {
    const { store, costs, holdSeconds, logger, now = () => new Date() } = options;
    this.#options = options;
    this.#now = now;
    this.#running = new RunningLegs({ store, holdSeconds, logger, now, capsOf: (id) => this.#capsOf(id) });
    this.#settlements = new Settlements({ store, costs, now, logger });
  }

  /** Loads the rates, and from then on looks after what is due. */
  async start(): Promise<void> {
    await this.#options.rates.load();
    this.#startedAt = this.#now().getTime();
    const sweep = (): Promise<unknown> =>
      this.sweep().catch((error: unknown) =>
        this.#options.logger.warn({ err: error }, 'holds that were left could not be looked for'),
      );
    this.#timers = [setInterval(() => void this.tick(), TICK_MS), setInterval(() => void sweep(), SWEEP_MS)];
  }

  /**
   * Gives back what an earlier life of a control process has held for calls that it never came to dial: a
   * call is stored before it is dialled, and these are not. To be called before the process places calls of
   * its own. Never throws: the sweeper finds them as well, two minutes after they were made.
   */
  async recover(instance: number): Promise<void> {
    const { store, logger } = this.#options;
    const at = this.#now();
    try {
      for (const leg of await store.unstored(instance, at)) {
        logger.warn(
          { call: leg.callId },
          'money was held for a call that was never dialled; it is given back',
        );
        this.#settlements.end(leg, { endedAt: at });
      }
    } catch (error) {
      logger.warn({ err: error }, 'holds of an earlier life could not be looked for');
    }
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([
      this.#settlements.idle(),
      new Promise<void>((resolve) => {
        timer = setTimeout(resolve, DRAIN_MS);
      }),
    ]);
    clearTimeout(timer);
  }

  /** Legs that money is held for, and legs that have ended and are not settled yet. */
  get counters(): { running: number; unsettled: number } {
    return { running: this.#running.size, unsettled: this.#settlements.size };
  }

  /**
   * What a call of this customer costs, from memory; undefined when no rate matches. A customer's own rates
   * come before the default table, within each the longest active prefix wins.
   */
  rateFor(customerId: string, direction: Direction, number: string): Rate | undefined {
    const customer = this.#options.customerOf(customerId);
    return customer && this.#options.rates.table.find(customer, direction, number, this.#now());
  }

  /**
   * The spend rules that need no look at the balance: prefixes and the highest price.
   * @throws ApiError spend_control_exceeded, with the rule in its details
   */
  checkSpend(customer: Spender, number: string, rate: Rate | undefined): void {
    checkSpendRules(customer.spend, number, rate?.priceMicros);
  }

  /**
   * Sets the fee and the first seconds of a leg aside. Outbound legs count against the daily and the monthly
   * cap.
   * @throws ApiError insufficient_balance, spend_control_exceeded, service_unavailable
   */
  async hold({ rate, ...leg }: HoldRequest): Promise<void> {
    const coveredSeconds = paidSeconds(rate, this.#options.holdSeconds);
    const amountMicros = chargeOf(rate, coveredSeconds);
    const at = this.#now();
    const opened = this.#options.store.open({
      ...leg,
      rate,
      coveredSeconds,
      amountMicros,
      caps: this.#capsOf(leg.customerId),
      at,
    });
    try {
      const outcome = await within(this.#options.patienceMs ?? PATIENCE_MS, opened);
      if (outcome !== 'done')
        throw outcome.shortage === 'insufficient_balance'
          ? new ApiError('insufficient_balance')
          : capReached(outcome.shortage);
    } catch (error) {
      if (!isAway(error) && !(error instanceof TookTooLong)) throw error;
      // The reply may have been lost on its way, or be late, and not the hold: nobody will come back for it.
      const giveBack = (): void => this.#settlements.end(leg, { endedAt: this.#now() });
      opened.then(giveBack, giveBack);
      this.#options.logger.warn(
        { err: error, call: leg.callId },
        'no money can be held for a call: the database is away',
      );
      throw new ApiError('service_unavailable', 'the balance cannot be checked right now', { retryAfter: 1 });
    }
    this.#running.add({
      ...leg,
      currency: rate.currency,
      tariff: rate,
      coveredSeconds,
      answeredAt: undefined,
      until: new Date(at.getTime() + KEPT_MS),
    });
  }

  /** From here on the leg is paid for by time. Nothing happens to a leg without a hold. */
  answered(leg: LegKey, at: Date): void {
    this.#running.answered(leg, at);
  }

  /**
   * Charges what was used and gives the rest back: in the background, tried until done, once per leg however
   * often it is told. A leg that was not answered costs nothing. Nothing happens to a leg without a hold.
   * @param options.atMostHeld its end is not known: no more than what is held is charged
   * @returns what it costs by its rate, where the hold is looked after here; less is charged where the
   *   balance is less
   */
  ended(leg: LegKey, times: LegTimes, { atMostHeld = false } = {}): LegCost | undefined {
    const agreed = this.#running.remove(leg);
    this.#adopting.get(leg.callId)?.add(leg.leg);
    this.#settlements.end(leg, times, { atMostHeld, known: agreed !== undefined });
    if (!agreed) return undefined;
    const { answeredAt, endedAt } = times;
    return {
      amountMicros: answeredAt ? chargeOf(agreed.tariff, wholeSeconds(answeredAt, endedAt)) : 0n,
      currency: agreed.currency,
    };
  }

  /** Calls back when a leg is not paid for any longer: the call must end now. */
  onExhausted(listener: (leg: LegKey, why: Exhaustion) => void): void {
    this.#running.onExhausted(listener);
  }

  /** Calls back once when a leg cannot be extended any more, for the call's timeline. */
  onWarning(listener: (leg: LegKey, warning: Warning) => void): void {
    this.#running.onWarning(listener);
  }

  /**
   * Looks after the open holds of a call that this process has taken over. Legs that have been answered
   * meanwhile are told by `answered`, those that are gone by `ended`. A call whose own hold was resolved in
   * between has to end, unless it turns out to have ended.
   * @returns all holds there ever were for the call
   */
  async adopt(callId: string): Promise<Hold[]> {
    const ended = this.#adopting.get(callId) ?? new Set();
    this.#adopting.set(callId, ended);
    const holds = await this.#options.store.ofCall(callId).finally(() => this.#adopting.delete(callId));
    for (const hold of holds.filter(({ leg }) => !ended.has(leg))) {
      if (!hold.resolved) this.#running.add(hold);
      else if (hold.leg === 0) this.#running.addUnpaid(hold);
    }
    return holds;
  }

  /** What is due now: extensions, cut-offs, settlements that failed before. Runs by itself once started. */
  async tick(): Promise<void> {
    await Promise.all([this.#running.tick(), this.#settlements.tick()]);
  }

  /** Resolves holds that nobody looks after. Runs by itself once started. Returns how many there were. */
  sweep(): Promise<number> {
    const takingOver = this.#now().getTime() < this.#startedAt + TAKING_OVER_MS;
    return this.#settlements.sweep((leg) => takingOver || this.#running.has(leg));
  }

  #capsOf(customerId: string): Caps {
    const { daily, monthly } = this.#options.customerOf(customerId)?.spend ?? {};
    return {
      dailyMicros: daily === undefined ? undefined : parseMicros(daily),
      monthlyMicros: monthly === undefined ? undefined : parseMicros(monthly),
    };
  }
}

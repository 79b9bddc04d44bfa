import type { Knex } from 'knex';
import type { Logger } from '../../lib/logger.ts';
import { nameOf, type Cost, type LegKey, type LegTimes } from './hold.ts';
import type { HoldStore } from './store.ts';

/** Where the cost of a call is shown: the calls room. */
export interface Costs {
  /**
   * Adds the cost of a leg to its call, in this transaction.
   * @returns false when the call is not stored yet
   */
  settled(trx: Knex.Transaction, leg: LegKey, cost: Cost): Promise<boolean>;
}

interface Options {
  store: HoldStore;
  costs: Costs;
  now: () => Date;
  logger: Logger;
}

interface Ending extends LegKey {
  times: LegTimes;
  atMostHeld: boolean;
  /** There is a hold of it for certain. */
  known: boolean;
  since: number;
  failures: number;
  nextTryAt: number;
}

const PARALLEL = 4;
const LONGEST_PAUSE_MS = 5000;
/** A call that has not reached the database by then never will; its money is settled without it. */
const CALL_MISSING_MS = 120_000;
const SWEEP = { endedMs: 10_000, unknownMs: 120_000, uncoveredMs: 60_000 };

/** The legs that have ended: settles each one's hold, and goes on trying until the database has taken it. */
export class Settlements {
  readonly #options: Options;
  readonly #ending = new Map<string, Ending>();
  readonly #queue: Ending[] = [];
  #running = 0;
  #idle: (() => void)[] = [];

  constructor(options: Options) {
    this.#options = options;
  }

  /** Legs that have ended and are not settled yet. */
  get size(): number {
    return this.#ending.size;
  }

  /** The first end that is told of a leg counts. */
  end(key: LegKey, times: LegTimes, { atMostHeld = false, known = false } = {}): void {
    const name = nameOf(key);
    if (this.#ending.has(name)) return;
    const ending: Ending = {
      callId: key.callId,
      leg: key.leg,
      times,
      atMostHeld,
      known,
      since: this.#options.now().getTime(),
      failures: 0,
      nextTryAt: 0,
    };
    this.#ending.set(name, ending);
    this.#queue.push(ending);
    this.#work();
  }

  /** Tries again what has failed and is due. Resolves when everything that could be tried has been. */
  async tick(): Promise<void> {
    const now = this.#options.now().getTime();
    for (const ending of this.#ending.values()) {
      if (ending.failures > 0 && ending.nextTryAt <= now && !this.#queue.includes(ending)) {
        ending.nextTryAt = Infinity;
        this.#queue.push(ending);
      }
    }
    this.#work();
    await this.idle();
  }

  /** Resolves when nothing is being tried. */
  async idle(): Promise<void> {
    if (this.#running > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /**
   * Resolves the holds that nobody looks after, such as those of a process that died.
   * @param spare says of a leg whose call has not ended that it is to be left alone
   * @returns how many there were
   */
  async sweep(spare: (key: LegKey) => boolean): Promise<number> {
    const { store, now, logger } = this.#options;
    const ago = (ms: number): Date => new Date(now().getTime() - ms);
    const orphans = await store.orphans({
      ended: ago(SWEEP.endedMs),
      unknown: ago(SWEEP.unknownMs),
      uncovered: ago(SWEEP.uncoveredMs),
    });
    const left = orphans.filter((orphan) => orphan.why === 'call ended' || !spare(orphan));
    for (const orphan of left) {
      logger.warn(
        { call: orphan.callId, leg: orphan.leg, why: orphan.why },
        'a hold was left and is resolved now',
      );
      this.end(orphan, orphan.times, { atMostHeld: orphan.atMostHeld, known: true });
    }
    await this.idle();
    return left.length;
  }

  #work(): void {
    while (this.#running < PARALLEL) {
      const ending = this.#queue.shift();
      if (!ending) return;
      this.#running++;
      void this.#settle(ending).finally(() => {
        this.#running--;
        this.#work();
        if (this.#running === 0) for (const resolve of this.#idle.splice(0)) resolve();
      });
    }
  }

  async #settle(ending: Ending): Promise<void> {
    const { store, costs, now, logger } = this.#options;
    const key: LegKey = { callId: ending.callId, leg: ending.leg };
    try {
      await store.resolve(key, ending.times, now(), ending, async (trx, cost) => {
        const stored = await costs.settled(trx, key, cost);
        // A call that cost nothing gives its money back at once; one that did waits for its row, but not for
        // ever.
        if (!stored && cost.amountMicros > 0n && now().getTime() - ending.since < CALL_MISSING_MS)
          throw new Error('the call is not stored yet');
      });
      this.#ending.delete(nameOf(key));
    } catch (error) {
      ending.failures++;
      ending.nextTryAt = now().getTime() + Math.min(100 * 2 ** ending.failures, LONGEST_PAUSE_MS);
      if (ending.failures % 10 === 0)
        logger.error(
          { err: error, ...key, failures: ending.failures },
          'a hold cannot be settled; trying on',
        );
    }
  }
}

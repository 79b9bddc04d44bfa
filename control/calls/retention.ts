import type { Knex } from 'knex';
import type { CallStore } from './store.ts';

/** What another room keeps of calls. */
export interface CallKeeper {
  /** Those of these calls that must not be removed yet. */
  needs(callIds: readonly string[]): Promise<readonly string[]>;
  /** Removes what the room itself keeps of calls that are being removed. */
  forget(trx: Knex.Transaction, callIds: readonly string[]): Promise<void>;
}

interface Options {
  store: CallStore;
  keepers: readonly CallKeeper[];
  /** For how long calls are kept, in days; 0 for ever. */
  days: number;
  now?: () => Date;
}

const DAY_MS = 24 * 3600 * 1000;
/** A step looks at so many batches at most: those in which other rooms need every call remove nothing. */
const MOST_BATCHES = 20;

/** Removes calls of long ago with their timelines, the oldest first, unless another room still needs them. */
export class CallRetention {
  readonly #o: Options;
  /** Where the next step begins: what lies before is gone, or needed. */
  #after = '';

  constructor(options: Options) {
    this.#o = options;
  }

  /** Removes at most `limit` calls; returns how many. */
  async purge(limit: number): Promise<number> {
    const { store, keepers, days, now = () => new Date() } = this.#o;
    if (days === 0) return 0;
    const before = new Date(now().getTime() - days * DAY_MS);
    let removed = 0;
    for (let batch = 0; batch < MOST_BATCHES && removed < limit; batch++) {
      const ended = await store.endedBefore(before, this.#after, limit - removed);
      const needed = new Set((await Promise.all(keepers.map((keeper) => keeper.needs(ended)))).flat());
      const over = ended.filter((id) => !needed.has(id));
      await store.remove(over, async (trx) => {
        for (const keeper of keepers) await keeper.forget(trx, over);
      });
      const last = ended.at(-1);
      // At the end the next sweep begins anew: what was needed may not be any more.
      this.#after = last !== undefined && ended.length === limit - removed ? last : '';
      removed += over.length;
      if (this.#after === '') break;
    }
    return removed;
  }
}

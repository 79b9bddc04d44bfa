import type { RateStore } from './store.ts';
import { RateTable } from './table.ts';

/** The id in the news of a change that may have touched any rate: an import. */
export const ALL_RATES = 'all';

/** Keeps the rates in memory equal to the database. */
export class Rates {
  readonly table = new RateTable();
  readonly #store: RateStore;
  #mark = '';
  #reading: Promise<unknown> = Promise.resolve();

  constructor(store: RateStore) {
    this.#store = store;
  }

  /** Reads everything anew. */
  load(): Promise<void> {
    return this.#inTurn(() => this.#load());
  }

  /** Reads everything anew if anything has changed whose news was missed. */
  reload(): Promise<void> {
    return this.#inTurn(async () => {
      if ((await this.#store.mark()) !== this.#mark) await this.#load();
    });
  }

  /** Reads one rate anew. @param id of a rate, or ALL_RATES */
  refresh(id: string): Promise<void> {
    return this.#inTurn(async () => {
      if (id === ALL_RATES) await this.#load();
      else this.table.put(id, await this.#store.get(id));
    });
  }

  /** One after the other: what a reload has read must not take the place of what a later refresh has. */
  #inTurn<T>(read: () => Promise<T>): Promise<T> {
    const turn = this.#reading.then(read, read);
    this.#reading = turn.catch(() => undefined);
    return turn;
  }

  async #load(): Promise<void> {
    const mark = await this.#store.mark();
    this.table.replace(await this.#store.loadAll());
    this.#mark = mark;
  }
}

import type { RateStore } from './store.ts';
import { RateTable } from './table.ts';

/** The id in the news of a change that may have touched any rate: an import. */
export const ALL_RATES = 'all';

/** A change that took so long to commit is found all the same, in ms. */
const SLACK_MS = 60_000;

/** Keeps the rates in memory equal to the database. */
export class Rates {
  readonly #store: RateStore;
  #table = new RateTable();
  #mark: { count: number; latest: Date | undefined } | undefined;
  #reading: Promise<unknown> = Promise.resolve();

  constructor(store: RateStore) {
    this.#store = store;
  }

  /** As it is now: a later look needs the later table. */
  get table(): RateTable {
    return this.#table;
  }

  /** Reads everything anew. */
  load(): Promise<void> {
    return this.#inTurn(() => this.#load());
  }

  /** Reads what has changed, if anything has whose news was missed. */
  reload(): Promise<void> {
    return this.#inTurn(() => this.#catchUp());
  }

  /** Reads one rate anew. @param id of a rate, or ALL_RATES */
  refresh(id: string): Promise<void> {
    return this.#inTurn(async () => {
      if (id === ALL_RATES) await this.#catchUp();
      else this.#table.put(id, await this.#store.get(id));
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
    const table = new RateTable();
    for await (const rates of this.#store.load()) for (const rate of rates) table.put(rate.id, rate);
    this.#table = table;
    this.#mark = mark;
  }

  async #catchUp(): Promise<void> {
    const old = this.#mark;
    const mark = await this.#store.mark();
    if (old?.count === mark.count && old.latest?.getTime() === mark.latest?.getTime()) return;
    if (!old?.latest) return this.#load();
    for await (const rates of this.#store.load(new Date(old.latest.getTime() - SLACK_MS))) {
      for (const rate of rates) this.#table.put(rate.id, rate);
    }
    // A rate that was removed leaves no time behind, only one less than there were.
    if (this.#table.size !== mark.count) return this.#load();
    this.#mark = mark;
  }
}

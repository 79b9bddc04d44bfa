import type { Application } from '../applications/schema.ts';
import type { Customer } from '../customers/schema.ts';
import type { RoutedDid } from '../dids/schema.ts';
import type { Change } from '../lib/changes.ts';
import type { Trunk } from '../trunks/schema.ts';
import { Mirror, type Source } from './mirror.ts';
import { NumberShards } from './number-shards.ts';

export interface DirectorySources {
  customers: Source<Customer>;
  applications: Source<Application>;
  dids: Source<RoutedDid> & { ofNumbers?(numbers: readonly string[]): Promise<RoutedDid[]> };
  trunks: Source<Trunk>;
}

/** What Kamailio must hear of: numbers whose routing differs from before, and whether any trunk does. */
export interface Touched {
  numbers: readonly string[];
  trunks: boolean;
}

/** Everything a route decision needs, in memory: no decision waits for SQL. */
export class Directory {
  readonly #sources: DirectorySources;
  readonly #customers: Mirror<Customer>;
  readonly #applications: Mirror<Application>;
  readonly #trunks: Mirror<Trunk>;
  readonly #dids: Mirror<RoutedDid>;
  readonly #numbers = new NumberShards();
  readonly #listeners: ((touched: Touched) => void)[] = [];
  #loaded = false;
  #reading: Promise<unknown> = Promise.resolve();
  #touched = new Set<string>();
  #touchedCustomers = new Set<string>();
  #touchedTrunks = false;

  constructor(sources: DirectorySources) {
    this.#sources = sources;
    this.#customers = new Mirror(sources.customers, (before, now) => {
      const id = (now ?? before)?.id;
      if (id !== undefined && before?.status !== now?.status) this.#touchedCustomers.add(id);
    });
    this.#applications = new Mirror(sources.applications);
    this.#trunks = new Mirror(sources.trunks, (before, now) => {
      if (!before || !now || before.updatedAt.getTime() !== now.updatedAt.getTime())
        this.#touchedTrunks = true;
    });
    this.#dids = new Mirror(sources.dids, (before, now) => this.#replaced(before, now));
  }

  get loaded(): boolean {
    return this.#loaded;
  }

  /** Is told at once of whatever is touched, also by what nobody has announced. */
  listen(listener: (touched: Touched) => void): void {
    this.#listeners.push(listener);
  }

  /** Reads everything anew, a page at a time. What changes meanwhile may be refreshed in between. */
  async load(): Promise<void> {
    for (const mirror of this.#mirrors()) {
      await this.#inTurn(async () => mirror.restart());
      while (!(await this.#inTurn(() => mirror.nextPage())));
    }
    this.#loaded = true;
  }

  /**
   * Reads what was written lately and one more page of everything, so that a change whose news was lost
   * heals.
   */
  async catchUp(): Promise<void> {
    for (const mirror of this.#mirrors()) {
      await this.#inTurn(() => mirror.recent());
      await this.#inTurn(async () => {
        // Two: of a small table that is all there is, and the end of the pass.
        if (!(await mirror.nextPage())) await mirror.nextPage();
      });
    }
  }

  /** Reads one changed object anew. */
  async refresh({ room, id }: Change): Promise<Touched> {
    if (room === 'rates') return { numbers: [], trunks: false };
    const mirror = {
      customers: this.#customers,
      applications: this.#applications,
      dids: this.#dids,
      trunks: this.#trunks,
    }[room];
    let touched: Touched = { numbers: [], trunks: false };
    await this.#inTurn(
      async () => {
        const before = this.#trunks.get(id);
        await mirror.refresh(id);
        const now = this.#trunks.get(id);
        // Whether a carrier answers is noted without a change of the trunk; any other may be as quick as the
        // clock is fine.
        if (room === 'trunks' && before?.status === now?.status) this.#touchedTrunks = true;
      },
      (what) => (touched = what),
    );
    return touched;
  }

  /**
   * Reads these numbers anew, and the trunks where that is wanted: before anything is done to what Kamailio
   * holds of them.
   */
  async reread(numbers: readonly string[], trunks: boolean): Promise<void> {
    const { dids } = this.#sources;
    await this.#inTurn(async () => {
      if (numbers.length > 0 && dids.ofNumbers) {
        const found = await dids.ofNumbers(numbers);
        const there = new Set(found.map((did) => did.number));
        for (const number of numbers) {
          const known = there.has(number) ? undefined : this.#numbers.get(number);
          if (known) this.#dids.remove(known.id);
        }
        for (const did of found) this.#dids.put(did);
      }
      if (!trunks) return;
      this.#trunks.restart();
      while (!(await this.#trunks.nextPage()));
    });
  }

  customer(id: string): Customer | undefined {
    return this.#customers.get(id);
  }

  application(id: string): Application | undefined {
    return this.#applications.get(id);
  }

  didByNumber(number: string): RoutedDid | undefined {
    return this.#numbers.get(number);
  }

  trunk(id: string): Trunk | undefined {
    return this.#trunks.get(id);
  }

  dids(): IterableIterator<RoutedDid> {
    return this.#numbers.values();
  }

  /** The numbers of one of the parts they are kept in. */
  shard(shard: number): ReadonlyMap<string, RoutedDid> {
    return this.#numbers.of(shard);
  }

  trunks(): IterableIterator<Trunk> {
    return this.#trunks.values();
  }

  /** Trunks and those who own numbers come before the numbers. */
  #mirrors(): { restart(): void; nextPage(): Promise<boolean>; recent(): Promise<void> }[] {
    return [this.#customers, this.#applications, this.#trunks, this.#dids];
  }

  #replaced(before: RoutedDid | undefined, now: RoutedDid | undefined): void {
    if (before && before.number !== now?.number) this.#numbers.delete(before.number);
    if (now) this.#numbers.set(now);
    if (sameAtTheEdge(before, now)) return;
    for (const did of [before, now]) if (did) this.#touched.add(did.number);
  }

  /** One after the other: what was read first must not take the place of what was read after it. */
  #inTurn<T>(read: () => Promise<T>, tell?: (touched: Touched) => void): Promise<T> {
    const turn = this.#reading.then(read, read).finally(() => this.#tell(tell));
    this.#reading = turn.catch(() => undefined);
    return turn;
  }

  #tell(tell?: (touched: Touched) => void): void {
    if (this.#touchedCustomers.size > 0 && this.#dids.size > 0) {
      for (const did of this.#numbers.values())
        if (this.#touchedCustomers.has(did.customerId)) this.#touched.add(did.number);
    }
    const touched = { numbers: [...this.#touched], trunks: this.#touchedTrunks };
    this.#touchedCustomers.clear();
    this.#touched.clear();
    this.#touchedTrunks = false;
    tell?.(touched);
    if (touched.numbers.length === 0 && !touched.trunks) return;
    for (const listener of this.#listeners) listener(touched);
  }
}

/** Whether what Kamailio holds of a number is the same for both: the application is for decisions alone. */
function sameAtTheEdge(a: RoutedDid | undefined, b: RoutedDid | undefined): boolean {
  return (
    a?.number === b?.number &&
    a?.status === b?.status &&
    a?.customerId === b?.customerId &&
    a?.routeMode === b?.routeMode &&
    (a?.routeTarget === b?.routeTarget || JSON.stringify(a?.routeTarget) === JSON.stringify(b?.routeTarget))
  );
}

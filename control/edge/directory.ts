import type { Application } from '../applications/schema.ts';
import type { Customer } from '../customers/schema.ts';
import type { Did } from '../dids/schema.ts';
import type { Change } from '../lib/changes.ts';
import type { Trunk } from '../trunks/schema.ts';

/** Where one kind of object is read from: its room's store. */
export interface Source<T> {
  loadAll(): Promise<T[]>;
  get(id: string): Promise<T | undefined>;
}

export interface DirectorySources {
  customers: Source<Customer>;
  applications: Source<Application>;
  dids: Source<Did>;
  trunks: Source<Trunk>;
}

/** Everything a route decision needs, in memory: no decision waits for SQL. */
export class Directory {
  readonly #sources: DirectorySources;
  #customers = new Map<string, Customer>();
  #applications = new Map<string, Application>();
  #dids = new Map<string, Did>();
  #numbers = new Map<string, Did>();
  #trunks = new Map<string, Trunk>();
  #loaded = false;
  #reading: Promise<unknown> = Promise.resolve();

  constructor(sources: DirectorySources) {
    this.#sources = sources;
  }

  get loaded(): boolean {
    return this.#loaded;
  }

  /** Reads everything anew: at the start, and now and then so that a change which was missed heals. */
  load(): Promise<void> {
    return this.#inTurn(() => this.#load());
  }

  /** Reads one changed object anew. Returns the numbers whose routing it touches, or undefined where that may be any. */
  refresh(change: Change): Promise<string[] | undefined> {
    return this.#inTurn(() => this.#refresh(change));
  }

  /** One after the other: what a reload has read must not take the place of what a later refresh has. */
  #inTurn<T>(read: () => Promise<T>): Promise<T> {
    const turn = this.#reading.then(read, read);
    this.#reading = turn.catch(() => undefined);
    return turn;
  }

  async #load(): Promise<void> {
    const [customers, applications, dids, trunks] = await Promise.all([
      this.#sources.customers.loadAll(), this.#sources.applications.loadAll(), this.#sources.dids.loadAll(), this.#sources.trunks.loadAll(),
    ]);
    this.#customers = byId(customers);
    this.#applications = byId(applications);
    this.#dids = byId(dids);
    this.#numbers = new Map(dids.map((did) => [did.number, did]));
    this.#trunks = byId(trunks);
    this.#loaded = true;
  }

  async #refresh({ room, id }: Change): Promise<string[] | undefined> {
    if (room === 'rates') return [];
    if (room === 'customers') put(this.#customers, id, await this.#sources.customers.get(id));
    else if (room === 'applications') put(this.#applications, id, await this.#sources.applications.get(id));
    else if (room === 'trunks') put(this.#trunks, id, await this.#sources.trunks.get(id));
    else {
      const did = await this.#sources.dids.get(id);
      const old = this.#dids.get(id);
      if (old) this.#numbers.delete(old.number);
      put(this.#dids, id, did);
      if (did) this.#numbers.set(did.number, did);
      return [old?.number, did?.number].filter((number) => number !== undefined);
    }
    return room === 'applications' ? [] : undefined;
  }

  customer(id: string): Customer | undefined {
    return this.#customers.get(id);
  }

  application(id: string): Application | undefined {
    return this.#applications.get(id);
  }

  didByNumber(number: string): Did | undefined {
    return this.#numbers.get(number);
  }

  trunk(id: string): Trunk | undefined {
    return this.#trunks.get(id);
  }

  dids(): IterableIterator<Did> {
    return this.#dids.values();
  }

  trunks(): IterableIterator<Trunk> {
    return this.#trunks.values();
  }
}

const byId = <T extends { id: string }>(items: T[]): Map<string, T> => new Map(items.map((item) => [item.id, item]));

function put<T>(map: Map<string, T>, id: string, item: T | undefined): void {
  if (item) map.set(id, item);
  else map.delete(id);
}

import type { Database } from '../lib/database.ts';
import { parseJson } from '../lib/json-column.ts';
import type { Did, RoutedDid, RouteTarget } from './schema.ts';

interface Row {
  id: string;
  customer_id: string;
  application_id: string | null;
  number_e164: string;
  provider: string | null;
  status: Did['status'];
  route_mode: Did['routeMode'];
  route_target: unknown;
  created_at: Date;
  updated_at: Date;
}

const toDid = (row: Row): Did => ({
  id: row.id,
  customerId: row.customer_id,
  applicationId: row.application_id ?? undefined,
  number: row.number_e164,
  provider: row.provider ?? undefined,
  status: row.status,
  routeMode: row.route_mode,
  routeTarget: row.route_target === null ? undefined : parseJson<RouteTarget>(row.route_target),
  createdAt: row.created_at,
  updatedAt: row.updated_at,
});

const toRow = (did: Did): Row => ({
  id: did.id,
  customer_id: did.customerId,
  application_id: did.applicationId ?? null,
  number_e164: did.number,
  provider: did.provider ?? null,
  status: did.status,
  route_mode: did.routeMode,
  route_target: did.routeTarget ? JSON.stringify(did.routeTarget) : null,
  created_at: did.createdAt,
  updated_at: did.updatedAt,
});

type RoutedRow = Pick<
  Row,
  'id' | 'customer_id' | 'application_id' | 'number_e164' | 'status' | 'route_mode' | 'route_target'
>;
const ROUTED = [
  'id',
  'customer_id',
  'application_id',
  'number_e164',
  'status',
  'route_mode',
  'route_target',
] satisfies (keyof RoutedRow)[];
/** Rows read at once: some 20 ms of this process and of the database. */
const PAGE = 2500;
/** Two processes' clocks, and the time from a write to its commit, differ by less. */
const OVERLAP_MS = 10_000;

/** @param shared gives one string for all that are equal: owners come again with each of their numbers */
const toRouted = (row: RoutedRow, shared: (text: string) => string): RoutedDid => ({
  id: row.id,
  customerId: shared(row.customer_id),
  applicationId: row.application_id === null ? undefined : shared(row.application_id),
  number: row.number_e164,
  status: row.status === 'active' ? 'active' : 'disabled',
  routeMode: row.route_mode,
  routeTarget: row.route_target === null ? undefined : parseJson<RouteTarget>(row.route_target),
});

export class DidStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** What routing needs of all numbers, the oldest first, a page at a time. */
  async *loadAll(): AsyncGenerator<RoutedDid[]> {
    const texts = new Map<string, string>();
    const shared = (text: string): string => texts.get(text) ?? (texts.set(text, text), text);
    for (let after = ''; ;) {
      const rows: RoutedRow[] = await this.#db<Row>('dids')
        .where('id', '>', after)
        .orderBy('id')
        .limit(PAGE)
        .select(ROUTED);
      if (rows.length > 0) yield rows.map((row) => toRouted(row, shared));
      const last = rows.at(-1);
      if (!last || rows.length < PAGE) return;
      after = last.id;
    }
  }

  /**
   * What has been written at or after a time, as far as it is still there: some of it again, because rows are
   * seen later than they say. Without a time nothing, but the time to begin with.
   */
  async writtenSince(since: Date | undefined): Promise<{ items: RoutedDid[]; next: Date }> {
    const [newest] = await this.#db<Row>('dids').orderBy('updated_at', 'desc').limit(1).select('updated_at');
    const next = new Date((newest?.updated_at.getTime() ?? OVERLAP_MS) - OVERLAP_MS);
    if (!since) return { items: [], next };
    const rows = await this.#db<Row>('dids')
      .where('updated_at', '>=', since)
      .orderBy('updated_at')
      .limit(PAGE)
      .select([...ROUTED, 'updated_at' as const]);
    const last = rows.length === PAGE ? rows.at(-1)?.updated_at : undefined;
    // A page of rows written at one time would be read again for ever: the passes over everything bring the
    // rest of them.
    const on = last && last > since ? last : last && new Date(since.getTime() + 1);
    return {
      items: rows.map((row) => toRouted(row, (text) => text)),
      next: on ?? (next > since ? next : since),
    };
  }

  /** What routing needs of these numbers, of those that are there. */
  async ofNumbers(numbers: readonly string[]): Promise<RoutedDid[]> {
    const rows: RoutedRow[] = [];
    for (let i = 0; i < numbers.length; i += PAGE) {
      rows.push(
        ...(await this.#db<Row>('dids')
          .whereIn('number_e164', numbers.slice(i, i + PAGE))
          .select(ROUTED)),
      );
    }
    return rows.map((row) => toRouted(row, (text) => text));
  }

  async get(id: string): Promise<Did | undefined> {
    const row = await this.#db<Row>('dids').where({ id }).first();
    return row && toDid(row);
  }

  async getByNumber(number: string): Promise<Did | undefined> {
    const row = await this.#db<Row>('dids').where({ number_e164: number }).first();
    return row && toDid(row);
  }

  /** Newest first; `before` is the id the page starts after. */
  async list(filter: { customerId?: string }, limit: number, before?: string): Promise<Did[]> {
    const query = this.#db<Row>('dids').orderBy('id', 'desc').limit(limit);
    if (filter.customerId !== undefined) void query.where({ customer_id: filter.customerId });
    if (before !== undefined) void query.where('id', '<', before);
    return (await query).map(toDid);
  }

  /** @throws the database's duplicate-key error when the number exists, see lib/duplicate-key.ts */
  async insert(did: Did): Promise<void> {
    await this.#db<Row>('dids').insert(toRow(did));
  }

  /** Stores those whose number is free, all in one write, and returns their ids. */
  async insertFree(dids: readonly Did[]): Promise<Set<string>> {
    if (dids.length === 0) return new Set();
    await this.#db<Row>('dids').insert(dids.map(toRow)).onConflict('number_e164').ignore();
    const stored = await this.#db<Row>('dids')
      .whereIn(
        'id',
        dids.map((did) => did.id),
      )
      .select('id');
    return new Set(stored.map((row) => row.id));
  }

  /**
   * Applies `change` to the stored number, with the row locked in between; what `change` throws leaves it as
   * it was.
   */
  async update(id: string, change: (did: Did) => Did): Promise<Did | undefined> {
    return this.#db.transaction(async (tx) => {
      const row = await tx<Row>('dids').where({ id }).forUpdate().first();
      if (!row) return undefined;
      const changed = change(toDid(row));
      await tx<Row>('dids').where({ id }).update(toRow(changed));
      return changed;
    });
  }

  async delete(id: string): Promise<boolean> {
    return (await this.#db<Row>('dids').where({ id }).delete()) > 0;
  }
}

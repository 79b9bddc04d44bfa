import type { Database } from '../lib/database.ts';
import { parseJson } from '../lib/json-column.ts';
import type { Did, RouteTarget } from './schema.ts';

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

export class DidStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  async loadAll(): Promise<Did[]> {
    return (await this.#db<Row>('dids')).map(toDid);
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
    const stored = await this.#db<Row>('dids').whereIn('id', dids.map((did) => did.id)).select('id');
    return new Set(stored.map((row) => row.id));
  }

  /** Applies `change` to the stored number, with the row locked in between; what `change` throws leaves it as it was. */
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

import type { Database } from '../lib/database.ts';
import { parseJson } from '../lib/json-column.ts';
import type { Customer } from './schema.ts';

interface Row {
  id: string;
  name: string;
  status: Customer['status'];
  currency: string;
  limits: unknown;
  spend: unknown;
  created_at: Date;
  updated_at: Date;
}

const toCustomer = (row: Row): Customer => ({
  id: row.id,
  name: row.name,
  status: row.status,
  currency: row.currency,
  limits: parseJson<Customer['limits']>(row.limits),
  spend: parseJson<Customer['spend']>(row.spend),
  createdAt: row.created_at,
  updatedAt: row.updated_at,
});

const toRow = (customer: Customer): Row => ({
  id: customer.id,
  name: customer.name,
  status: customer.status,
  currency: customer.currency,
  limits: JSON.stringify(customer.limits),
  spend: JSON.stringify(customer.spend),
  created_at: customer.createdAt,
  updated_at: customer.updatedAt,
});

export class CustomerStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  async loadAll(): Promise<Customer[]> {
    return (await this.#db<Row>('customers')).map(toCustomer);
  }

  async get(id: string): Promise<Customer | undefined> {
    const row = await this.#db<Row>('customers').where({ id }).first();
    return row && toCustomer(row);
  }

  /** Newest first; `before` is the id the page starts after. */
  async list(limit: number, before?: string): Promise<Customer[]> {
    const query = this.#db<Row>('customers').orderBy('id', 'desc').limit(limit);
    if (before !== undefined) void query.where('id', '<', before);
    return (await query).map(toCustomer);
  }

  async insert(customer: Customer): Promise<void> {
    await this.#db<Row>('customers').insert(toRow(customer));
  }

  /** Applies `change` to the stored customer, with the row locked in between. */
  async update(id: string, change: (customer: Customer) => Customer): Promise<Customer | undefined> {
    return this.#db.transaction(async (tx) => {
      const row = await tx<Row>('customers').where({ id }).forUpdate().first();
      if (!row) return undefined;
      const changed = change(toCustomer(row));
      await tx<Row>('customers').where({ id }).update(toRow(changed));
      return changed;
    });
  }
}

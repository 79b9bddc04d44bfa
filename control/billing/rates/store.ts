import type { Knex } from 'knex';
import type { Database } from '../../lib/database.ts';
import { inPieces } from '../../lib/pieces.ts';
import { rowsOf, withRetries } from '../sql.ts';
import type { Direction, Rate } from './rate.ts';

interface Row {
  id: string;
  customer_id: string;
  direction: Direction;
  prefix: string;
  price_micros: string | number;
  fee_micros: string | number;
  minimum_seconds: number;
  increment_seconds: number;
  currency: string;
  valid_from: Date;
  is_active: number | boolean;
  created_at: Date;
  updated_at: Date;
}

export interface RateFilter {
  /** The empty string: the default table. */
  customerId?: string;
  direction?: Direction;
  prefix?: string;
  currency?: string;
}

/** Stands for "always" in the database, where a unique index takes no NULL for equal. */
const ALWAYS = new Date(0);
const BATCH = 500;
const DIRECTIONS: readonly Direction[] = ['outbound', 'inbound'];

const toRate = (row: Row): Rate => ({
  id: row.id,
  customerId: row.customer_id === '' ? undefined : row.customer_id,
  direction: row.direction,
  prefix: row.prefix,
  priceMicros: BigInt(row.price_micros),
  feeMicros: BigInt(row.fee_micros),
  minimumSeconds: row.minimum_seconds,
  incrementSeconds: row.increment_seconds,
  currency: row.currency,
  validFrom: row.valid_from.getTime() === 0 ? undefined : row.valid_from,
  isActive: Boolean(row.is_active),
  createdAt: row.created_at,
  updatedAt: row.updated_at,
});

const toRow = (rate: Rate): Row => ({
  id: rate.id,
  customer_id: rate.customerId ?? '',
  direction: rate.direction,
  prefix: rate.prefix,
  price_micros: rate.priceMicros.toString(),
  fee_micros: rate.feeMicros.toString(),
  minimum_seconds: rate.minimumSeconds,
  increment_seconds: rate.incrementSeconds,
  currency: rate.currency,
  valid_from: rate.validFrom ?? ALWAYS,
  is_active: rate.isActive,
  created_at: rate.createdAt,
  updated_at: rate.updatedAt,
});

/** The SQL of rates. */
export class RateStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /**
   * The rates changed at `since` or later, without it all; a batch at a time, those that changed last at the
   * end.
   */
  async *load(since: Date = ALWAYS): AsyncGenerator<Rate[], void> {
    // The time where the next batch begins comes back as text: a Date would lose its microseconds.
    for (let from: Date | string = since, after = ''; ;) {
      const rows: (Row & { changed: string })[] = await rowsOf(
        this.#db,
        `SELECT rates.*, CAST(updated_at AS CHAR) AS changed FROM rates WHERE updated_at >= ? AND (updated_at > ? OR id > ?)
         ORDER BY updated_at, id LIMIT ?`,
        [from, from, after, BATCH],
      );
      yield rows.map(toRate);
      const last = rows.at(-1);
      if (!last || rows.length < BATCH) return;
      from = last.changed;
      after = last.id;
    }
  }

  /** How many rates there are, and when the last change was: together they differ after every change. */
  async mark(): Promise<{ count: number; latest: Date | undefined }> {
    const [row] = await rowsOf<{ n: number; latest: Date | null }>(
      this.#db,
      'SELECT COUNT(*) AS n, MAX(updated_at) AS latest FROM rates',
      [],
    );
    return { count: Number(row?.n ?? 0), latest: row?.latest ?? undefined };
  }

  async get(id: string): Promise<Rate | undefined> {
    const row = await this.#db<Row>('rates').where({ id }).first();
    return row && toRate(row);
  }

  /** Newest first; `before` is the id the page starts after. */
  async list(filter: RateFilter, limit: number, before?: string): Promise<Rate[]> {
    const query = this.#db<Row>('rates').orderBy('id', 'desc').limit(limit);
    if (filter.customerId !== undefined) void query.where({ customer_id: filter.customerId });
    if (filter.direction !== undefined) void query.where({ direction: filter.direction });
    if (filter.prefix !== undefined) void query.where({ prefix: filter.prefix });
    if (filter.currency !== undefined) void query.where({ currency: filter.currency });
    if (before !== undefined) void query.where('id', '<', before);
    return (await query).map(toRate);
  }

  /** @throws the database's duplicate-key error where such a rate exists, see lib/duplicate-key.ts */
  async insert(rate: Rate): Promise<void> {
    await this.#db<Row>('rates').insert(toRow(rate));
  }

  /**
   * Applies `change` to the stored rate, with the row locked in between; what `change` throws leaves it as it
   * was.
   * @throws as insert
   */
  async update(id: string, change: (rate: Rate) => Rate): Promise<Rate | undefined> {
    return this.#db.transaction(async (tx) => {
      const row = await tx<Row>('rates').where({ id }).forUpdate().first();
      if (!row) return undefined;
      const changed = change(toRate(row));
      await tx<Row>('rates').where({ id }).update(toRow(changed));
      return changed;
    });
  }

  async delete(id: string): Promise<boolean> {
    return (await this.#db<Row>('rates').where({ id }).delete()) > 0;
  }

  /**
   * Reads the rates of one owner with these prefixes, lets `plan` say which to write, and writes them, all or
   * nothing. Two of these that meet are carried out one after the other: `plan` may run again.
   * @param customerId the empty string for the default table
   */
  async rewrite<T>(
    customerId: string,
    prefixes: readonly string[],
    plan: (stored: Rate[]) => Promise<{ write: Rate[]; result: T }>,
  ): Promise<T> {
    return withRetries(() =>
      this.#db.transaction(async (tx) => {
        const stored: Rate[] = [];
        for await (const some of inPieces(prefixes, BATCH)) {
          // With the directions, the unique index leads to the prefixes.
          const rows = await tx<Row>('rates')
            .where({ customer_id: customerId })
            .whereIn('direction', DIRECTIONS)
            .whereIn('prefix', some)
            .forUpdate();
          for (const row of rows) stored.push(toRate(row));
        }
        const { write, result } = await plan(stored);
        for await (const some of inPieces(write, BATCH)) await upsert(tx, some);
        return result;
      }),
    );
  }
}

async function upsert(tx: Knex.Transaction, rates: readonly Rate[]): Promise<void> {
  await tx<Row>('rates')
    .insert(rates.map(toRow))
    .onConflict('id')
    .merge(['price_micros', 'fee_micros', 'minimum_seconds', 'increment_seconds', 'is_active', 'updated_at']);
}

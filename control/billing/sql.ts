import type { Knex } from 'knex';
import { wasUndone } from '../lib/database-away.ts';

const ATTEMPTS = 5;

/** Runs a transaction again, a few times, where the database has undone it in favour of another one. */
export async function withRetries<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt === ATTEMPTS || !wasUndone(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10 * 2 ** attempt));
    }
  }
}

/** The rows of a SELECT. */
export async function rowsOf<T>(
  db: Knex,
  sql: string,
  bindings: Knex.RawBinding[] | Record<string, Date>,
): Promise<T[]> {
  const [rows] = (await db.raw(sql, bindings)) as [T[]];
  return rows;
}

/** How many rows an UPDATE has matched. */
export async function matchedBy(db: Knex, sql: string, bindings: Knex.RawBinding[]): Promise<number> {
  const [result] = (await db.raw(sql, bindings)) as [{ affectedRows: number }];
  return result.affectedRows;
}

import type { Knex } from 'knex';

/** Deadlock, lock wait timeout, and a row that has changed since it was read: the transaction was undone and may run again. */
const REPEATABLE = new Set([1213, 1205, 1020]);
const ATTEMPTS = 5;

const errnoOf = (error: unknown): unknown => (error instanceof Error && 'errno' in error ? error.errno : undefined);

/** Runs a transaction again, a few times, where the database has undone it in favour of another one. */
export async function withRetries<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt === ATTEMPTS || !REPEATABLE.has(Number(errnoOf(error)))) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10 * 2 ** attempt));
    }
  }
}

const AWAY = new Set(['ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT', 'EPIPE', 'ENOENT', 'EAI_AGAIN', 'ENOTFOUND', 'PROTOCOL_CONNECTION_LOST', 'PROTOCOL_ENQUEUE_AFTER_FATAL_ERROR', 'ER_CON_COUNT_ERROR', 'ER_SERVER_SHUTDOWN']);

/** Whether the database could not be reached or was too busy, as opposed to having refused the statement. */
export function isAway(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error.name === 'KnexTimeoutError' || REPEATABLE.has(Number(errnoOf(error)))) return true;
  return ('code' in error && AWAY.has(String(error.code))) || ('fatal' in error && error.fatal === true);
}

/** The rows of a SELECT. */
export async function rowsOf<T>(db: Knex, sql: string, bindings: Knex.RawBinding[] | Record<string, Date>): Promise<T[]> {
  const [rows] = (await db.raw(sql, bindings)) as [T[]];
  return rows;
}

/** How many rows an UPDATE has matched. */
export async function matchedBy(db: Knex, sql: string, bindings: Knex.RawBinding[]): Promise<number> {
  const [result] = (await db.raw(sql, bindings)) as [{ affectedRows: number }];
  return result.affectedRows;
}

import knex, { type Knex } from 'knex';
import { ApiError } from './errors.ts';
import { migrationSource } from '../../db/migrations/index.ts';

export type Database = Knex;

const silent = (): void => undefined;

/**
 * A pool on MySQL 8 or MariaDB ≥ 10.6. Every time is UTC. Several statements may go in one round trip (see
 * `together`), so whatever comes from outside is bound, and never written into a statement.
 */
export function connectDatabase(url: string, poolSize = 10): Database {
  return knex({
    client: 'mysql2',
    connection: {
      uri: url,
      timezone: 'Z',
      supportBigNumbers: true,
      charset: 'utf8mb4',
      multipleStatements: true,
    } as Knex.StaticConnectionConfig,
    pool: { min: 0, max: poolSize },
    acquireConnectionTimeout: 5000,
    migrations: { migrationSource },
    // An error's message must not hold the values of the statement: they are customers' data, and errors are
    // logged.
    compileSqlOnError: false,
    // Whatever goes wrong is thrown to the one who asked; knex's own words on the console are not for
    // anybody.
    log: { warn: silent, error: silent, deprecate: silent, debug: silent },
  });
}

/** Brings the schema up to date; safe when several instances start at once (knex holds a lock). */
export async function migrate(db: Database): Promise<void> {
  await db.migrate.latest();
}

/**
 * How long a list may take, in ms. It reads indexes; what takes longer than this looks for what is hardly
 * there in very much.
 */
const LIST_MS = 5000;

/**
 * Runs the query of a list; one that takes too long is ended in the database too.
 * @param query resolves to T
 * @throws ApiError service_unavailable
 */
export async function patient<T>(query: Knex.QueryBuilder | Knex.Raw, ms = LIST_MS): Promise<T> {
  try {
    return (await query.timeout(ms, { cancel: true })) as T;
  } catch (error) {
    if (!(error instanceof knex.KnexTimeoutError)) throw error;
    throw new ApiError(
      'service_unavailable',
      'the list could not be read in time: narrow it, by since and until for example',
      { retryAfter: 5 },
    );
  }
}

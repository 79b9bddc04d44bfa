import knex, { type Knex } from 'knex';
import { migrationSource } from '../../db/migrations/index.ts';

export type Database = Knex;

const silent = (): void => undefined;

/**
 * A pool on MySQL 8 or MariaDB ≥ 10.6. Every time is UTC. Several statements may go in one round trip (see `together`), so
 * whatever comes from outside is bound, and never written into a statement.
 */
export function connectDatabase(url: string, poolSize = 10): Database {
  return knex({
    client: 'mysql2',
    connection: { uri: url, timezone: 'Z', supportBigNumbers: true, charset: 'utf8mb4', multipleStatements: true } as Knex.StaticConnectionConfig,
    pool: { min: 0, max: poolSize },
    acquireConnectionTimeout: 5000,
    migrations: { migrationSource },
    // An error's message must not hold the values of the statement: they are customers' data, and errors are logged.
    compileSqlOnError: false,
    // Whatever goes wrong is thrown to the one who asked; knex's own words on the console are not for anybody.
    log: { warn: silent, error: silent, deprecate: silent, debug: silent },
  });
}

/** Brings the schema up to date; safe when several instances start at once (knex holds a lock). */
export async function migrate(db: Database): Promise<void> {
  await db.migrate.latest();
}

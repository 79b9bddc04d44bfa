import { randomBytes } from 'node:crypto';
import { connectDatabase, migrate, type Database } from '../../../control/lib/database.ts';

export interface TestDatabase {
  db: Database;
  url: string;
  /** Leaves nothing behind. */
  drop: () => Promise<void>;
}

/** What the migrations make of an empty database. */
interface Schema {
  tables: string[];
  /** Which migrations have been run, as they are written down. */
  migrations: object[];
}

let schema: Schema | undefined;

/** A database of this test's own, on the server of MINIVOICE_TEST_DATABASE_URL. */
export async function createDatabase(): Promise<TestDatabase> {
  const server = process.env['MINIVOICE_TEST_DATABASE_URL'];
  if (!server)
    throw new Error(
      'MINIVOICE_TEST_DATABASE_URL must name a MariaDB or MySQL server on which databases may be created',
    );
  const name = `minivoice_test_${randomBytes(6).toString('hex')}`;
  const admin = connectDatabase(server, 1);
  await admin.raw(`CREATE DATABASE ${name} CHARACTER SET utf8mb4`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  const db = connectDatabase(url.href, 10);
  // The first of a run is made by the migrations, the others are copies of it: that takes a tenth of the
  // time.
  if (schema) await copy(schema, url.href);
  else {
    await migrate(db);
    schema = await schemaOf(db);
  }
  return {
    db,
    url: url.href,
    drop: async () => {
      await db.destroy();
      await admin.raw(`DROP DATABASE ${name}`);
      await admin.destroy();
    },
  };
}

async function schemaOf(db: Database): Promise<Schema> {
  const [names] = (await db.raw('SHOW TABLES')) as [Record<string, string>[]];
  const tables: string[] = [];
  for (const table of names.flatMap((row) => Object.values(row))) {
    const [[made]] = (await db.raw('SHOW CREATE TABLE ??', [table])) as [[{ 'Create Table': string }]];
    tables.push(made['Create Table']);
  }
  return { tables, migrations: await db<object>('knex_migrations').select() };
}

/** @param url of an empty database */
async function copy({ tables, migrations }: Schema, url: string): Promise<void> {
  // One connection, since the setting is a connection's: tables may come before those they refer to.
  const db = connectDatabase(url, 1);
  await db.raw('SET foreign_key_checks = 0');
  for (const table of tables) await db.raw(table);
  await db('knex_migrations').insert(migrations);
  await db('knex_migrations_lock').insert({ is_locked: 0 });
  await db.destroy();
}

import { randomBytes } from 'node:crypto';
import { connectDatabase, migrate, type Database } from '../../../control/lib/database.ts';

export interface TestDatabase {
  db: Database;
  url: string;
  /** Leaves nothing behind. */
  drop: () => Promise<void>;
}

/** A database of this test's own, on the server of MINIVOICE_TEST_DATABASE_URL. */
export async function createDatabase(): Promise<TestDatabase> {
  const server = process.env['MINIVOICE_TEST_DATABASE_URL'];
  if (!server) throw new Error('MINIVOICE_TEST_DATABASE_URL must name a MariaDB or MySQL server on which databases may be created');
  const name = `minivoice_test_${randomBytes(6).toString('hex')}`;
  const admin = connectDatabase(server, 1);
  await admin.raw(`CREATE DATABASE ${name} CHARACTER SET utf8mb4`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  const db = connectDatabase(url.href, 10);
  await migrate(db);
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

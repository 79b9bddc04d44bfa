import type { Knex } from 'knex';
import type { Secrets } from './secrets.ts';

/**
 * Everything that is encrypted at rest: its columns, the columns that name its row, and the context it was
 * encrypted for, as its room builds it.
 */
const SEALED = [
  { table: 'trunks', columns: ['password'], key: ['id'], context: ([id]: string[]) => `${id}.password` },
  {
    table: 'applications',
    columns: ['webhook_secret', 'previous_webhook_secret'],
    key: ['id'],
    context: ([id]: string[]) => `${id}.webhook_secret`,
  },
  {
    table: 'idempotency_keys',
    columns: ['reply'],
    key: ['scope', 'key_hash'],
    context: ([scope, hash]: string[]) => `${scope}.${hash}`,
  },
] as const;

/**
 * Encrypts everything that is encrypted at rest anew, all in one transaction. No control process may run: one
 * that does would go on to read and write with its own key.
 * @returns how many values of each table
 * @throws Error naming the first value that `from` cannot decrypt; nothing is changed then
 */
export async function reseal(db: Knex, from: Secrets, to: Secrets): Promise<Record<string, number>> {
  return db.transaction(async (trx) => {
    const counts: Record<string, number> = {};
    for (const { table, columns, key, context } of SEALED) {
      counts[table] = 0;
      const rows = (await trx(table)
        .select([...key, ...columns])
        .forUpdate()) as Record<string, string | null>[];
      for (const row of rows) {
        const its = context(key.map((name) => String(row[name])));
        const sealed = columns.flatMap((name) => {
          const value = row[name];
          return value === null || value === undefined
            ? []
            : [[name, to.encrypt(from.decrypt(value, its), its)]];
        });
        if (sealed.length === 0) continue;
        await trx(table)
          .where(Object.fromEntries(key.map((name) => [name, row[name]])))
          .update(Object.fromEntries(sealed));
        counts[table] += sealed.length;
      }
    }
    return counts;
  });
}

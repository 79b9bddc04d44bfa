import type { Knex } from 'knex';

/** A statement that writes, with what is bound to it. */
export type Statement = readonly [sql: string, bindings: readonly unknown[]];

/**
 * Sends statements that need not wait for each other's results in one go, and so in one round trip: the
 * database runs them one after the other, and none behind one that fails. For use in a transaction.
 * @returns how many rows each has matched
 */
export async function together(trx: Knex.Transaction, statements: readonly Statement[]): Promise<number[]> {
  if (statements.length === 0) return [];
  const [results] = (await trx.raw(
    statements.map(([sql]) => sql).join(';\n'),
    statements.flatMap(([, bindings]) => bindings) as Knex.RawBinding[],
  )) as unknown as [Matched | Matched[]];
  return [results].flat().map(({ affectedRows }) => affectedRows);
}

interface Matched {
  affectedRows: number;
}

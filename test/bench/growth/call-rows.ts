import type { Database } from '../../../control/lib/database.ts';

/** Whose calls they are: each customer has one application. */
export interface Owner {
  customer: string;
  application: string;
}

/** So many calls of one number among all of an application's. */
export const RARE = { number: '+49301110', calls: 30 };
const DAYS = 60;
const AT_ONCE = 20_000;

/** `prefix_20260529T120000.000000000` of a time in microseconds and a number that makes it unique. */
const idOf = (prefix: string, at: string, n: string): string =>
  `CONCAT('${prefix}_', DATE_FORMAT(${at}, '%Y%m%dT%H%i%s'), '.', LPAD(MICROSECOND(${at}), 6, '0'), LPAD(${n} % 1000, 3, '0'))`;

/** The numbers from 0 on, as many as one statement inserts. */
async function numbers(db: Database): Promise<void> {
  await db.raw('CREATE TABLE bench_numbers (n INT UNSIGNED PRIMARY KEY)');
  await db.raw('INSERT INTO bench_numbers VALUES (0)');
  for (let have = 1; have < AT_ONCE; have *= 2)
    await db.raw('INSERT INTO bench_numbers SELECT n + ? FROM bench_numbers WHERE n + ? < ?', [
      have,
      have,
      AT_ONCE,
    ]);
}

/**
 * Calls of the last 60 days, the owners' in turn, with two lines of timeline and a webhook delivery each and
 * a transfer for every fifth. Most are completed; a few failed; the newest 100 are in progress.
 */
export async function insertCalls(
  db: Database,
  owners: readonly Owner[],
  total: number,
  progress: (done: number) => void,
): Promise<void> {
  await numbers(db);
  await db.raw(
    'CREATE TABLE bench_owners (i INT UNSIGNED PRIMARY KEY, customer VARCHAR(48), application VARCHAR(48))',
  );
  await db('bench_owners').insert(
    owners.map(({ customer, application }, i) => ({ i, customer, application })),
  );
  const step = Math.floor((DAYS * 86_400_000_000) / total);
  // The place of a call among all (k) and among its application's (j), its time and its id.
  const calls = `SELECT n + :done AS k, TIMESTAMPADD(MICROSECOND, -(:total - n - :done) * :step, :now) AS at FROM bench_numbers WHERE n < :count`;
  const from = `(SELECT k, FLOOR(k / :owners) AS j, at, ${idOf('call', 'at', 'k')} AS id, customer, application FROM (${calls}) made JOIN bench_owners ON i = k % :owners) c`;
  const now = new Date();
  for (let done = 0; done < total; done += AT_ONCE) {
    const count = Math.min(AT_ONCE, total - done);
    const every = Math.max(1, Math.floor(total / owners.length / RARE.calls));
    const values = { done, total, step, now, count, owners: owners.length, rare: RARE.number, every };
    const rare = 'j % :every = 0';
    await db.raw(
      `INSERT INTO calls (id, customer_id, application_id, direction, from_number, to_number, status, route_mode, routing_target,
        metadata, variables, created_at, answered_at, ended_at, event_counts, cost_micros, cost_currency)
      SELECT id, customer, application, IF(j % 3 = 0, 'inbound', 'outbound'), IF(${rare}, :rare, CONCAT('+49302', LPAD(k % 100000, 6, '0'))),
        CONCAT('+4989', LPAD(k % 7919, 6, '0')), IF(k >= :total - 100, 'in_progress', IF(j % 25 = 0, 'failed', 'completed')), 'webhook', application,
        '{}', '{}', at, IF(j % 25 = 0, NULL, TIMESTAMPADD(SECOND, 3, at)), IF(k >= :total - 100, NULL, TIMESTAMPADD(SECOND, 3 + k % 300, at)),
        '{"call.created":1}', 1000 + k % 9000, 'EUR' FROM ${from}`,
      values,
    );
    await db.raw(
      `INSERT INTO call_timeline (call_id, n, at, kind, detail)
      SELECT id, 1, at, 'call.created', '{"source":"bench"}' FROM ${from} UNION ALL SELECT id, 2, at, 'call.completed', '{}' FROM ${from}`,
      values,
    );
    await db.raw(
      `INSERT INTO webhook_deliveries (id, event_id, event, call_id, seq, customer_id, application_id, body, status, attempts,
        next_attempt_at, created_at, delivered_at)
      SELECT ${idOf('whd', 'at', 'k')}, ${idOf('evt', 'at', 'k')}, 'call.completed', id, 1, customer, application,
        '{"event":"call.completed","call":{},"data":{}}', IF(j % 500 = 0, 'exhausted', 'delivered'), 1, NULL, at, at FROM ${from}`,
      values,
    );
    await db.raw(
      `INSERT INTO transfers (id, customer_id, created_at, kind, debit, credit, amount_micros, currency, call_id, leg, reference)
      SELECT ${idOf('txn', 'at', 'k')}, customer, at, 'settle', 'available', 'revenue', 1000 + k % 9000, 'EUR', id, 0, CONCAT(id, ':settle') FROM ${from} WHERE j % 5 = 0`,
      values,
    );
    progress(done + count);
  }
  await db.raw('DROP TABLE bench_numbers');
  await db.raw('DROP TABLE bench_owners');
  await db.raw('ANALYZE TABLE calls, call_timeline, webhook_deliveries, transfers');
}

import { callEvents } from '../../../control/calls/event-schemas.ts';
import { connectDatabase, migrate, type Database } from '../../../control/lib/database.ts';
import { Ids } from '../../../control/lib/ids.ts';
import { enqueue, type OutboxRow } from '../../../control/webhooks/outbox.ts';

const ENVELOPE = callEvents['call.completed'].example as { data: object };
const ids = new Ids(0);

/** An event of an application's call, as large as they are; when it was made and which it is stand in it. */
export function event(
  application: number,
  call: string,
  seq: number,
  status: 'pending' | 'none' = 'pending',
  createdAt = new Date(),
): OutboxRow {
  return {
    id: ids.next('whd'),
    eventId: ids.next('evt'),
    event: 'call.completed',
    callId: call,
    seq,
    customerId: 'cust_1',
    applicationId: `app_${application}`,
    status,
    createdAt,
    body: JSON.stringify({
      ...ENVELOPE,
      data: { ...ENVELOPE.data, made: createdAt.getTime(), mark: `${call}/${seq}` },
    }),
  };
}

export async function put(db: Database, rows: readonly OutboxRow[]): Promise<void> {
  for (let i = 0; i < rows.length; i += 1000)
    await db.transaction((trx) => enqueue(trx, rows.slice(i, i + 1000)));
}

/** A database with nothing in it. */
export async function openDatabase(): Promise<{ db: Database; url: string }> {
  const url = process.env.MINIVOICE_TEST_DATABASE_URL;
  if (!url)
    throw new Error('MINIVOICE_TEST_DATABASE_URL is not set: run this with ./minivoice bench webhooks');
  const db = connectDatabase(url);
  await migrate(db);
  await clear(db);
  return { db, url };
}

export async function clear(db: Database): Promise<void> {
  for (const table of ['webhook_attempts', 'webhook_deliveries', 'webhook_endpoints'])
    await db(table).truncate();
}

/** How many deliveries are in this state. */
export async function count(db: Database, status: string): Promise<number> {
  const [row] = (await db('webhook_deliveries').where({ status }).count({ n: '*' })) as [{ n: number }];
  return Number(row.n);
}

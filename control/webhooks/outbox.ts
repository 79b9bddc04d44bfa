import type { Knex } from 'knex';

/** One event for one application, as it is to be delivered. */
export interface OutboxRow {
  /** whd_… */
  id: string;
  /** evt_…, the same on every attempt. */
  eventId: string;
  event: string;
  callId: string | undefined;
  /** Place among the events of the call; gaps do not matter. */
  seq: number;
  customerId: string;
  applicationId: string;
  /**
   * `none` where the application has no webhook: kept for the live stream, delivered nowhere. Default
   * `pending`.
   */
  status?: 'pending' | 'none';
  /** The exact JSON that is signed and sent. */
  body: string;
  createdAt: Date;
}

const INSERT = `INSERT INTO webhook_deliveries
  (id, event_id, event, call_id, seq, customer_id, application_id, body, status, attempts, next_attempt_at, created_at) VALUES ?
  ON DUPLICATE KEY UPDATE id = id`;

/**
 * Writes events into the transaction of what they tell about, in one statement, due at once. Writing the same
 * rows again changes nothing, so that a transaction whose commit got no answer can be repeated.
 */
export async function enqueue(trx: Knex.Transaction, rows: readonly OutboxRow[]): Promise<void> {
  if (rows.length === 0) return;
  const values = rows.map(({ status = 'pending', ...row }) => [
    row.id,
    row.eventId,
    row.event,
    row.callId ?? null,
    row.seq,
    row.customerId,
    row.applicationId,
    row.body,
    status,
    0,
    status === 'pending' ? row.createdAt : null,
    row.createdAt,
  ]);
  await trx.raw(INSERT, [values] as unknown as Knex.RawBinding[]);
}

import type { Knex } from 'knex';
import { patient, type Database } from '../lib/database.ts';
import { firstIdAt } from '../lib/ids.ts';
import { parseJson } from '../lib/json-column.ts';
import type { Attempt, Delivery, DeliveryFilter, DeliveryStatus, KeptAttempt } from './delivery.ts';
import type { Health } from './health.ts';
import type { OutboxRow } from './outbox.ts';

interface Row {
  id: string;
  event_id: string;
  event: string;
  call_id: string | null;
  customer_id: string;
  application_id: string;
  status: DeliveryStatus;
  attempts: number;
  next_attempt_at: Date | null;
  created_at: Date;
  delivered_at: Date | null;
}

interface AttemptRow {
  delivery_id: string;
  call_id: string | null;
  attempt: number;
  at: Date;
  url: string;
  request_headers: unknown;
  status: number | null;
  reply: string | null;
  error: string | null;
  took_ms: number;
}

const COLUMNS = [
  'id',
  'event_id',
  'event',
  'call_id',
  'customer_id',
  'application_id',
  'status',
  'attempts',
  'next_attempt_at',
  'created_at',
  'delivered_at',
] as const;
const AGAIN = `status = 'pending', next_attempt_at = ?, scheduled_from = attempts, delivered_at = NULL`;
const AT_ONCE = 500;
/**
 * What is due within so many ms, or is being attempted, is left as it is when it is asked for again: longer
 * than a claim holds.
 */
export const SOON_MS = 20_000;

/**
 * The SQL of what the API and the housekeeping do with deliveries: reading, asking for them again, ageing
 * them out.
 */
export class DeliveryLogStore {
  readonly #db: Database;
  readonly #lists: Database;

  /** @param lists connections of their own for lists */
  constructor(db: Database, lists: Database = db) {
    this.#db = db;
    this.#lists = lists;
  }

  /**
   * Newest first; `before` is the id the page starts after. As with calls, a page's ids come from indexes
   * alone.
   */
  async list(filter: DeliveryFilter, limit: number, before?: string): Promise<Delivery[]> {
    const ids = this.#lists('webhook_deliveries').select('id').orderBy('id', 'desc').limit(limit);
    if (filter.applicationId !== undefined) void ids.where('application_id', filter.applicationId);
    if (filter.customerId !== undefined) void ids.where('customer_id', filter.customerId);
    if (filter.callId !== undefined) void ids.where('call_id', filter.callId);
    if (filter.event !== undefined) void ids.where('event', filter.event);
    if (filter.status !== undefined) void ids.where('status', filter.status);
    // What is settled has no next attempt: saying so lets the index of what is due give one status in order
    // of ids.
    if (filter.status !== undefined && filter.status !== 'pending') void ids.whereNull('next_attempt_at');
    if (before !== undefined) void ids.where('id', '<', before);
    const page = this.#lists('webhook_deliveries')
      .join(ids.as('page'), 'page.id', 'webhook_deliveries.id')
      .orderBy('webhook_deliveries.id', 'desc')
      .select(COLUMNS.map((column) => `webhook_deliveries.${column}`));
    return (await patient<Row[]>(page)).map(deliveryOf);
  }

  async find(id: string): Promise<(Delivery & { body: string }) | undefined> {
    const row = (await this.#db('webhook_deliveries')
      .where({ id })
      .first(...COLUMNS, 'body')) as (Row & { body: string }) | undefined;
    return row && { ...deliveryOf(row), body: row.body };
  }

  async attemptsOf(id: string): Promise<KeptAttempt[]> {
    const rows = (await this.#db<AttemptRow>('webhook_attempts')
      .where({ delivery_id: id })
      .orderBy('attempt')) as AttemptRow[];
    return rows.map((row) => ({
      attempt: row.attempt,
      at: row.at,
      url: row.url,
      requestHeaders: parseJson<Record<string, string>>(row.request_headers),
      status: row.status ?? undefined,
      reply: row.reply ?? undefined,
      error: row.error ?? undefined,
      tookMs: row.took_ms,
    }));
  }

  /**
   * Makes a delivery due now, with the whole schedule before it again. One that is being attempted, or will
   * be by `soon`, stays as it is.
   */
  async again(id: string, now: Date, soon: Date): Promise<void> {
    await this.#db.raw(
      `UPDATE webhook_deliveries SET ${AGAIN} WHERE id = ? AND (status <> 'pending' OR next_attempt_at > ?)`,
      [now, id, soon],
    );
  }

  /**
   * The same for all of an application's that were created in [since, until) and have one of these statuses.
   * Returns how many.
   */
  async allAgain(
    applicationId: string,
    range: { since: Date; until: Date },
    statuses: readonly Exclude<DeliveryStatus, 'pending'>[],
    now: Date,
  ): Promise<number> {
    let count = 0;
    // An id is made when its event is written, which is after the time it tells of, but for the clocks of two
    // machines.
    for (let after = firstIdAt('whd', new Date(range.since.getTime() - 60_000)); ;) {
      const rows = (await this.#db<Row>('webhook_deliveries')
        .select('id')
        .where('application_id', applicationId)
        .where('id', '>=', after)
        .where('created_at', '>=', range.since)
        .where('created_at', '<', range.until)
        .whereIn('status', statuses)
        .orderBy('id')
        .limit(AT_ONCE)) as { id: string }[];
      if (rows.length === 0) return count;
      const [result] = (await this.#db.raw(
        `UPDATE webhook_deliveries SET ${AGAIN} WHERE id IN (?) AND status <> 'pending'`,
        [now, rows.map(({ id }) => id)] as unknown as Knex.RawBinding[],
      )) as unknown as [{ affectedRows: number }];
      count += result.affectedRows;
      if (rows.length < AT_ONCE) return count;
      after = rows.at(-1)?.id ?? '';
    }
  }

  /** A delivery that was made outside of the schedule, with its one attempt. */
  async insertDone(row: OutboxRow, attempt: Attempt): Promise<void> {
    const delivered = attempt.error === undefined;
    await this.#db.transaction(async (trx) => {
      await trx('webhook_deliveries').insert({
        id: row.id,
        event_id: row.eventId,
        event: row.event,
        call_id: row.callId ?? null,
        seq: row.seq,
        customer_id: row.customerId,
        application_id: row.applicationId,
        body: row.body,
        status: delivered ? 'delivered' : 'exhausted',
        attempts: 1,
        next_attempt_at: null,
        created_at: row.createdAt,
        delivered_at: delivered ? attempt.at : null,
      });
      await trx('webhook_attempts').insert({
        delivery_id: row.id,
        call_id: row.callId ?? null,
        attempt: 1,
        at: attempt.at,
        url: attempt.url,
        request_headers: JSON.stringify(attempt.requestHeaders),
        status: attempt.status ?? null,
        reply: attempt.reply ?? null,
        error: attempt.error ?? null,
        took_ms: attempt.tookMs,
      });
    });
  }

  async health(applicationIds: readonly string[]): Promise<Map<string, Health>> {
    if (applicationIds.length === 0) return new Map();
    const rows = (await this.#db('webhook_endpoints').whereIn('application_id', applicationIds)) as {
      application_id: string;
      consecutive_failures: number;
      last_success_at: Date | null;
      last_failure_at: Date | null;
      last_error: string | null;
    }[];
    return new Map(
      rows.map((row) => [
        row.application_id,
        {
          consecutiveFailures: row.consecutive_failures,
          lastSuccessAt: row.last_success_at ?? undefined,
          lastFailureAt: row.last_failure_at ?? undefined,
          lastError: row.last_error ?? undefined,
        },
      ]),
    );
  }

  /** What was known of an endpoint tells nothing of another address. */
  async forgetHealth(applicationId: string): Promise<void> {
    await this.#db('webhook_endpoints').where({ application_id: applicationId }).delete();
  }

  /**
   * An application has another webhook_url: what waits for an attempt is due now, with the whole schedule
   * before it.
   */
  async startAnew(applicationId: string, now: Date): Promise<void> {
    const soon = new Date(now.getTime() + SOON_MS);
    for (;;) {
      const [result] = (await this.#db.raw(
        `UPDATE webhook_deliveries SET next_attempt_at = ?, scheduled_from = attempts
        WHERE status = 'pending' AND application_id = ? AND next_attempt_at > ? LIMIT ?`,
        [now, applicationId, soon, AT_ONCE],
      )) as unknown as [{ affectedRows: number }];
      if (result.affectedRows < AT_ONCE) return;
    }
  }

  /**
   * Removes settled deliveries of before `before`, the oldest first, with their attempts. Returns how many.
   * Ids grow with time, so the primary key leads to them; what another process is removing is passed over.
   */
  async purge(before: Date, limit: number): Promise<number> {
    return this.#db.transaction(
      async (trx) => {
        const [rows] = (await trx.raw(
          `SELECT id FROM webhook_deliveries FORCE INDEX (PRIMARY) WHERE id < ? AND status <> 'pending' ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED`,
          [firstIdAt('whd', before), limit],
        )) as unknown as [{ id: string }[]];
        const ids = rows.map(({ id }) => id);
        if (ids.length > 0) {
          await trx('webhook_attempts').whereIn('delivery_id', ids).delete();
          await trx('webhook_deliveries').whereIn('id', ids).delete();
        }
        return ids.length;
      },
      { isolationLevel: 'read committed' },
    );
  }
}

const deliveryOf = (row: Row): Delivery => ({
  id: row.id,
  eventId: row.event_id,
  event: row.event,
  callId: row.call_id ?? undefined,
  customerId: row.customer_id,
  applicationId: row.application_id,
  status: row.status,
  attempts: row.attempts,
  nextAttemptAt: row.next_attempt_at ?? undefined,
  createdAt: row.created_at,
  deliveredAt: row.delivered_at ?? undefined,
});

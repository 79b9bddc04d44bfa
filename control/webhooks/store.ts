import type { Knex } from 'knex';
import type { Database } from '../lib/database.ts';
import type { Attempt, ClaimedDelivery } from './delivery.ts';
import type { HealthChange } from './health.ts';
import type { Verdict } from './schedule.ts';

/** A finished attempt and what it makes of the delivery. */
export interface Finished {
  delivery: ClaimedDelivery;
  /** Absent where the application has no webhook any more and nothing was sent. */
  attempt: Attempt | undefined;
  verdict: Verdict;
}

/** A line of a call's timeline. */
export interface AttemptEntry {
  at: Date;
  deliveryId: string;
  event: string;
  attempt: number;
  status: number | undefined;
  tookMs: number;
  error: string | undefined;
}

interface DeliveryRow {
  id: string;
  event_id: string;
  event: string;
  call_id: string | null;
  application_id: string;
  body: string;
  attempts: number;
  scheduled_from: number;
  created_at: Date;
}

// One application's oldest due rows. A first attempt waits for the first attempts of the call's earlier
// events.
const CANDIDATES = `(SELECT d.id FROM webhook_deliveries d
  WHERE d.status = 'pending' AND d.application_id = ? AND d.next_attempt_at <= ? AND NOT (d.attempts = 0 AND EXISTS (
    SELECT 1 FROM webhook_deliveries p WHERE p.call_id = d.call_id AND p.attempts = 0 AND p.seq < d.seq AND p.status = 'pending'))
  ORDER BY d.next_attempt_at, d.id LIMIT ?)`;

// By primary key, so that nothing but these rows is locked: inserts of new events never wait for a worker.
const LOCK = `SELECT id, event_id, event, call_id, application_id, body, attempts, scheduled_from, created_at FROM webhook_deliveries FORCE INDEX (PRIMARY)
  WHERE id IN (?) AND status = 'pending' AND next_attempt_at <= ? ORDER BY next_attempt_at, id FOR UPDATE SKIP LOCKED`;

const ADD_ATTEMPTS = `INSERT INTO webhook_attempts
  (delivery_id, call_id, attempt, at, url, request_headers, status, reply, error, took_ms) VALUES ?
  ON DUPLICATE KEY UPDATE attempt = VALUES(attempt)`;

// The newest success sets the count of failures back to those that came after it.
const ADD_HEALTH = `INSERT INTO webhook_endpoints (application_id, consecutive_failures, last_success_at, last_failure_at, last_error) VALUES ?
  ON DUPLICATE KEY UPDATE
    consecutive_failures = IF(VALUES(last_success_at) IS NULL, consecutive_failures + VALUES(consecutive_failures), VALUES(consecutive_failures)),
    last_success_at = COALESCE(VALUES(last_success_at), last_success_at),
    last_failure_at = COALESCE(VALUES(last_failure_at), last_failure_at), last_error = COALESCE(VALUES(last_error), last_error)`;

const GIVEN_UP_AT_ONCE = 500;

/**
 * What the worker does to the tables. The statement that makes deliveries is in outbox.ts, what the API reads
 * in log-store.ts.
 */
export class WebhookStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** When each application with unsettled deliveries has its next one due; one index seek for each. */
  async dueTimes(): Promise<{ applicationId: string; dueAt: Date }[]> {
    const rows = await this.#rows<{ application_id: string; due_at: Date }>(
      `SELECT status, application_id, MIN(next_attempt_at) AS due_at FROM webhook_deliveries WHERE status = 'pending' GROUP BY status, application_id`,
      [],
    );
    return rows.map((row) => ({ applicationId: row.application_id, dueAt: row.due_at }));
  }

  /**
   * Claims due deliveries, at most so many of each application, until `leaseUntil`. What another worker is
   * claiming at the same moment is passed over.
   */
  async claim(
    wanted: readonly { applicationId: string; count: number }[],
    now: Date,
    leaseUntil: Date,
  ): Promise<ClaimedDelivery[]> {
    if (wanted.length === 0) return [];
    const candidates = await this.#rows<{ id: string }>(
      wanted.map(() => CANDIDATES).join(' UNION ALL '),
      wanted.flatMap(({ applicationId, count }) => [applicationId, now, count]),
    );
    if (candidates.length === 0) return [];
    const ids = candidates.map((row) => row.id);
    const rows = await this.#db.transaction(
      async (trx) => {
        const locked = await this.#rows<DeliveryRow>(LOCK, [ids, now], trx);
        if (locked.length > 0)
          await trx('webhook_deliveries')
            .whereIn(
              'id',
              locked.map((row) => row.id),
            )
            .update({ next_attempt_at: leaseUntil });
        return locked;
      },
      { isolationLevel: 'read committed' },
    );
    return rows.map((row) => ({
      id: row.id,
      eventId: row.event_id,
      event: row.event,
      callId: row.call_id ?? undefined,
      applicationId: row.application_id,
      body: row.body,
      attempts: row.attempts,
      scheduledFrom: row.scheduled_from,
      createdAt: row.created_at,
      leaseUntil,
    }));
  }

  /**
   * Records attempts and moves their deliveries on. The number of finished attempts guards each move: a
   * worker that outlived its lease changes nothing that another has done since. Repeating the call changes
   * nothing either.
   */
  async record(finished: readonly Finished[], now: Date): Promise<void> {
    const attempts = finished.flatMap(({ delivery, attempt: a }) =>
      a
        ? [
            [
              delivery.id,
              delivery.callId ?? null,
              a.attempt,
              a.at,
              a.url,
              JSON.stringify(a.requestHeaders),
              a.status ?? null,
              a.reply ?? null,
              a.error ?? null,
              a.tookMs,
            ],
          ]
        : [],
    );
    const groups = new Map<string, Finished[]>();
    for (const one of finished) {
      const key = `${one.verdict.status} ${one.delivery.attempts} ${one.attempt ? 1 : 0}`;
      const group = groups.get(key);
      if (group) group.push(one);
      else groups.set(key, [one]);
    }
    await this.#db.transaction(
      async (trx) => {
        if (attempts.length > 0) await trx.raw(ADD_ATTEMPTS, [attempts] as unknown as Knex.RawBinding[]);
        for (const group of groups.values()) await this.#moveOn(trx, group, now);
      },
      { isolationLevel: 'read committed' },
    );
  }

  /** Makes claimed deliveries due again that were not attempted to the end. */
  async handBack(deliveries: readonly ClaimedDelivery[], dueAt: Date): Promise<void> {
    for (const leaseUntil of new Set(deliveries.map((delivery) => delivery.leaseUntil))) {
      const ids = deliveries
        .filter((delivery) => delivery.leaseUntil === leaseUntil)
        .map((delivery) => delivery.id);
      await this.#db('webhook_deliveries')
        .whereIn('id', ids)
        .where({ status: 'pending', next_attempt_at: leaseUntil })
        .update({ next_attempt_at: dueAt });
    }
  }

  /** Gives up what an application's endpoint has not taken yet, in bounded steps. */
  async disablePending(applicationId: string): Promise<void> {
    for (;;) {
      const [result] = (await this.#db.raw(
        `UPDATE webhook_deliveries SET status = 'disabled', next_attempt_at = NULL WHERE status = 'pending' AND application_id = ? LIMIT ?`,
        [applicationId, GIVEN_UP_AT_ONCE],
      )) as unknown as [{ affectedRows: number }];
      if (result.affectedRows < GIVEN_UP_AT_ONCE) return;
    }
  }

  /** Adds what a batch of attempts has shown of endpoints. */
  async noteHealth(changes: readonly HealthChange[]): Promise<void> {
    if (changes.length === 0) return;
    const values = changes.map((c) => [
      c.applicationId,
      c.failures,
      c.succeededAt ?? null,
      c.failedAt ?? null,
      c.error ?? null,
    ]);
    await this.#db.raw(ADD_HEALTH, [values] as unknown as Knex.RawBinding[]);
  }

  /** Every attempt for the events of a call, in the order they were made. */
  async attemptsOfCall(callId: string): Promise<AttemptEntry[]> {
    const rows = await this.#rows<{
      at: Date;
      delivery_id: string;
      event: string;
      attempt: number;
      status: number | null;
      took_ms: number;
      error: string | null;
    }>(
      `SELECT a.at, a.delivery_id, d.event, a.attempt, a.status, a.took_ms, a.error FROM webhook_attempts a
         JOIN webhook_deliveries d ON d.id = a.delivery_id WHERE a.call_id = ? ORDER BY a.at, d.seq, a.attempt`,
      [callId],
    );
    return rows.map((row) => ({
      at: row.at,
      deliveryId: row.delivery_id,
      event: row.event,
      attempt: row.attempt,
      status: row.status ?? undefined,
      tookMs: row.took_ms,
      error: row.error ?? undefined,
    }));
  }

  /** A group has the same verdict and the same number of attempts. */
  async #moveOn(trx: Knex.Transaction, group: readonly Finished[], now: Date): Promise<void> {
    const [first] = group;
    if (!first) return;
    const ids = group.map(({ delivery }) => delivery.id).sort();
    const times = group.flatMap(({ delivery, verdict }) =>
      verdict.status === 'pending' ? [delivery.id, verdict.nextAttemptAt] : [],
    );
    const next = times.length > 0 ? `CASE id ${group.map(() => 'WHEN ? THEN ?').join(' ')} END` : 'NULL';
    const { attempts } = first.delivery;
    await trx.raw(
      `UPDATE webhook_deliveries SET status = ?, attempts = ?, delivered_at = ?, next_attempt_at = ${next} WHERE id IN (?) AND attempts = ?`,
      [
        first.verdict.status,
        attempts + (first.attempt ? 1 : 0),
        first.verdict.status === 'delivered' ? now : null,
        ...times,
        ids,
        attempts,
      ] as unknown as Knex.RawBinding[],
    );
  }

  async #rows<T>(
    sql: string,
    bindings: readonly unknown[],
    on: Database | Knex.Transaction = this.#db,
  ): Promise<T[]> {
    const [rows] = (await on.raw(sql, bindings as Knex.RawBinding[])) as unknown as [T[]];
    return rows;
  }
}

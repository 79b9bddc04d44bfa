import type { Knex } from 'knex';
import { patient, type Database } from '../lib/database.ts';
import { firstIdAt } from '../lib/ids.ts';
import { jsonColumn, parseJson } from '../lib/json-column.ts';
import { formatMicros } from '../lib/money.ts';
import { together, type Statement } from '../lib/together.ts';
import type { Call, CallStatus, FailureCode, Hangup, RouteMode } from './call.ts';
import type { FarEnd } from '../lib/far-end.ts';

/** One line of a call's story. `n` orders the lines of one call and makes writing one twice harmless. */
export interface TimelineEntry {
  callId: string;
  n: string;
  at: Date;
  kind: string;
  detail: Record<string, unknown>;
}

/** What a leg has cost. */
export interface LegSettlement {
  amountMicros: bigint;
  currency: string;
  billsecSeconds: number;
  /** What it should have cost beyond that, and the customer no longer had. */
  unpaidMicros: bigint;
}

export interface CallFilter {
  applicationId?: string;
  customerId?: string;
  status?: string;
  direction?: string;
  from?: string;
  to?: string;
  did?: string;
  since?: Date;
  until?: Date;
}

// The cost of a call is not among them: it is written when a leg is settled, and must not be undone by what
// comes later.
const COLUMNS = [
  'id',
  'customer_id',
  'application_id',
  'provider_call_id',
  'direction',
  'from_number',
  'to_number',
  'status',
  'route_mode',
  'routing_target',
  'answer_url',
  'metadata',
  'variables',
  'created_at',
  'dialing_at',
  'ringing_at',
  'answered_at',
  'ended_at',
  'hangup_by',
  'hangup_cause',
  'hangup_sip_code',
  'failure_code',
  'failure_message',
  'trunk_id',
  'media_node',
  'sip_call_id',
  'event_counts',
  'actions',
  'max_duration_seconds',
  'record_from_answer',
  'far_ends',
] as const;
const CHANGING = [
  'provider_call_id',
  'status',
  'variables',
  'dialing_at',
  'ringing_at',
  'answered_at',
  'ended_at',
  'hangup_by',
  'hangup_cause',
  'hangup_sip_code',
  'failure_code',
  'failure_message',
  'trunk_id',
  'media_node',
  'event_counts',
  'far_ends',
] as const;
const UPSERT_HEAD = `INSERT INTO calls (${COLUMNS.join(',')}) VALUES `;
const ROW = `(${COLUMNS.map(() => '?').join(',')})`;
const UPSERT_TAIL = ` ON DUPLICATE KEY UPDATE ${CHANGING.map((column) => `${column}=VALUES(${column})`).join(',')}`;

/**
 * What others wrote (a carrier, a customer's URL in a message) is cut to its column: a long text must not
 * cost the row.
 */
const fit = (text: string | undefined, length: number): string | null => text?.slice(0, length) ?? null;

const rowOf = (call: Call): (string | number | Date | null)[] => [
  call.id,
  call.customerId,
  call.applicationId ?? null,
  fit(call.providerCallId, 64),
  call.direction,
  fit(call.from, 255),
  fit(call.to, 255),
  call.status,
  call.routeMode,
  fit(call.routingTarget, 2048),
  fit(call.answerUrl, 2048),
  jsonColumn(call.metadata),
  jsonColumn(call.variables),
  call.createdAt,
  call.dialingAt ?? null,
  call.ringingAt ?? null,
  call.answeredAt ?? null,
  call.endedAt ?? null,
  call.hangup?.by ?? null,
  fit(call.hangup?.cause, 64),
  call.hangup?.sip_code ?? null,
  call.failure?.code ?? null,
  fit(call.failure?.message, 500),
  call.trunkId ?? null,
  fit(call.mediaNode, 255),
  fit(call.sipCallId, 255),
  JSON.stringify(call.eventCounts),
  call.actions ?? null,
  call.maxDurationSeconds ?? null,
  call.recordFromAnswer ? 1 : 0,
  call.farEnds ? JSON.stringify(call.farEnds) : null,
];

interface CallRow {
  id: string;
  customer_id: string;
  application_id: string | null;
  provider_call_id: string | null;
  direction: 'inbound' | 'outbound';
  from_number: string;
  to_number: string;
  status: CallStatus;
  route_mode: RouteMode;
  routing_target: string;
  answer_url: string | null;
  metadata: unknown;
  variables: unknown;
  created_at: Date;
  dialing_at: Date | null;
  ringing_at: Date | null;
  answered_at: Date | null;
  ended_at: Date | null;
  cost_micros: string | number | null;
  cost_currency: string | null;
  hangup_by: Hangup['by'] | null;
  hangup_cause: string | null;
  hangup_sip_code: number | null;
  failure_code: FailureCode | null;
  failure_message: string | null;
  trunk_id: string | null;
  media_node: string | null;
  sip_call_id: string | null;
  event_counts: unknown;
  actions: string | null;
  max_duration_seconds: number | null;
  record_from_answer: number | boolean;
  far_ends: unknown;
}

const callOf = (row: CallRow): Call => ({
  id: row.id,
  customerId: row.customer_id,
  applicationId: row.application_id ?? undefined,
  direction: row.direction,
  from: row.from_number,
  to: row.to_number,
  routeMode: row.route_mode,
  routingTarget: row.routing_target,
  answerUrl: row.answer_url ?? undefined,
  metadata: parseJson<Record<string, unknown>>(row.metadata),
  trunkId: row.trunk_id ?? undefined,
  sipCallId: row.sip_call_id ?? undefined,
  createdAt: row.created_at,
  status: row.status,
  providerCallId: row.provider_call_id ?? undefined,
  mediaNode: row.media_node ?? undefined,
  variables: parseJson<Record<string, string>>(row.variables),
  dialingAt: row.dialing_at ?? undefined,
  ringingAt: row.ringing_at ?? undefined,
  answeredAt: row.answered_at ?? undefined,
  endedAt: row.ended_at ?? undefined,
  hangup: row.hangup_by
    ? { by: row.hangup_by, cause: row.hangup_cause ?? '', sip_code: row.hangup_sip_code ?? undefined }
    : undefined,
  failure: row.failure_code ? { code: row.failure_code, message: row.failure_message ?? '' } : undefined,
  costMicros: row.cost_micros === null ? undefined : BigInt(row.cost_micros),
  costCurrency: row.cost_currency ?? undefined,
  eventCounts: parseJson<Record<string, number>>(row.event_counts),
  actions: row.actions ?? undefined,
  maxDurationSeconds: row.max_duration_seconds ?? undefined,
  recordFromAnswer: Boolean(row.record_from_answer),
  ...(row.far_ends !== null && { farEnds: parseJson<FarEnd[]>(row.far_ends) }),
});

const upsertOf = (calls: readonly Call[]): Statement => [
  UPSERT_HEAD + calls.map(() => ROW).join(',') + UPSERT_TAIL,
  calls.flatMap(rowOf),
];

const linesOf = (entries: readonly TimelineEntry[]): Statement => [
  `INSERT INTO call_timeline (call_id,n,at,kind,detail) VALUES ${entries.map(() => '(?,?,?,?,?)').join(',')} ON DUPLICATE KEY UPDATE n=VALUES(n)`,
  entries.flatMap((e) => [e.callId, e.n, e.at, e.kind, jsonColumn(e.detail)]),
];

/** An id is made within so many milliseconds of its call's `created_at`. */
const ID_SLACK_MS = 60_000;
/** Few calls are longer. */
const LONG_CALL_MS = 2 * 3600_000;
const shifted = (at: Date, ms: number): Date => new Date(at.getTime() + ms);

/** The SQL of calls and their timelines. Written only through the journal. */
export class CallStore {
  readonly #db: Database;
  readonly #lists: Database;

  /** @param lists connections of their own for lists, so that slow ones take none from calls in progress */
  constructor(db: Database, lists: Database = db) {
    this.#db = db;
    this.#lists = lists;
  }

  transaction<T>(work: (trx: Knex.Transaction) => Promise<T>): Promise<T> {
    return this.#db.transaction(work);
  }

  /** Inserts calls or brings them up to date, and adds lines to their stories. */
  async save(
    trx: Knex.Transaction,
    calls: readonly Call[],
    entries: readonly TimelineEntry[],
  ): Promise<void> {
    await together(trx, [
      ...(calls.length > 0 ? [upsertOf(calls)] : []),
      ...(entries.length > 0 ? [linesOf(entries)] : []),
    ]);
  }

  /** A call that has never been leaves nothing. */
  async forget(trx: Knex.Transaction, callId: string): Promise<void> {
    await together(trx, [
      ['DELETE FROM call_timeline WHERE call_id = ?', [callId]],
      ['DELETE FROM calls WHERE id = ?', [callId]],
    ]);
  }

  /**
   * Adds what a leg has cost to its call.
   * @param n orders the timeline's line, see TimelineEntry
   * @returns false when the call is not stored yet
   */
  async settled(
    trx: Knex.Transaction,
    { callId, leg }: { callId: string; leg: number },
    cost: LegSettlement,
    { n, at }: Pick<TimelineEntry, 'n' | 'at'>,
  ): Promise<boolean> {
    // As digits: a bound bigint would be a string, and adding that is floating.
    const [changed] = (await trx.raw(
      `UPDATE calls SET cost_micros = COALESCE(cost_micros, 0) + ${cost.amountMicros}, cost_currency = ? WHERE id = ?`,
      [cost.currency, callId],
    )) as unknown as [{ affectedRows: number }];
    if (changed.affectedRows === 0) return false;
    const detail = {
      leg,
      amount: formatMicros(cost.amountMicros),
      currency: cost.currency,
      billsec_seconds: cost.billsecSeconds,
      ...(cost.unpaidMicros > 0n && { unpaid_amount: formatMicros(cost.unpaidMicros) }),
    };
    await together(trx, [linesOf([{ callId, n, at, kind: 'billing.settled', detail }])]);
    return true;
  }

  async find(id: string): Promise<Call | undefined> {
    const row = await this.#db<CallRow>('calls').where({ id }).first();
    return row && callOf(row as CallRow);
  }

  /**
   * Newest first; `before` is the id the page starts after. The ids of a page come from indexes alone, and
   * only the rows of the page are read: see db/migrations/008_lists.ts.
   */
  async list(filter: CallFilter, limit: number, before?: string): Promise<Call[]> {
    // MySQL would take the index of usage and sort, since it is no wider than the one that is in order.
    const ids = this.#lists(this.#lists.raw('calls IGNORE INDEX (calls_usage)'))
      .select('id')
      .orderBy('id', 'desc')
      .limit(limit);
    if (filter.applicationId) void ids.where('application_id', filter.applicationId);
    if (filter.customerId) void ids.where('customer_id', filter.customerId);
    if (filter.status) void ids.where('status', filter.status);
    if (filter.direction) void ids.where('direction', filter.direction);
    if (filter.from) void ids.where('from_number', filter.from);
    if (filter.to) void ids.where('to_number', filter.to);
    // Ids grow with time: they bound what is looked at, and the exact time decides at the edges.
    if (filter.since)
      void ids
        .where('id', '>=', firstIdAt('call', shifted(filter.since, -ID_SLACK_MS)))
        .where('created_at', '>=', filter.since);
    if (filter.until)
      void ids
        .where('id', '<', firstIdAt('call', shifted(filter.until, ID_SLACK_MS)))
        .where('created_at', '<', filter.until);
    if (filter.did) void ids.where('to_number', filter.did).where('direction', 'inbound');
    if (before) void ids.where('id', '<', before);
    const page = this.#lists('calls')
      .join(ids.as('page'), 'page.id', 'calls.id')
      .orderBy('calls.id', 'desc')
      .select('calls.*');
    return (await patient<CallRow[]>(page)).map(callOf);
  }

  /** Calls that have not ended, for taking them over after a restart. */
  async unfinished(): Promise<Call[]> {
    const rows = (await this.#db('calls').whereIn('status', [
      'dialing',
      'ringing',
      'in_progress',
    ])) as CallRow[];
    return rows.map(callOf);
  }

  /**
   * Calls with sides that may still be up, though the call has ended since `since` by this cause; of those
   * made in the last hours.
   */
  async endedBy(cause: string, since: Date): Promise<Call[]> {
    const made = firstIdAt('call', shifted(since, -LONG_CALL_MS));
    const rows = (await this.#db('calls')
      .where('id', '>=', made)
      .where('ended_at', '>=', since)
      .where('hangup_cause', cause)
      .whereNotNull('far_ends')) as CallRow[];
    return rows.map(callOf);
  }

  /**
   * The ids of calls that were made before `before` and have ended, the oldest first, from behind the id
   * `after`.
   */
  async endedBefore(before: Date, after: string, limit: number): Promise<string[]> {
    const rows = (await this.#db('calls')
      .select('id')
      .where('id', '>', after)
      .where('id', '<', firstIdAt('call', before))
      .whereNotNull('ended_at')
      .orderBy('id')
      .limit(limit)) as { id: string }[];
    return rows.map(({ id }) => id);
  }

  /**
   * Removes calls and their timelines.
   * @param also what other rooms remove of them in the same transaction
   */
  async remove(callIds: readonly string[], also: (trx: Knex.Transaction) => Promise<void>): Promise<void> {
    if (callIds.length === 0) return;
    await this.#db.transaction(
      async (trx) => {
        await also(trx);
        await trx('call_timeline').whereIn('call_id', callIds).delete();
        await trx('calls').whereIn('id', callIds).delete();
      },
      { isolationLevel: 'read committed' },
    );
  }

  async timeline(callId: string): Promise<TimelineEntry[]> {
    const rows = (await this.#db('call_timeline').where({ call_id: callId }).orderBy('n')) as {
      n: string | number;
      at: Date;
      kind: string;
      detail: unknown;
    }[];
    return rows.map((row) => ({
      callId,
      n: String(row.n),
      at: row.at,
      kind: row.kind,
      detail: parseJson<Record<string, unknown>>(row.detail),
    }));
  }
}

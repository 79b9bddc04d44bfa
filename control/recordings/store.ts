import type { Knex } from 'knex';
import type { Database } from '../lib/database.ts';
import type { Recording, StorageType } from './recording.ts';

interface Row {
  id: string;
  call_id: string;
  n: number;
  customer_id: string;
  application_id: string | null;
  instance: number;
  provider_call_id: string;
  media_node: string;
  status: Recording['status'];
  storage_type: StorageType;
  file_key: string;
  duration_seconds: number;
  size_bytes: number | string;
  sha256: string | null;
  recording_at: Date | null;
  stopped_at: Date | null;
  next_attempt_at: Date | null;
  attempts: number;
  failure: string | null;
  deleted_at: Date | null;
  created_at: Date;
  updated_at: Date;
}

const toRecording = (row: Row): Recording => ({
  id: row.id,
  callId: row.call_id,
  n: row.n,
  customerId: row.customer_id,
  applicationId: row.application_id ?? undefined,
  instance: row.instance,
  providerCallId: row.provider_call_id,
  mediaNode: row.media_node,
  status: row.status,
  storageType: row.storage_type,
  fileKey: row.file_key,
  durationSeconds: row.duration_seconds,
  sizeBytes: Number(row.size_bytes),
  sha256: row.sha256 ?? undefined,
  recordingAt: row.recording_at ?? undefined,
  stoppedAt: row.stopped_at ?? undefined,
  attempts: row.attempts,
  failure: row.failure ?? undefined,
  createdAt: row.created_at,
  updatedAt: row.updated_at,
});

const toRow = (recording: Recording): Row => ({
  id: recording.id,
  call_id: recording.callId,
  n: recording.n,
  customer_id: recording.customerId,
  application_id: recording.applicationId ?? null,
  instance: recording.instance,
  provider_call_id: recording.providerCallId,
  media_node: recording.mediaNode,
  status: recording.status,
  storage_type: recording.storageType,
  file_key: recording.fileKey,
  duration_seconds: recording.durationSeconds,
  size_bytes: recording.sizeBytes,
  sha256: recording.sha256 ?? null,
  recording_at: recording.recordingAt ?? null,
  stopped_at: recording.stoppedAt ?? null,
  next_attempt_at: null,
  attempts: recording.attempts,
  failure: recording.failure ?? null,
  deleted_at: null,
  created_at: recording.createdAt,
  updated_at: recording.updatedAt,
});

/**
 * The SQL of recordings. A deleted one stays as a row that nothing finds, so that its id is never given
 * again.
 */
export class RecordingStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  transaction(work: (trx: Knex.Transaction) => Promise<void>): Promise<void> {
    return this.#db.transaction(work);
  }

  async insert(recording: Recording): Promise<void> {
    await this.#db<Row>('recordings').insert(toRow(recording));
  }

  /** Those of these calls that have a recording which has not been deleted. */
  async needs(callIds: readonly string[]): Promise<string[]> {
    const rows = await this.#db<Row>('recordings')
      .distinct('call_id')
      .whereIn('call_id', callIds)
      .whereNull('deleted_at');
    return rows.map(({ call_id }) => call_id);
  }

  /** Removes what is left of the deleted recordings of calls that are removed. */
  async forget(trx: Knex.Transaction, callIds: readonly string[]): Promise<void> {
    await trx('recordings').whereIn('call_id', callIds).delete();
  }

  async find(id: string): Promise<Recording | undefined> {
    const row = await this.#db<Row>('recordings').where({ id, deleted_at: null }).first();
    return row && toRecording(row);
  }

  /** The newest recording a call has had, a deleted one too. */
  async latest(callId: string): Promise<Recording | undefined> {
    const row = await this.#db<Row>('recordings').where({ call_id: callId }).orderBy('n', 'desc').first();
    return row && toRecording(row);
  }

  /** Newest first; `before` is the number the page starts after. */
  async list(callId: string, limit: number, before?: number): Promise<Recording[]> {
    const query = this.#db<Row>('recordings')
      .where({ call_id: callId, deleted_at: null })
      .orderBy('n', 'desc')
      .limit(limit);
    if (before !== undefined) void query.where('n', '<', before);
    return (await query).map(toRecording);
  }

  /** What this control process had running when it ended last time: as many as it had calls. */
  async running(instance: number): Promise<Recording[]> {
    return (await this.#db<Row>('recordings').where({ instance, status: 'started', stopped_at: null })).map(
      toRecording,
    );
  }

  /** The media node writes no more: the recording can be finished from now on. */
  async stopped(id: string, at: Date): Promise<void> {
    await this.#db<Row>('recordings')
      .where({ id, status: 'started', stopped_at: null })
      .update({ stopped_at: at, next_attempt_at: at, updated_at: at });
  }

  /** Makes everything that waits due at once: whatever held it up may be over. */
  async allDue(instance: number, now: Date): Promise<void> {
    await this.#db<Row>('recordings')
      .where({ instance, status: 'started' })
      .whereNotNull('stopped_at')
      .update({ next_attempt_at: now });
  }

  /** Recordings to finish, the longest due first. */
  async due(instance: number, now: Date, limit: number): Promise<Recording[]> {
    const rows = await this.#db<Row>('recordings')
      .where({ instance, status: 'started' })
      .whereNotNull('stopped_at')
      .where('next_attempt_at', '<=', now)
      .orderBy('next_attempt_at')
      .limit(limit);
    return rows.map(toRecording);
  }

  /** How many recordings wait to be finished, and when the next of them is due. */
  async backlog(instance: number): Promise<{ count: number; nextAt: Date | undefined }> {
    const [row] = (await this.#db<Row>('recordings')
      .where({ instance, status: 'started' })
      .whereNotNull('next_attempt_at')
      .count('* as count')
      .min('next_attempt_at as next')) as { count: number | string; next: Date | null }[];
    return { count: Number(row?.count ?? 0), nextAt: row?.next ?? undefined };
  }

  /** Keeps what the whole file is, before it leaves for the storage. */
  async inspected({ id, durationSeconds, sizeBytes, sha256 }: Recording, nextAttemptAt: Date): Promise<void> {
    await this.#db<Row>('recordings').where({ id }).update({
      duration_seconds: durationSeconds,
      size_bytes: sizeBytes,
      sha256,
      next_attempt_at: nextAttemptAt,
    });
  }

  async tryAgain(id: string, attempts: number, at: Date): Promise<void> {
    await this.#db<Row>('recordings')
      .where({ id, status: 'started' })
      .update({ attempts, next_attempt_at: at });
  }

  async recordingSince(trx: Knex.Transaction, id: string, at: Date): Promise<void> {
    await trx<Row>('recordings')
      .where({ id, status: 'started' })
      .update({ recording_at: at, updated_at: at });
  }

  /** Its end, good or bad, once and for all. */
  async ended(
    trx: Knex.Transaction,
    { id, status, storageType, failure, updatedAt }: Recording,
  ): Promise<void> {
    await trx<Row>('recordings')
      .where({ id, status: 'started' })
      .update({
        status,
        storage_type: storageType,
        failure: failure ?? null,
        next_attempt_at: null,
        updated_at: updatedAt,
      });
  }

  async deleted(id: string, at: Date): Promise<void> {
    await this.#db<Row>('recordings').where({ id }).update({ deleted_at: at, updated_at: at });
  }

  /** What is known of these recordings, deleted ones included. */
  async states(
    ids: readonly string[],
  ): Promise<Map<string, { status: Recording['status']; updatedAt: Date; deleted: boolean }>> {
    const rows = await this.#db<Row>('recordings')
      .whereIn('id', ids)
      .select('id', 'status', 'updated_at', 'deleted_at');
    return new Map(
      rows.map((row) => [
        row.id,
        { status: row.status, updatedAt: row.updated_at, deleted: row.deleted_at !== null },
      ]),
    );
  }
}

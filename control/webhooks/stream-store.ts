import type { Knex } from 'knex';
import type { Database } from '../lib/database.ts';

/** An event as the live stream reads it. */
export interface StreamedEvent {
  /** Its place in the order of commits; grows, with holes. */
  position: number;
  eventId: string;
  /** The envelope, as it is sent to webhooks. */
  body: string;
}

/** The SQL of the live stream. */
export class StreamStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** The highest position that is committed; 0 where there is no event. */
  async newest(): Promise<number> {
    const [row] = await this.#rows<{ position: number | null }>(
      'SELECT MAX(position) AS position FROM webhook_deliveries',
      [],
    );
    return Number(row?.position ?? 0);
  }

  /** The lowest position that is kept, and when its event came about; undefined where there is none. */
  async oldest(): Promise<{ position: number; createdAt: Date } | undefined> {
    const [row] = await this.#rows<{ position: number; created_at: Date }>(
      'SELECT position, created_at FROM webhook_deliveries FORCE INDEX (webhook_deliveries_tail) ORDER BY position LIMIT 1',
      [],
    );
    return row && { position: Number(row.position), createdAt: row.created_at };
  }

  /** What is committed after a position, whosever it is; read from an index alone. */
  async after(position: number, limit: number): Promise<{ position: number; applicationId: string }[]> {
    const rows = await this.#rows<{ position: number; application_id: string }>(
      'SELECT position, application_id FROM webhook_deliveries FORCE INDEX (webhook_deliveries_tail) WHERE position > ? ORDER BY position LIMIT ?',
      [position, limit],
    );
    return rows.map((row) => ({ position: Number(row.position), applicationId: row.application_id }));
  }

  /** Where an application's event stands, or undefined where there is no such event (any more). */
  async positionOf(applicationId: string, eventId: string): Promise<number | undefined> {
    const [row] = await this.#rows<{ position: number }>(
      'SELECT position FROM webhook_deliveries WHERE event_id = ? AND application_id = ?',
      [eventId, applicationId],
    );
    return row && Number(row.position);
  }

  /** The newest event of an application up to a position. */
  async newestOf(applicationId: string, upTo: number): Promise<string | undefined> {
    const [row] = await this.#rows<{ event_id: string }>(
      'SELECT event_id FROM webhook_deliveries FORCE INDEX (webhook_deliveries_stream) WHERE application_id = ? AND position <= ? ORDER BY position DESC LIMIT 1',
      [applicationId, upTo],
    );
    return row?.event_id;
  }

  /** An application's events after one position and up to another, in order. */
  async page(applicationId: string, after: number, upTo: number, limit: number): Promise<StreamedEvent[]> {
    const rows = await this.#rows<{ position: number; event_id: string; body: string }>(
      `SELECT position, event_id, body FROM webhook_deliveries FORCE INDEX (webhook_deliveries_stream)
        WHERE application_id = ? AND position > ? AND position <= ? ORDER BY position LIMIT ?`,
      [applicationId, after, upTo, limit],
    );
    return rows.map((row) => ({ position: Number(row.position), eventId: row.event_id, body: row.body }));
  }

  async #rows<T>(sql: string, bindings: readonly (string | number)[]): Promise<T[]> {
    const [rows] = (await this.#db.raw(sql, bindings as Knex.RawBinding[])) as unknown as [T[]];
    return rows;
  }
}

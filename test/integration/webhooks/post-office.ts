import type { Database } from '../../../control/lib/database.ts';
import { createGuardedFetch, type GuardedFetch } from '../../../control/lib/guarded-fetch.ts';
import { Ids } from '../../../control/lib/ids.ts';
import { createLogger } from '../../../control/lib/logger.ts';
import type { Endpoint } from '../../../control/webhooks/deliver.ts';
import { enqueue, type OutboxRow } from '../../../control/webhooks/outbox.ts';
import { WebhookStore } from '../../../control/webhooks/store.ts';
import { DeliveryWorker, type DeliveryWorkerOptions } from '../../../control/webhooks/worker.ts';
import type { TestDatabase } from './database.ts';

export interface DeliveryState {
  id: string;
  status: string;
  attempts: number;
  next_attempt_at: Date | null;
  delivered_at: Date | null;
}

/** A database with an outbox, endpoints of applications by name, a clock that is set by hand, and workers. */
export class PostOffice {
  readonly db: Database;
  readonly store: WebhookStore;
  readonly endpoints = new Map<string, Endpoint>();
  time = Date.parse('2026-05-29T12:00:00.250Z');
  readonly #ids = new Ids(0);
  readonly #workers: DeliveryWorker[] = [];
  readonly #fetches: GuardedFetch[] = [];

  private constructor(db: Database) {
    this.db = db;
    this.store = new WebhookStore(db);
  }

  /** With nothing in it. */
  static async open({ db }: TestDatabase): Promise<PostOffice> {
    await db('webhook_attempts').delete();
    await db('webhook_deliveries').delete();
    await db('webhook_endpoints').delete();
    return new PostOffice(db);
  }

  /** What an application's 410 does. */
  async disable(id: string, url: string): Promise<boolean> {
    const endpoint = this.endpoints.get(id);
    if (endpoint?.url === url) this.endpoints.set(id, { ...endpoint, disabled: true });
    return endpoint?.url === url;
  }

  now = (): Date => new Date(this.time);

  event(applicationId: string, callId: string, seq: number, event = 'call.created'): OutboxRow {
    return {
      id: this.#ids.next('whd'),
      eventId: this.#ids.next('evt'),
      event,
      callId,
      seq,
      customerId: 'cust_1',
      applicationId,
      body: JSON.stringify({ event, call: { id: callId }, data: { seq, text: 'ä✓' } }),
      createdAt: this.now(),
    };
  }

  async put(...rows: OutboxRow[]): Promise<void> {
    await this.db.transaction((trx) => enqueue(trx, rows));
    this.wake();
  }

  /** A running worker; ended by `close`. */
  worker(options: Partial<DeliveryWorkerOptions> = {}): DeliveryWorker {
    const fetch = createGuardedFetch({ allowPrivate: true });
    const worker = new DeliveryWorker({
      store: this.store,
      fetch: fetch.fetch,
      endpointOf: (id) => this.endpoints.get(id),
      disable: async (id, url) => this.disable(id, url),
      logger: createLogger('silent'),
      now: this.now,
      random: () => 0,
      pollMs: 50,
      ...options,
    });
    worker.start();
    this.#fetches.push(fetch);
    this.#workers.push(worker);
    return worker;
  }

  /** Moves the clock on and lets the workers see it. */
  pass(seconds: number): void {
    this.time += seconds * 1000;
    this.wake();
  }

  wake(): void {
    for (const worker of this.#workers) worker.wake();
  }

  async deliveries(): Promise<DeliveryState[]> {
    return (await this.db('webhook_deliveries')
      .select('id', 'status', 'attempts', 'next_attempt_at', 'delivered_at')
      .orderBy('id')) as DeliveryState[];
  }

  /** Asks the database until it is so. */
  async until(
    what: string,
    look: (rows: DeliveryState[]) => boolean,
    timeoutMs = 10_000,
  ): Promise<DeliveryState[]> {
    for (const deadline = Date.now() + timeoutMs; ;) {
      const rows = await this.deliveries();
      if (look(rows)) return rows;
      if (Date.now() > deadline)
        throw new Error(`waited in vain for ${what}: ${JSON.stringify(rows.slice(0, 10))}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.stop(0)));
    for (const fetch of this.#fetches) fetch.close();
  }
}

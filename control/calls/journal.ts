import type { Knex } from 'knex';
import type { Logger } from '../lib/logger.ts';
import type { OutboxRow } from '../webhooks/outbox.ts';
import type { Call } from './call.ts';
import type { CallStore, LegSettlement, TimelineEntry } from './store.ts';

/** What one thing that happened to a call leaves behind: it is committed whole, or not at all. */
export interface Change {
  call: Call;
  timeline: TimelineEntry[];
  outbox: OutboxRow[];
  /**
   * What another room writes in the same transaction. It may run more than once, and must then change nothing
   * more.
   */
  also?: (trx: Knex.Transaction) => Promise<void>;
  /** Somebody waits until it is in the database. */
  awaited?: boolean;
}

export interface JournalOptions {
  store: CallStore;
  enqueue: (trx: Knex.Transaction, rows: OutboxRow[]) => Promise<void>;
  /**
   * Called after a commit that held events.
   * @param due whether any of them is to be delivered to a webhook
   */
  wake: (due: boolean) => void;
  logger: Logger;
  /** Above so many waiting changes no new call is taken. */
  highWater?: number;
}

/**
 * One transaction holds so many changes at most, and so many characters: far below max_allowed_packet (16 MiB
 * in MariaDB).
 */
const BATCH_CHANGES = 500;
const BATCH_SIZE = 1024 * 1024;
/** How long the first change of a batch waits for others, in ms; and where somebody waits for one of them. */
const GATHER_MS = 25;
const HURRY_MS = 4;

/**
 * Writes what happens to calls, in order, many changes in one transaction: while one batch commits the next
 * one gathers, so that a route decision never waits for MySQL and MySQL sees one commit for many calls. When
 * MySQL is away the changes wait here, in memory, and `accepting` turns false once they are too many. Every
 * statement may be repeated, since a connection can break between the commit and its reply.
 */
export class Journal {
  readonly #options: JournalOptions;
  readonly #highWater: number;
  #waiting: Change[] = [];
  #flushing: Promise<void> | undefined;
  /** Ends the gathering of a batch soon; set while one gathers. */
  #hurry: (() => void) | undefined;
  #failures = 0;
  #closed = false;
  readonly #onCommit: ((stored: readonly Change[], refused: ReadonlyMap<Change, unknown>) => void)[] = [];

  constructor(options: JournalOptions) {
    this.#options = options;
    this.#highWater = options.highWater ?? 20_000;
  }

  /** False while MySQL cannot keep up or is away: new calls are refused rather than lost. */
  get accepting(): boolean {
    return this.#failures < 3 && this.#waiting.length < this.#highWater && !this.#closed;
  }

  get depth(): number {
    return this.#waiting.length;
  }

  /**
   * Calls back for changes that are stored, and for those that the database will never take, with its reason.
   */
  onCommit(listener: (stored: readonly Change[], refused: ReadonlyMap<Change, unknown>) => void): void {
    this.#onCommit.push(listener);
  }

  append(change: Change): void {
    this.#waiting.push(change);
    if (change.awaited) this.#hurry?.();
    this.#flushing ??= this.#flush();
  }

  /** Takes a call that has never been out of the database, in the transaction of the change that says so. */
  forget(trx: Knex.Transaction, callId: string): Promise<void> {
    return this.#options.store.forget(trx, callId);
  }

  /**
   * Adds what a leg has cost to its call and the call's timeline, in the transaction that charges it.
   * @returns false when the call is not stored yet
   */
  settle(
    trx: Knex.Transaction,
    leg: { callId: string; leg: number },
    cost: LegSettlement,
    line: Pick<TimelineEntry, 'n' | 'at'>,
  ): Promise<boolean> {
    return this.#options.store.settled(trx, leg, cost, line);
  }

  /** Resolves when everything appended so far is committed. */
  async settled(): Promise<void> {
    while (this.#flushing) await this.#flushing;
  }

  /** Commits what waits, or gives up after `ms` milliseconds; returns how many changes were left behind. */
  async close(ms: number): Promise<number> {
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([
      this.settled(),
      new Promise<void>((resolve) => {
        timer = setTimeout(resolve, ms);
      }),
    ]);
    clearTimeout(timer);
    this.#closed = true;
    return this.#waiting.length;
  }

  async #flush(): Promise<void> {
    while (this.#waiting.length > 0 && !this.#closed) {
      await this.#gather();
      const batch = this.#nextBatch();
      let refused = new Map<Change, unknown>();
      try {
        await this.#commit(batch).catch(async (error: unknown) => {
          refused = await this.#commitSingly(batch, error);
        });
      } catch (error) {
        this.#failures++;
        if (this.#failures === 1 || this.#failures % 20 === 0) {
          this.#options.logger.error(
            { err: error, waiting: this.#waiting.length },
            'calls cannot be written to the database; they wait in memory',
          );
        }
        await new Promise((resolve) => setTimeout(resolve, Math.min(100 * 2 ** this.#failures, 2000)));
        continue;
      }
      if (this.#failures > 0)
        this.#options.logger.info(
          { waiting: this.#waiting.length - batch.length },
          'calls are written to the database again',
        );
      this.#failures = 0;
      this.#waiting = this.#waiting.slice(batch.length);
      const stored = batch.filter((change) => !refused.has(change));
      for (const listener of this.#onCommit) listener(stored, refused);
      const events = stored.flatMap((change) => change.outbox);
      if (events.length > 0) this.#options.wake(events.some(({ status }) => status !== 'none'));
    }
    this.#flushing = undefined;
  }

  /** What arrives within some milliseconds shares a commit: a round trip costs more than a row. */
  async #gather(): Promise<void> {
    await new Promise<void>((resolve) => {
      let timer = setTimeout(resolve, GATHER_MS);
      this.#hurry = () => {
        this.#hurry = undefined;
        clearTimeout(timer);
        timer = setTimeout(resolve, HURRY_MS);
      };
      if (this.#waiting.some(({ awaited }) => awaited)) this.#hurry();
    });
    this.#hurry = undefined;
  }

  #nextBatch(): Change[] {
    let size = 0;
    const end = this.#waiting.findIndex(
      (change, index) => index > 0 && (index === BATCH_CHANGES || (size += sizeOf(change)) > BATCH_SIZE),
    );
    return this.#waiting.slice(0, end === -1 ? undefined : end);
  }

  /**
   * A change that the database will never take must not hold up those behind it: it is named in the log and
   * left out.
   */
  async #commitSingly(batch: readonly Change[], cause: unknown): Promise<Map<Change, unknown>> {
    if (!isRefusedForGood(cause)) throw cause;
    const refused = new Map<Change, unknown>();
    for (const change of batch) {
      await this.#commit([change]).catch((error: unknown) => {
        if (!isRefusedForGood(error)) throw error;
        refused.set(change, error);
        const kinds = change.timeline.map((entry) => entry.kind);
        this.#options.logger.error(
          { err: error, call: change.call.id, kinds },
          'a change of a call cannot be stored',
        );
      });
    }
    return refused;
  }

  async #commit(batch: readonly Change[]): Promise<void> {
    const calls = [...new Map(batch.map((change) => [change.call.id, change.call])).values()];
    const { store, enqueue } = this.#options;
    await store.transaction(async (trx) => {
      await store.save(
        trx,
        calls,
        batch.flatMap((change) => change.timeline),
      );
      for (const change of batch) await change.also?.(trx);
      // Last: the live stream waits for events that have their position and are not committed yet.
      await enqueue(
        trx,
        batch.flatMap((change) => change.outbox),
      );
    });
  }
}

/** Roughly, in characters. */
function sizeOf({ call, timeline, outbox }: Change): number {
  let size = 1000 + (call.actions?.length ?? 0);
  for (const value of Object.values(call.variables)) size += value.length;
  for (const { detail } of timeline) size += JSON.stringify(detail).length;
  for (const { body } of outbox) size += body.length;
  return size;
}

/**
 * Whether the statement itself is at fault: SQLSTATE classes 22 (data) and 23 (constraint) and 42 (not
 * executable).
 */
function isRefusedForGood(error: unknown): boolean {
  return error instanceof Error && 'sqlState' in error && /^(22|23|42)/.test(String(error.sqlState));
}

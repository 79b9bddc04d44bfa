import { z } from 'zod';
import type { Logger } from '../lib/logger.ts';
import { RpcRefusal, type KamailioRpc } from './kamailio-rpc.ts';
import { emptyTables, numberTablesOf, TABLES, tablesOf, type TableName, type Tables } from './tables.ts';
import type { Directory } from './directory.ts';

const Dump = z.array(z.object({ slot: z.array(z.object({ name: z.string(), value: z.union([z.string(), z.number()]) })) }));

/** How often a Kamailio is asked whether it still holds its tables: one that was restarted does not. */
const HEARTBEAT_MS = 1000;
/** How often everything is compared, so that a push that went astray heals. */
const RECONCILE_MS = 30_000;
/** Requests under way at once to one Kamailio while its tables are filled. */
const PARALLEL = 16;

/**
 * Keeps the hash tables of one Kamailio equal to the directory. A change is pushed at once; every second the Kamailio is
 * asked for its mark, which a fresh one lacks; every 30 s its tables are read back and compared.
 */
export class EdgeSync {
  readonly #rpc: KamailioRpc;
  readonly #directory: Directory;
  readonly #logger: Logger;
  readonly #token: string;
  /** What this Kamailio holds, as far as we know. */
  #pushed: Tables = emptyTables();
  readonly #changed = new Set<string>();
  #changedAll = false;
  #queued: Promise<void> | undefined;
  #due = 0;
  #timer: NodeJS.Timeout | undefined;
  #work: Promise<void> = Promise.resolve();
  #stopped = false;
  #reachable: boolean | undefined;

  /** @param token the secret shared with Kamailio. */
  constructor(rpc: KamailioRpc, directory: Directory, token: string, logger: Logger) {
    this.#rpc = rpc;
    this.#token = token;
    this.#directory = directory;
    this.#logger = logger.child({ kamailio: rpc.url });
  }

  get url(): string {
    return this.#rpc.url;
  }

  /** Whether its tables were in order when last looked at. */
  get synced(): boolean {
    return this.#reachable === true;
  }

  start(): void {
    const tick = (): void => {
      void this.#serially(() => this.#heartbeat()).finally(() => {
        if (!this.#stopped) this.#timer = setTimeout(tick, HEARTBEAT_MS);
      });
    };
    tick();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#work;
    this.#rpc.close();
  }

  /**
   * Brings what has changed in the directory to Kamailio: these numbers, or everything that differs from what it was
   * last given. Resolves in any case; what fails is repaired by the heartbeat.
   */
  push(numbers?: readonly string[]): Promise<void> {
    if (numbers === undefined) this.#changedAll = true;
    else for (const number of numbers) this.#changed.add(number);
    if (!this.#changedAll && this.#changed.size === 0) return Promise.resolve();
    // What changes while one push waits its turn goes with it.
    this.#queued ??= this.#serially(async () => {
      this.#queued = undefined;
      const changed = [...this.#changed];
      const all = this.#changedAll;
      this.#changed.clear();
      this.#changedAll = false;
      if (all) await this.#apply(tablesOf(this.#directory, this.#token), this.#pushed);
      else await inParallel(changed.map((number) => () => this.#pushNumber(number)));
    });
    return this.#queued;
  }

  #serially(work: () => Promise<void>): Promise<void> {
    this.#work = this.#work.then(work).then(() => this.#tell(true), (error: unknown) => {
      this.#due = 0;
      this.#tell(false, error);
    });
    return this.#work;
  }

  #tell(reachable: boolean, error?: unknown): void {
    if (reachable !== this.#reachable && !this.#stopped) {
      if (reachable) this.#logger.info('kamailio has its tables');
      else this.#logger.warn({ err: error }, 'kamailio cannot be brought up to date; trying on');
    }
    this.#reachable = reachable;
  }

  async #heartbeat(): Promise<void> {
    const mark = await this.#rpc.call('htable.get', ['edge', 'synced']).catch((error: unknown) => {
      if (error instanceof RpcRefusal) return undefined;
      throw error;
    });
    if (mark !== undefined && Date.now() < this.#due) return;
    const held = emptyTables();
    for (const table of TABLES) held[table] = await this.#dump(table);
    await this.#apply(tablesOf(this.#directory, this.#token), held);
    if (mark === undefined) await this.#rpc.call('htable.sets', ['edge', 'synced', new Date().toISOString()]);
    this.#due = Date.now() + RECONCILE_MS;
  }

  async #dump(table: TableName): Promise<Map<string, string>> {
    // An empty table is refused as "not found" by some versions and is an empty list with others.
    const result = await this.#rpc.call('htable.dump', [table]).catch((error: unknown) => {
      if (error instanceof RpcRefusal) return [];
      throw error;
    });
    const entries = Dump.parse(result ?? []).flatMap((bucket) => bucket.slot);
    return new Map(entries.map(({ name, value }) => [name, String(value)]));
  }

  async #pushNumber(number: string): Promise<void> {
    const wanted = numberTablesOf(this.#directory, number);
    for (const table of ['dids', 'sip_targets'] as const) {
      const value = wanted[table].get(number);
      if (value === this.#pushed[table].get(number)) continue;
      if (value === undefined) {
        await this.#rpc.call('htable.delete', [table, number]).catch(ignoreRefusal);
        this.#pushed[table].delete(number);
      } else {
        await this.#rpc.call('htable.sets', [table, number, value]);
        this.#pushed[table].set(number, value);
      }
    }
  }

  async #apply(wanted: Tables, held: Tables): Promise<void> {
    const changes: (() => Promise<unknown>)[] = [];
    for (const table of TABLES) {
      for (const [key, value] of wanted[table]) {
        if (held[table].get(key) !== value) changes.push(() => this.#rpc.call('htable.sets', [table, key, value]));
      }
      for (const key of held[table].keys()) {
        if (!wanted[table].has(key)) changes.push(() => this.#rpc.call('htable.delete', [table, key]).catch(ignoreRefusal));
      }
    }
    await inParallel(changes);
    this.#pushed = wanted;
  }
}

async function inParallel(work: (() => Promise<unknown>)[]): Promise<void> {
  const next = work.values();
  await Promise.all(Array.from({ length: PARALLEL }, async () => {
    for (const one of next) await one();
  }));
}

function ignoreRefusal(error: unknown): void {
  if (!(error instanceof RpcRefusal)) throw error; // The key was gone already.
}

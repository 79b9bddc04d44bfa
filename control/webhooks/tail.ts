import type { Logger } from '../lib/logger.ts';
import type { StreamStore } from './stream-store.ts';

export interface TailOptions {
  store: Pick<StreamStore, 'newest' | 'oldest' | 'after'>;
  logger: Logger;
  /** How often to look without having been woken, in ms. */
  pollMs?: number;
  /** How long a hole in the positions is waited for, in ms. */
  holdMs?: number;
}

/** Someone who reads one application's events. */
export interface Watch {
  /** Resolves when there may be events after this position, or when the watch has ended. */
  more(after: number): Promise<void>;
  end(): void;
}

interface Watcher {
  applicationId: string;
  /** The newest position of the application that is inside the horizon, as far as it was seen here. */
  newest: number;
  wake: () => void;
}

/** Transactions that had begun to write when we first looked stand at most so many positions back. */
const LOOK_BACK = 5000;
const AT_ONCE = 1000;
const HOLE_MS = 20;
const OLD_MS = 60_000;

/**
 * Follows the positions of events as they are committed, by whatever process. Positions are given when rows
 * are written and seen when they are committed, so one that is missing may still come: nothing behind a hole
 * is shown until the hole is filled, or has been there for longer than a write takes, which is how one that
 * was rolled back looks. So whoever reads up to the horizon, and later from there, misses nothing. Runs only
 * while somebody watches.
 */
export class Tail {
  readonly #o: TailOptions;
  readonly #pollMs: number;
  readonly #holdMs: number;
  readonly #watchers = new Set<Watcher>();
  /** First position of each hole, and since when it is known. */
  #holes = new Map<number, number>();
  #horizon = 0;
  #started: Promise<void> | undefined;
  #woken = false;
  #wakeUp: () => void = () => undefined;

  constructor(options: TailOptions) {
    this.#o = options;
    this.#pollMs = options.pollMs ?? 1000;
    this.#holdMs = options.holdMs ?? 2000;
  }

  /** Up to here everything is committed that ever will be. Only while somebody watches. */
  get horizon(): number {
    return this.#horizon;
  }

  /** Something was committed somewhere: look now. */
  wake(): void {
    this.#woken = true;
    this.#wakeUp();
  }

  /** @throws what the database throws, when nobody watched before and it cannot say where its end is. */
  async watch(applicationId: string): Promise<Watch> {
    const watcher: Watcher = { applicationId, newest: 0, wake: () => undefined };
    this.#watchers.add(watcher);
    let ended = false;
    const end = (): void => {
      ended = true;
      this.#watchers.delete(watcher);
      watcher.wake();
      if (this.#watchers.size === 0) this.wake();
    };
    try {
      await (this.#started ??= this.#begin());
    } catch (error) {
      this.#started = undefined;
      end();
      throw error;
    }
    return {
      end,
      more: async (after) => {
        while (!ended && watcher.newest <= after)
          await new Promise<void>((resolve) => (watcher.wake = resolve));
      },
    };
  }

  async #begin(): Promise<void> {
    this.#holes = new Map();
    const [newest, oldest] = [await this.#o.store.newest(), await this.#o.store.oldest()];
    // What was before an old event has aged out: nothing to wait for.
    const agedOut = oldest && oldest.createdAt.getTime() < Date.now() - OLD_MS ? oldest.position - 1 : 0;
    this.#horizon = Math.max(agedOut, newest - LOOK_BACK);
    void this.#run();
  }

  async #run(): Promise<void> {
    let failing = false;
    while (this.#watchers.size > 0) {
      let waitMs = this.#pollMs;
      this.#woken = false;
      try {
        const found = await this.#look();
        if (found === AT_ONCE) waitMs = 0;
        else if (this.#holes.size > 0) waitMs = HOLE_MS;
        if (failing) this.#o.logger.info('the live stream of events goes on');
        failing = false;
      } catch (error) {
        if (!failing)
          this.#o.logger.error({ err: error }, 'events cannot be read for the live stream; trying again');
        failing = true;
      }
      if (waitMs > 0 && !(this.#woken && !failing)) await this.#pause(waitMs);
    }
    this.#started = undefined;
  }

  /**
   * Moves the horizon on; returns how many rows were read, all of them when that was as many as asked for and
   * none was held back.
   */
  async #look(): Promise<number> {
    const rows = await this.#o.store.after(this.#horizon, AT_ONCE);
    const now = performance.now();
    const holes = new Map<number, number>();
    const newest = new Map<string, number>();
    let expected = this.#horizon + 1;
    let held = false;
    for (const { position, applicationId } of rows) {
      if (position > expected) {
        const since = this.#holes.get(expected) ?? now;
        if (held || now - since < this.#holdMs) {
          holes.set(expected, since);
          held = true;
        }
      }
      if (!held) {
        this.#horizon = position;
        newest.set(applicationId, position);
      }
      expected = position + 1;
    }
    this.#holes = holes;
    for (const watcher of this.#watchers) {
      const position = newest.get(watcher.applicationId);
      if (position === undefined) continue;
      watcher.newest = position;
      watcher.wake();
    }
    return held ? 0 : rows.length;
  }

  async #pause(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wakeUp = () => undefined;
  }
}

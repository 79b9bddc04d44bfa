import type { Logger } from './logger.ts';

/** Something that is kept for a while. */
export interface Kept {
  name: string;
  /** Removes at most so many that are past their time, in one short transaction, and returns how many. */
  purge: (limit: number) => Promise<number>;
}

export interface RetentionOptions {
  kept: readonly Kept[];
  logger: Logger;
  /** Between two sweeps, in ms. */
  everyMs?: number;
  atOnce?: number;
}

/**
 * After each step it rests four times as long as the step took: a sweep has a fifth of one connection at the
 * most.
 */
const REST = 4;

/**
 * Removes what has been kept for long enough, in small steps. Any number of processes may do it at once.
 */
export class Retention {
  readonly #o: RetentionOptions;
  #timer: NodeJS.Timeout | undefined;
  #sweeping: Promise<unknown> | undefined;
  #stopped = false;

  constructor(options: RetentionOptions) {
    this.#o = options;
  }

  start(): void {
    // Processes that start together do not sweep together.
    const everyMs = (this.#o.everyMs ?? 60_000) * (0.5 + Math.random());
    this.#timer = setTimeout(() => {
      this.#sweeping = this.sweep().finally(() => {
        this.#sweeping = undefined;
        if (!this.#stopped) this.start();
      });
    }, everyMs);
    this.#timer.unref();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#sweeping;
  }

  /**
   * Removes all that is past its time. What fails is logged and tried again with the next sweep. Returns how
   * many were removed.
   */
  async sweep(): Promise<number> {
    const { kept, logger, atOnce = 500 } = this.#o;
    let removed = 0;
    for (const { name, purge } of kept) {
      try {
        for (let full = true; full && !this.#stopped;) {
          const began = performance.now();
          const count = await purge(atOnce);
          removed += count;
          full = count >= atOnce;
          if (full) await new Promise((resolve) => setTimeout(resolve, (performance.now() - began) * REST));
        }
      } catch (error) {
        logger.warn({ err: error, kept: name }, 'what is past its time could not be removed');
      }
    }
    return removed;
  }
}

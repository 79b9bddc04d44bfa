/** Length of one frame in ms. */
export const FRAME_MS = 20;

/**
 * Frames sent in one go after a late wake-up; what is missed beyond that is skipped, so that a stall is no
 * burst.
 */
const MAX_CATCH_UP = 5;

export interface Ticker {
  /**
   * One 20 ms frame is due.
   * @param skipped frames that were missed before this one and are not made up for
   */
  tick(skipped: number): void;
}

/** Where a clock takes its time from; tests have one of their own. */
export interface TimeSource {
  /** Monotonic time in ms. */
  now(): number;
  after(ms: number, run: () => void): NodeJS.Timeout;
}

const SYSTEM_TIME: TimeSource = { now: () => performance.now(), after: (ms, run) => setTimeout(run, ms) };

/**
 * The one clock of all channels. It aims at whole multiples of 20 ms since it was started, so that timer
 * lateness does not add up, and runs only while somebody listens.
 */
export class FrameClock {
  readonly #tickers = new Set<Ticker>();
  readonly #onError: (error: unknown) => void;
  readonly #time: TimeSource;
  #timer: NodeJS.Timeout | undefined;
  #due = 0;
  /**
   * Number of the frame that is due now, those that were skipped counted: what belongs to one moment has one
   * number.
   */
  frame = 0;

  constructor(onError: (error: unknown) => void, time: TimeSource = SYSTEM_TIME) {
    this.#onError = onError;
    this.#time = time;
  }

  add(ticker: Ticker): void {
    this.#tickers.add(ticker);
    if (this.#timer) return;
    this.#due = this.#time.now() + FRAME_MS;
    this.#arm();
  }

  remove(ticker: Ticker): void {
    this.#tickers.delete(ticker);
    if (this.#tickers.size > 0) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  get size(): number {
    return this.#tickers.size;
  }

  #arm(): void {
    this.#timer = this.#time.after(Math.max(0, this.#due - this.#time.now()), () => this.#run());
  }

  #run(): void {
    const behind = this.#time.now() - this.#due;
    // The timer may fire a shade early: it is rounded to whole milliseconds.
    const frames = Math.max(1, Math.floor(behind / FRAME_MS) + 1);
    const skipped = Math.max(0, frames - MAX_CATCH_UP);
    this.#due += frames * FRAME_MS;
    this.frame += skipped;
    for (let i = skipped; i < frames; i++) {
      this.frame++;
      for (const ticker of this.#tickers) {
        try {
          ticker.tick(i === skipped ? skipped : 0);
        } catch (error) {
          this.#onError(error);
        }
      }
    }
    if (this.#tickers.size > 0) this.#arm();
  }
}

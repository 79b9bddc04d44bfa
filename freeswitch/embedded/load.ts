const WINDOW_SECONDS = 300;

/** Sessions per second and at once, and their peaks: what `status` and the heartbeat tell. */
export class LoadFigures {
  readonly #now: () => number;
  #second = 0;
  #thisSecond = 0;
  /** Seconds with something in them, oldest first. */
  readonly #history: { second: number; started: number; atOnce: number }[] = [];
  lastSecond = 0;
  sinceStartup = 0;
  peak = 0;
  peakPerSecond = 0;

  /** @param now time in ms */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** A session has begun; `atOnce` is how many there are with it. */
  started(atOnce: number): void {
    this.#turn();
    this.sinceStartup++;
    this.#thisSecond++;
    this.peak = Math.max(this.peak, atOnce);
    this.peakPerSecond = Math.max(this.peakPerSecond, this.#thisSecond);
    const last = this.#history.at(-1);
    if (last?.second === this.#second) {
      last.started = this.#thisSecond;
      last.atOnce = Math.max(last.atOnce, atOnce);
    } else this.#history.push({ second: this.#second, started: this.#thisSecond, atOnce });
  }

  get perSecond(): number {
    this.#turn();
    return this.#thisSecond;
  }

  get peakFiveMinutes(): number {
    this.#turn();
    return Math.max(0, ...this.#history.map((entry) => entry.atOnce));
  }

  get peakPerSecondFiveMinutes(): number {
    this.#turn();
    return Math.max(0, ...this.#history.map((entry) => entry.started));
  }

  #turn(): void {
    const second = Math.floor(this.#now() / 1000);
    if (second !== this.#second) {
      this.lastSecond = second === this.#second + 1 ? this.#thisSecond : 0;
      this.#second = second;
      this.#thisSecond = 0;
    }
    while (this.#history[0] && this.#history[0].second < second - WINDOW_SECONDS) this.#history.shift();
  }
}

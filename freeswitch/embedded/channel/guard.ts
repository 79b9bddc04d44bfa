/** Ends a channel after a while, unless it is taken back: `sched_hangup`. */
export class Guard {
  readonly #hangup: (cause: string) => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(hangup: (cause: string) => void) {
    this.#hangup = hangup;
  }

  set(ms: number, cause: string): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#hangup(cause), ms);
  }

  /** @returns whether it was set */
  release(): boolean {
    const was = this.#timer !== undefined;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    return was;
  }
}

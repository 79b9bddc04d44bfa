export type WaitEnd = 'end' | 'break' | 'hangup';

/** An application that waits: it can be broken, ends with the channel, and may take keys. */
export class Wait {
  readonly promise: Promise<WaitEnd>;
  /** Takes a key from the queue and says whether that ends the wait; absent, a pending key ends it and stays queued. */
  readonly onDigit: ((digit: string) => boolean) | undefined;
  #settle: (end: WaitEnd) => void = () => {};

  constructor(onDigit?: (digit: string) => boolean) {
    this.onDigit = onDigit;
    this.promise = new Promise((resolve) => (this.#settle = resolve));
  }

  settle(end: WaitEnd): void {
    this.#settle(end);
  }
}

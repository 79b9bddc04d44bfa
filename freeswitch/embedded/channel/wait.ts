export type WaitEnd = 'end' | 'break' | 'hangup';

/** An application that waits: it ends with the channel, and may take keys. */
export class Wait {
  readonly promise: Promise<WaitEnd>;
  /** Takes a key from the queue and says whether that ends the wait; absent, a key stays queued. */
  readonly onDigit: ((digit: string) => boolean) | undefined;
  /** A key that stays queued ends the wait. */
  readonly endsAtKey: boolean;
  /** `uuid_break` ends it. */
  readonly breakable: boolean;
  #settle: (end: WaitEnd) => void = () => {};

  /**
   * @param keys what takes them; without it a pending key ends the wait; `leave` is for what neither keys nor
   *   a break end
   */
  constructor(keys?: ((digit: string) => boolean) | 'leave') {
    this.onDigit = keys === 'leave' ? undefined : keys;
    this.endsAtKey = keys === undefined;
    this.breakable = keys !== 'leave';
    this.promise = new Promise((resolve) => (this.#settle = resolve));
  }

  settle(end: WaitEnd): void {
    this.#settle(end);
  }
}

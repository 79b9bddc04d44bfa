/** RFC 3261 section 17, table 4, in ms. Tests shorten them. */
export interface SipTimers {
  t1: number;
  t2: number;
  t4: number;
}

export const STANDARD_TIMERS: SipTimers = { t1: 500, t2: 4_000, t4: 5_000 };

/**
 * Sends again after `t1`, then after twice as long each time up to `limit`, until stopped or `64*t1` has
 * passed.
 */
export class Retransmission {
  #timer: NodeJS.Timeout | undefined;
  readonly #end: NodeJS.Timeout;

  constructor(timers: SipTimers, limit: number, resend: (() => void) | undefined, onTimeout: () => void) {
    let interval = timers.t1;
    const arm = (): void => {
      this.#timer = setTimeout(() => {
        resend?.();
        interval = Math.min(interval * 2, limit);
        arm();
      }, interval);
    };
    if (resend) arm();
    this.#end = setTimeout(() => {
      this.stop();
      onTimeout();
    }, 64 * timers.t1);
  }

  stop(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#end);
  }
}

import { setTimeout } from 'node:timers/promises';

/** Time, which tests bring along. Both in ms; `sleep` rejects when it is stopped. */
export interface Clock {
  now(): number;
  sleep(ms: number, stop?: AbortSignal): Promise<unknown>;
}

export const realClock: Clock = {
  now: () => performance.now(),
  sleep: (ms, signal) => setTimeout(ms, undefined, { signal }),
};

/** When requests may be sent: no more than so many a second, and none while MiniVoice has asked to wait. */
export class Pace {
  readonly #intervalMs: number;
  readonly #stop: AbortSignal;
  readonly #clock: Clock;
  #nextAt = 0;

  constructor(perSecond: number, stop: AbortSignal, clock: Clock) {
    this.#intervalMs = 1000 / perSecond;
    this.#stop = stop;
    this.#clock = clock;
  }

  /** Resolves when the next request may go. @throws the reason of the stop, once it is stopped */
  async turn(): Promise<void> {
    for (;;) {
      this.#stop.throwIfAborted();
      const waitMs = this.#nextAt - this.#clock.now();
      if (waitMs <= 0) break;
      await this.#clock.sleep(waitMs, this.#stop);
    }
    this.#nextAt = this.#clock.now() + this.#intervalMs;
  }

  /** Nothing is sent for so many seconds. */
  pause(seconds: number): void {
    this.#nextAt = Math.max(this.#nextAt, this.#clock.now() + seconds * 1000);
  }
}

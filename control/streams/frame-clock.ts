import { FRAME_MS } from './track.ts';

/** A process that was stopped makes up for this much, in frames: 1 s. What is beyond is left out. */
const MOST_BEHIND = 50;

/** Beats every 20 ms, for as long as anybody listens: one timer for all calls. */
export class FrameClock {
  readonly #listeners = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;

  get listeners(): number {
    return this.#listeners.size;
  }

  /** @returns the way to stop listening. */
  listen(listener: () => void): () => void {
    const own = (): void => listener();
    this.#listeners.add(own);
    this.#timer ??= this.#start();
    return () => {
      this.#listeners.delete(own);
      if (this.#listeners.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    };
  }

  #start(): NodeJS.Timeout {
    let began = performance.now();
    let beats = 0;
    return setInterval(() => {
      let due = Math.floor((performance.now() - began) / FRAME_MS) - beats;
      if (due > MOST_BEHIND) {
        began += (due - MOST_BEHIND) * FRAME_MS;
        due = MOST_BEHIND;
      }
      beats += due;
      for (let i = 0; i < due; i++) for (const listener of [...this.#listeners]) listener();
    }, FRAME_MS / 2);
  }
}

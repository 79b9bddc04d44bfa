import type { Logger } from './logger.ts';
import { within } from './within.ts';

/** One thing to stop. */
export interface Stopping {
  name: string;
  /** @param ms how long it may take */
  stop: (ms: number) => unknown;
  /** Its part of the whole time, 0 to 1; what a step leaves is there for those after it. */
  share: number;
}

/** Even when the time is up, what needs none of it is stopped. */
const LEAST_MS = 20;

/**
 * Stops one thing after the other, each within its time and all of them within `ms` milliseconds. One that
 * fails or takes too long is named in the log, and the next one is stopped all the same.
 */
export async function stopInOrder(steps: readonly Stopping[], ms: number, logger: Logger): Promise<void> {
  const began = performance.now();
  let due = began;
  for (const { name, stop, share } of steps) {
    due += share * ms;
    const patience = Math.max(LEAST_MS, due - performance.now());
    try {
      await within(patience, Promise.resolve(stop(patience)));
    } catch (err) {
      logger.error({ err, part: name }, 'a part could not be stopped in order');
    }
  }
}

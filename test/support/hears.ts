import type { Call } from './call.ts';

/** Resolves when this was all that was heard for `forMs`, of what is heard from now on. */
async function hearsOnly(
  { heard }: Call,
  what: string,
  is: (fromMs: number, toMs: number) => boolean,
  forMs: number,
  timeoutMs = 6000,
): Promise<void> {
  const since = heard.durationMs;
  await heard.until(
    () => {
      const now = heard.durationMs;
      return now - since >= forMs && is(now - forMs, now) ? true : undefined;
    },
    () =>
      `${what}; last heard ${[262, 330, 425, 600, 1000, 1400].map((f) => `${f}: ${heard.tone(f, heard.durationMs - forMs).toFixed(2)}`).join(', ')}`,
    timeoutMs,
  );
}

export const hearsTone = (call: Call, frequency: number, forMs = 400): Promise<void> =>
  hearsOnly(call, `${frequency} Hz`, (from, to) => call.heard.tone(frequency, from, to) > 0.9, forMs);

export const hearsNothing = (call: Call, forMs = 400): Promise<void> =>
  hearsOnly(call, 'silence', (from, to) => call.heard.silence(from, to), forMs);

/** The chords of the nodes' music, and none of what the tests say. */
export const hearsMusic = (call: Call, forMs = 1300, timeoutMs?: number): Promise<void> =>
  hearsOnly(
    call,
    'music',
    (from, to) =>
      call.heard.tone(330, from, to) > 0.2 &&
      [600, 1000, 1400].every((f) => call.heard.tone(f, from, to) < 0.05),
    forMs,
    timeoutMs,
  );

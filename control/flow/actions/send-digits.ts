import { z } from 'zod';
import { action, CONTINUE } from '../action.ts';

/** What is handed over at a time: a pause, or as many keys as a node sends in one go. */
const PARTS = /[wW,]|[^wW,]{1,8}/g;

/**
 * Keys to the far end, then the next action. What has been handed over is saved before, so that a process
 * that takes over sends the rest: a key too few is more easily made up for than one too many.
 */
export const sendDigits = action({
  name: 'send_digits',
  summary: 'Sends keys to the far end (RFC 4733), then the next action.',
  example: { digits: '1ww2345#', pause_before_ms: 500 },
  schema: z.strictObject({
    digits: z
      .string()
      .min(1)
      .max(128)
      .regex(/^[0-9*#A-DwW,]+$/, 'must hold 0-9 * # A-D and the pauses w W , only')
      .describe('keys, and pauses between them: `w` and `,` are 500 ms, `W` is 1 s'),
    pause_before_ms: z.int().min(0).max(60_000).default(0).describe('silence before the first key'),
  }),
  async run({ digits, pause_before_ms }, { channel, state, save, signal }, resumed) {
    if (resumed) await resumed.finished;
    if (state.begun < 0) {
      state.begun = 0;
      save();
      if (pause_before_ms > 0 && (await channel.play(`silence_stream://${pause_before_ms}`)) === 'stopped')
        return CONTINUE;
    }
    for (const [part] of digits.slice(state.begun).matchAll(PARTS)) {
      if (signal.aborted) break;
      state.begun += part.length;
      save();
      await channel.sendDigits(part);
    }
    return CONTINUE;
  },
});

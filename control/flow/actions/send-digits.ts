import { z } from 'zod';
import { action, CONTINUE } from '../action.ts';

/** Keys to the far end, then the next action. */
export const sendDigits = action({
  name: 'send_digits',
  schema: z.strictObject({
    digits: z.string().min(1).max(128).regex(/^[0-9*#A-DwW,]+$/, 'must hold 0-9 * # A-D and the pauses w W , only'),
    pause_before_ms: z.int().min(0).max(60_000).default(0),
  }),
  async run({ digits, pause_before_ms }, { channel, state, save }, resumed) {
    if (resumed) await resumed.finished;
    if (state.begun < 0) {
      state.begun = 0;
      save();
      if (pause_before_ms > 0 && (await channel.play(`silence_stream://${pause_before_ms}`)) === 'stopped') return CONTINUE;
      await channel.sendDigits(digits);
    }
    return CONTINUE;
  },
});

import { z } from 'zod';
import { action, CONTINUE } from '../action.ts';

/**
 * Silence, then the next action. It is played, not slept, so that RTP keeps flowing and a media node ends it.
 */
export const pause = action({
  name: 'pause',
  summary: 'Silence, then the next action.',
  example: { seconds: 2 },
  schema: z.strictObject({
    seconds: z.number().min(1).max(60).default(1).describe('how long the silence is'),
  }),
  async run({ seconds }, { channel, state, save }, resumed) {
    if (resumed) await resumed.finished;
    if (state.begun < 0) {
      state.begun = 0;
      save();
      await channel.play(`silence_stream://${Math.round(seconds * 1000)}`);
    }
    return CONTINUE;
  },
});

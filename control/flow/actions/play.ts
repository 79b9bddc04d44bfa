import { z } from 'zod';
import { action, CONTINUE } from '../action.ts';
import { httpUrl } from '../fields.ts';

/** A WAV file of the customer's, then the next action. */
export const play = action({
  name: 'play',
  schema: z.strictObject({ url: httpUrl, loop: z.int().min(1).max(10).default(1) }),
  async run({ url, loop }, { channel, fetchAudio, state, save, signal }, resumed) {
    if (resumed) await resumed.finished;
    const file = await fetchAudio(url);
    while (state.begun + 1 < loop && !signal.aborted) {
      state.begun++;
      save();
      await channel.play(file);
    }
    return CONTINUE;
  },
});

import { z } from 'zod';
import { MOST_AUDIO_BYTES } from '../../media/media.ts';
import { action, CONTINUE } from '../action.ts';
import { httpUrl } from '../fields.ts';

/** An audio file of the customer's, then the next action. */
export const play = action({
  name: 'play',
  summary: 'Plays an audio file, then the next action.',
  example: { url: 'https://example.com/welcome.wav' },
  schema: z.strictObject({
    url: httpUrl.describe(`a WAV or MP3 file of at most ${MOST_AUDIO_BYTES / 1024 / 1024} MiB`),
    loop: z.int().min(1).max(10).default(1).describe('how many times it is played'),
  }),
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

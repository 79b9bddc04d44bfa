import { z } from 'zod';
import { action, CONTINUE } from '../action.ts';
import { speech } from '../fields.ts';

const voice = z.string().regex(/^[A-Za-z0-9+_-]{1,64}$/, 'must be the name of a voice');

/** Speech, then the next action. */
export const say = action({
  name: 'say',
  summary: 'Speaks a text, then the next action.',
  example: { text: 'Thanks for calling.', language: 'en-GB' },
  schema: z.strictObject({
    text: speech.describe('what is spoken; white space around it is left out'),
    voice: voice
      .optional()
      .describe('a voice of the speech engine by its name; one that it lacks gives way to `language`'),
    language: z
      .string()
      .max(64)
      .regex(/^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$/, 'must be a language tag such as en-GB')
      .optional()
      .describe('a BCP 47 tag; without it, and where the engine lacks it, the default voice speaks'),
    loop: z.int().min(1).max(10).default(1).describe('how many times it is spoken'),
  }),
  prompts: (fields) => [fields],
  async run({ text, voice, language, loop }, { channel, speak, state, save, signal }, resumed) {
    if (resumed) await resumed.finished;
    const file = await speak(text, { voice, language });
    while (state.begun + 1 < loop && !signal.aborted) {
      state.begun++;
      save();
      await channel.play(file);
    }
    return CONTINUE;
  },
});

import { z } from 'zod';
import { action, FlowFailure } from '../action.ts';
import { httpUrl } from '../fields.ts';

/** The actions of another URL take the place of what is left. */
export const redirect = action({
  name: 'redirect',
  summary:
    'Asks another URL for instructions, as an answer_url is asked; its actions take the place of what is left.',
  example: { url: 'https://example.com/menu', method: 'POST' },
  schema: z.strictObject({
    url: httpUrl.describe('asked for the next actions'),
    method: z.enum(['GET', 'POST']).default('GET').describe('how it is asked'),
    max_redirects: z
      .int()
      .min(0)
      .max(20)
      .default(10)
      .describe('of the whole flow: a `redirect` beyond them ends the call `failed`, `answer_url_error`'),
  }),
  async run({ url, method, max_redirects }, { state, fetchActions, save }) {
    if (state.depth >= max_redirects)
      throw new FlowFailure('answer_url_error', `more than ${max_redirects} redirects in one flow`);
    state.depth++;
    save();
    return { next: 'replace', steps: await fetchActions(url, method) };
  },
});

import { z } from 'zod';
import { action, FlowFailure } from '../action.ts';
import { httpUrl } from '../fields.ts';

/** The actions of another URL take the place of what is left. */
export const redirect = action({
  name: 'redirect',
  schema: z.strictObject({
    url: httpUrl,
    method: z.enum(['GET', 'POST']).default('GET'),
    max_redirects: z.int().min(0).max(20).default(10),
  }),
  async run({ url, method, max_redirects }, { state, fetchActions, save }) {
    if (state.depth >= max_redirects)
      throw new FlowFailure('answer_url_error', `more than ${max_redirects} redirects in one flow`);
    state.depth++;
    save();
    return { next: 'replace', steps: await fetchActions(url, method) };
  },
});

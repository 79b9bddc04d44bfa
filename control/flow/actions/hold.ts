import { z } from 'zod';
import { action, CONTINUE } from '../action.ts';

/** The caller hears music until `resume`; the flow goes on at once. */
export const hold = action({
  name: 'hold',
  summary: 'The caller hears music until `resume`; the next action runs at once.',
  example: {},
  schema: z.strictObject({}),
  async run(_fields, { channel }) {
    await channel.hold();
    return CONTINUE;
  },
});

export const resume = action({
  name: 'resume',
  summary: 'Ends a `hold`: the caller is back; the next action runs at once.',
  example: {},
  schema: z.strictObject({}),
  async run(_fields, { channel }) {
    await channel.resume();
    return CONTINUE;
  },
});

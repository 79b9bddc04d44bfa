import { z } from 'zod';
import { action, CONTINUE } from '../action.ts';

/** The caller hears music until `resume`; the flow goes on at once. */
export const hold = action({
  name: 'hold',
  schema: z.strictObject({}),
  async run(_fields, { channel }) {
    await channel.hold();
    return CONTINUE;
  },
});

export const resume = action({
  name: 'resume',
  schema: z.strictObject({}),
  async run(_fields, { channel }) {
    await channel.resume();
    return CONTINUE;
  },
});

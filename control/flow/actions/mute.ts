import { z } from 'zod';
import { action, CONTINUE } from '../action.ts';

/** `write`: the far end does not hear the caller. `read`: the caller does not hear the far end. */
const schema = z.strictObject({ direction: z.enum(['read', 'write', 'both']) });

export const mute = action({
  name: 'mute',
  schema,
  async run({ direction }, { channel }) {
    await channel.mute(direction);
    return CONTINUE;
  },
});

export const unmute = action({
  name: 'unmute',
  schema,
  async run({ direction }, { channel }) {
    await channel.unmute(direction);
    return CONTINUE;
  },
});

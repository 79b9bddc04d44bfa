import { z } from 'zod';
import { action, CONTINUE } from '../action.ts';

const schema = z.strictObject({
  direction: z
    .enum(['read', 'write', 'both'])
    .describe('`write`: the far end does not hear the caller; `read`: the caller does not hear the far end'),
});

export const mute = action({
  name: 'mute',
  summary: 'Silences a direction of the call until `unmute`; the next action runs at once.',
  example: { direction: 'write' },
  schema,
  async run({ direction }, { channel }) {
    await channel.mute(direction);
    return CONTINUE;
  },
});

export const unmute = action({
  name: 'unmute',
  summary: 'Ends a `mute` of this direction; the next action runs at once.',
  example: { direction: 'write' },
  schema,
  async run({ direction }, { channel }) {
    await channel.unmute(direction);
    return CONTINUE;
  },
});

import { z } from 'zod';
import { action } from '../action.ts';

/** Ends the call; later actions do not run. */
export const hangup = action({
  name: 'hangup',
  summary: 'Ends the call; later actions do not run.',
  example: {},
  schema: z.strictObject({}),
  run: () => Promise.resolve({ next: 'hangup', cause: 'NORMAL_CLEARING' }),
});

import { z } from 'zod';
import type { ConferenceEnd } from '../../media/media.ts';
import { action, type Outcome } from '../action.ts';

/**
 * A room shared with other callers of the application. The next action runs when the room ends before the
 * caller leaves; one that cannot be entered at all has ended, too, so that nobody is left in silence.
 */
export const conference = action({
  name: 'conference',
  summary:
    'Takes the caller into a room that is shared with other callers of the application. ' +
    'Who is alone hears music. The next action runs when the room ends before the caller leaves.',
  example: { room: 'support', end_on_exit: true },
  schema: z.strictObject({
    room: z
      .string()
      .regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be 1 to 64 letters, digits, dots, underscores or hyphens')
      .describe('the name of the room; rooms of other applications are others'),
    mute: z.boolean().default(false).describe('the others do not hear this caller'),
    end_on_exit: z.boolean().default(false).describe('the room ends for all when this caller leaves it'),
  }),
  async run(
    { room, mute, end_on_exit },
    { call, channel, conferences, state, save, signal },
    resumed,
  ): Promise<Outcome> {
    // It ended while nobody looked.
    if (state.begun >= 0 && resumed && !resumed.conference)
      return { next: 'continue', result: { ended: ENDED.over } };
    const began = (): void => {
      state.begun = 0;
      save();
    };
    const end = await conferences.stay(call, channel, {
      room,
      mute,
      endOnExit: end_on_exit,
      signal,
      began,
      adopted: resumed?.conference,
    });
    return { next: 'continue', result: { ended: ENDED[end] } };
  },
});

const ENDED: Readonly<Record<ConferenceEnd, string>> = {
  over: 'room_ended',
  left: 'left',
  unreachable: 'room_unreachable',
  lost: 'room_unreachable',
};

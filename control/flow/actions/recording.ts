import { z } from 'zod';
import { ChannelGone } from '../../media/media.ts';
import { action, type Outcome } from '../action.ts';

/** A recording that cannot be started or stopped is told of by `recording.failed`; the call goes on. */
async function attempt(work: Promise<void>): Promise<Outcome> {
  try {
    await work;
    return { next: 'continue' };
  } catch (error) {
    if (error instanceof ChannelGone || !(error instanceof Error)) throw error;
    return { next: 'continue', result: { result: 'failed', message: error.message } };
  }
}

/** Both directions of the call into a file from now on, across whatever follows. */
export const startRecording = action({
  name: 'start_recording',
  summary:
    'Records both directions of the call from now on, across whatever follows, until `stop_recording` or ' +
    "the call's end; the next action runs at once. A recording that cannot be started is told by " +
    '`recording.failed`, and the call goes on.',
  example: {},
  schema: z.strictObject({}),
  run: (_fields, { call, channel, recorder }) => attempt(recorder.start(call, channel)),
});

export const stopRecording = action({
  name: 'stop_recording',
  summary: 'Ends the recording that runs; the next action runs at once. `recording.completed` follows.',
  example: {},
  schema: z.strictObject({}),
  run: (_fields, { call, channel, recorder }) => attempt(recorder.stop(call, channel)),
});

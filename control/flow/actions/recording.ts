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
  schema: z.strictObject({}),
  run: (_fields, { call, channel, recorder }) => attempt(recorder.start(call, channel)),
});

export const stopRecording = action({
  name: 'stop_recording',
  schema: z.strictObject({}),
  run: (_fields, { call, channel, recorder }) => attempt(recorder.stop(call, channel)),
});

import type { z } from 'zod';
import type { Call } from '../calls/call.ts';
import { ApiError } from '../lib/errors.ts';
import { ChannelGone } from '../media/media.ts';
import type { recordingAction, recordingReply } from './schema.ts';
import type { RecordableChannel, RecordingService } from './service.ts';

interface Dependencies {
  service: RecordingService;
  /** The channel of a call in progress in this process. */
  channelOf: (callId: string) => RecordableChannel | undefined;
}

/** How long the reply to `stop` waits for the recording to be completed, in ms. */
const FINISHED_WITHIN_MS = 2000;

/**
 * Starts or stops the recording of a call of this process, and returns it as the API shows it.
 * @throws ApiError `active_call_not_found`, `call_uuid_missing`, `recording_not_started`,
 *   `recording_start_failed`, `recording_stop_failed`
 */
export const recordingControl =
  ({ service, channelOf }: Dependencies) =>
  async (call: Call, action: z.output<typeof recordingAction>): Promise<z.input<typeof recordingReply>> => {
    if (call.endedAt) throw new ApiError('active_call_not_found');
    const channel = channelOf(call.id);
    if (!channel) throw new ApiError('call_uuid_missing');
    if (action === 'stop')
      return service.library.toJson(
        await service.ended(await service.stop(call, channel), FINISHED_WITHIN_MS),
      );
    return service.library.toJson(
      await service.start(call, channel).catch((error: unknown) => {
        throw error instanceof ChannelGone ? new ApiError('active_call_not_found') : error;
      }),
    );
  };

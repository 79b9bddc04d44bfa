import type { Call } from '../calls/call.ts';
import { download, endpoint, idParams, type CustomerCaller, type Endpoint } from '../http/endpoint.ts';
import { listOf, page, pageQuery } from '../http/pagination.ts';
import { ApiError } from '../lib/errors.ts';
import { ChannelGone } from '../media/media.ts';
import { numberOf, type Recording } from './recording.ts';
import { recordingControl, recordingControlReply, recordingReply } from './schema.ts';
import type { RecordableChannel, RecordingService } from './service.ts';

interface Dependencies {
  service: RecordingService;
  /** A call of the application. @throws ApiError `call_not_found` */
  call: (id: string, scope: { applicationId: string }) => Promise<Call>;
  /** The channel of a call in progress. */
  channelOf: (callId: string) => RecordableChannel | undefined;
}

const common = { auth: 'customer', tag: 'Recordings' } as const;

/** How long the reply to `stop` waits for the recording to be completed, in ms. */
const FINISHED_WITHIN_MS = 2000;

/** Recordings of the application's calls; another application's do not exist. */
export function recordingRoutes({ service, call, channelOf }: Dependencies): Endpoint[] {
  const { library } = service;
  const own = (caller: CustomerCaller) => ({ applicationId: caller.applicationId });

  /** @throws ApiError `active_call_not_found`, `call_uuid_missing` */
  async function liveCall(id: string, caller: CustomerCaller): Promise<{ live: Call; channel: RecordableChannel }> {
    const live = await call(id, own(caller)).catch((error: unknown) => {
      throw error instanceof ApiError && error.code === 'call_not_found' ? new ApiError('active_call_not_found') : error;
    });
    if (live.endedAt) throw new ApiError('active_call_not_found');
    const channel = channelOf(live.id);
    if (!channel) throw new ApiError('call_uuid_missing');
    return { live, channel };
  }

  async function start(id: string, caller: CustomerCaller): Promise<Recording> {
    const { live, channel } = await liveCall(id, caller);
    return service.start(live, channel).catch((error: unknown) => {
      throw error instanceof ChannelGone ? new ApiError('active_call_not_found') : error;
    });
  }

  async function stop(id: string, caller: CustomerCaller): Promise<Recording> {
    const { live, channel } = await liveCall(id, caller);
    return service.ended(await service.stop(live, channel), FINISHED_WITHIN_MS);
  }

  return [
    endpoint({
      ...common, method: 'post', path: '/v1/calls/:id/recordings', summary: 'Start or stop recording a call',
      description: 'While a recording runs, starting returns that one. A stopped recording is `completed` once its audio can be fetched; `recording.completed` tells when.',
      params: idParams, body: recordingControl, status: 200, reply: recordingControlReply,
      errors: ['invalid_action', 'active_call_not_found', 'recording_not_started', 'call_uuid_missing', 'recording_start_failed', 'recording_stop_failed'],
      handle: async ({ params, body: { action }, caller }) => {
        if (!isAction(action)) throw new ApiError('invalid_action', 'action must be start or stop');
        const recording = await (action === 'start' ? start : stop)(params.id, caller);
        return { data: { call_id: recording.callId, provider_call_id: recording.providerCallId, action, recording: library.toJson(recording) } };
      },
    }),
    endpoint({
      ...common, method: 'get', path: '/v1/calls/:id/recordings', summary: 'List the recordings of a call, newest first',
      params: idParams, query: pageQuery, status: 200, reply: listOf(recordingReply), errors: ['call_not_found'],
      handle: async ({ params, query, caller }) => {
        const { id } = await call(params.id, own(caller));
        return page(query, (limit, before) => library.list(id, limit, before === undefined ? undefined : numberOf(id, before)), library.toJson);
      },
    }),
    endpoint({
      ...common, method: 'get', path: '/v1/recordings/:id', summary: 'Read a recording',
      params: idParams, status: 200, reply: recordingReply, errors: ['not_found'],
      handle: async ({ params, caller }) => library.toJson(await library.get(params.id, own(caller))),
    }),
    download({
      ...common, path: '/v1/recordings/:id/audio', summary: "Fetch a recording's audio",
      description: 'WAV: stereo, 8 kHz, 16 bit; the caller is on the left.',
      params: idParams, produces: 'audio/wav', errors: ['not_found', 'service_unavailable'],
      handle: async ({ params, caller }) => {
        const recording = await library.get(params.id, own(caller));
        if (recording.status !== 'completed') throw new ApiError('not_found', 'this recording has no audio that can be fetched');
        return {
          sizeBytes: recording.sizeBytes, fileName: `${recording.id}.wav`, tag: recording.sha256 ?? recording.id,
          open: (range) => library.audio(recording, range),
        };
      },
    }),
    endpoint({
      ...common, method: 'delete', path: '/v1/recordings/:id', summary: 'Delete a recording and its audio',
      params: idParams, status: 204, errors: ['not_found', 'recording_in_progress', 'service_unavailable'], allowDisabledApplication: true,
      handle: ({ params, caller }) => library.delete(params.id, own(caller)),
    }),
  ];
}

const isAction = (action: string): action is 'start' | 'stop' => action === 'start' || action === 'stop';

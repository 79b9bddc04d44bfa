import type { z } from 'zod';
import type { Call } from '../calls/call.ts';
import { download, endpoint, idParams, type CustomerCaller, type Endpoint } from '../http/endpoint.ts';
import { listOf, page, pageQuery } from '../http/pagination.ts';
import { ApiError } from '../lib/errors.ts';
import { numberOf } from './recording.ts';
import { recordingAction, recordingControl, recordingControlReply, recordingReply } from './schema.ts';
import type { RecordingService } from './service.ts';

interface Dependencies {
  service: RecordingService;
  /** A call of the application. @throws ApiError `call_not_found` */
  call: (id: string, scope: { applicationId: string }) => Promise<Call>;
  /** Starts or stops the recording of a call, wherever it is. */
  control: (call: Call, action: z.output<typeof recordingAction>) => Promise<z.input<typeof recordingReply>>;
}

const common = { auth: 'customer', tag: 'Recordings' } as const;

/** Recordings of the application's calls; another application's do not exist. */
export function recordingRoutes({ service, call, control }: Dependencies): Endpoint[] {
  const { library } = service;
  const own = (caller: CustomerCaller) => ({ applicationId: caller.applicationId });

  /** @throws ApiError `active_call_not_found`, and what `control` does */
  async function controlled(
    id: string,
    action: z.output<typeof recordingAction>,
    caller: CustomerCaller,
  ): Promise<z.input<typeof recordingReply>> {
    try {
      const found = await call(id, own(caller));
      if (found.endedAt) throw new ApiError('active_call_not_found');
      return await control(found, action);
    } catch (error) {
      throw error instanceof ApiError && (error.code === 'call_not_found' || error.code === 'call_not_active')
        ? new ApiError('active_call_not_found')
        : error;
    }
  }

  return [
    endpoint({
      ...common,
      method: 'post',
      path: '/v1/calls/:id/recordings',
      summary: 'Start or stop recording a call',
      description:
        'While a recording runs, starting returns that one. A stopped recording is `completed` once its audio can be fetched; `recording.completed` tells when.',
      params: idParams,
      body: recordingControl,
      status: 200,
      reply: recordingControlReply,
      errors: [
        'invalid_action',
        'active_call_not_found',
        'recording_not_started',
        'call_uuid_missing',
        'recording_start_failed',
        'recording_stop_failed',
        'service_unavailable',
      ],
      handle: async ({ params, body: { action }, caller }) => {
        const known = recordingAction.safeParse(action).data;
        if (known === undefined) throw new ApiError('invalid_action', 'action must be start or stop');
        const recording = await controlled(params.id, known, caller);
        return {
          data: {
            call_id: recording.call_id,
            provider_call_id: recording.provider_call_id,
            action: known,
            recording,
          },
        };
      },
    }),
    endpoint({
      ...common,
      method: 'get',
      path: '/v1/calls/:id/recordings',
      summary: 'List the recordings of a call, newest first',
      params: idParams,
      query: pageQuery,
      status: 200,
      reply: listOf(recordingReply),
      errors: ['call_not_found'],
      handle: async ({ params, query, caller }) => {
        const { id } = await call(params.id, own(caller));
        return page(
          query,
          (limit, before) => library.list(id, limit, before === undefined ? undefined : numberOf(id, before)),
          library.toJson,
        );
      },
    }),
    endpoint({
      ...common,
      method: 'get',
      path: '/v1/recordings/:id',
      summary: 'Read a recording',
      params: idParams,
      status: 200,
      reply: recordingReply,
      errors: ['not_found'],
      handle: async ({ params, caller }) => library.toJson(await library.get(params.id, own(caller))),
    }),
    download({
      ...common,
      path: '/v1/recordings/:id/audio',
      summary: "Fetch a recording's audio",
      description: 'WAV: stereo, 8 kHz, 16 bit; the caller is on the left.',
      params: idParams,
      produces: 'audio/wav',
      errors: ['not_found', 'service_unavailable'],
      handle: async ({ params, caller }) => {
        const recording = await library.get(params.id, own(caller));
        if (recording.status !== 'completed')
          throw new ApiError('not_found', 'this recording has no audio that can be fetched');
        return {
          sizeBytes: recording.sizeBytes,
          fileName: `${recording.id}.wav`,
          tag: recording.sha256 ?? recording.id,
          open: (range) => library.audio(recording, range),
        };
      },
    }),
    endpoint({
      ...common,
      method: 'delete',
      path: '/v1/recordings/:id',
      summary: 'Delete a recording and its audio',
      params: idParams,
      status: 204,
      errors: ['not_found', 'recording_in_progress', 'service_unavailable'],
      handle: ({ params, caller }) => library.delete(params.id, own(caller)),
    }),
  ];
}

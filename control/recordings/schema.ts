import { z } from 'zod';
import { rfc3339 } from '../lib/time.ts';
import type { Recording } from './recording.ts';

export const recordingReply = z
  .strictObject({
    id: z.string(),
    call_id: z.string(),
    customer_id: z.string(),
    application_id: z.string().optional(),
    provider_call_id: z.string(),
    status: z.enum(['started', 'completed', 'failed']),
    storage_type: z.enum(['local', 's3']),
    file_url: z.string().describe('where the audio is, once it can be fetched; empty before'),
    duration_seconds: z.int(),
    size_bytes: z.int(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .meta({ id: 'Recording' });

export const recordingAction = z.enum(['start', 'stop']);

export const recordingControl = z
  .strictObject({
    // Any text gets past here: one that is no action has an error code of its own.
    action: z.string().default('start').describe('`start` or `stop`'),
  })
  .meta({ id: 'RecordingControl' });

export const recordingControlReply = z
  .strictObject({
    data: z.strictObject({
      call_id: z.string(),
      provider_call_id: z.string(),
      action: recordingAction,
      recording: recordingReply,
    }),
  })
  .meta({ id: 'RecordingControlReply' });

/** @param publicUrl where customers reach the API, without a slash at its end */
export const recordingToJson = (recording: Recording, publicUrl: string): z.input<typeof recordingReply> => ({
  id: recording.id,
  call_id: recording.callId,
  customer_id: recording.customerId,
  application_id: recording.applicationId,
  provider_call_id: recording.providerCallId,
  status: recording.status,
  storage_type: recording.storageType,
  file_url: recording.status === 'completed' ? `${publicUrl}/v1/recordings/${recording.id}/audio` : '',
  duration_seconds: recording.durationSeconds,
  size_bytes: recording.sizeBytes,
  created_at: rfc3339(recording.createdAt),
  updated_at: rfc3339(recording.updatedAt),
});

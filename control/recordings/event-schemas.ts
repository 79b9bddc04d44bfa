import { z } from 'zod';
import { eventSchema } from '../calls/event-schemas.ts';
import type { RecordingEvent } from '../calls/events.ts';
import type { EventDoc } from '../http/sent-requests.ts';
import { recordingReply } from './schema.ts';

const like = <T extends z.ZodType>(schema: T, example: z.output<T>): T =>
  schema.meta({ examples: [example] });
const AT = '2026-05-29T12:00:10Z';
const recording = (
  status: 'started' | 'completed' | 'failed',
  audio: { url: string; seconds: number; bytes: number },
) => ({
  ...recordingReply.shape,
  id: like(z.string(), 'rec_call_20260529T120000.000000000'),
  call_id: like(z.string(), 'call_20260529T120000.000000000'),
  customer_id: like(z.string(), 'cust_20260529T110000.000000000'),
  application_id: like(z.string(), 'app_20260529T110500.000000000'),
  provider_call_id: like(z.string(), '6f1e9d52-3c1a-4f0e-9a53-8e0a3b7f1c22'),
  status: z.literal(status),
  file_url: like(z.string(), audio.url).describe('where the audio is, once it can be fetched; empty before'),
  duration_seconds: like(z.int(), audio.seconds),
  size_bytes: like(z.int(), audio.bytes),
  created_at: like(z.iso.datetime(), AT),
  updated_at: like(z.iso.datetime(), AT),
});
const none = { url: '', seconds: 0, bytes: 0 };
const ANY = ['in_progress', 'completed', 'failed', 'canceled'] as const;

export const recordingEvents: Record<RecordingEvent, EventDoc> = {
  'recording.started': eventSchema(
    'recording.started',
    'A recording has begun.',
    ANY,
    recording('started', none),
  ),
  'recording.completed': eventSchema(
    'recording.completed',
    'A recording can be fetched.',
    ['completed', 'in_progress', 'failed', 'canceled'],
    recording('completed', {
      url: 'https://voice.example/v1/recordings/rec_call_20260529T120000.000000000/audio',
      seconds: 38,
      bytes: 1_216_044,
    }),
  ),
  // One that could not even begin has no recording yet, only the call.
  'recording.failed': eventSchema(
    'recording.failed',
    'A recording could not be begun, or not be kept.',
    ANY,
    {
      ...z.object(recording('failed', none)).partial().shape,
      call_id: like(z.string(), 'call_20260529T120000.000000000'),
      message: like(z.string(), 'the media node did not begin to record').describe('what went wrong'),
    },
  ),
};

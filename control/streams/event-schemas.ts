import { z } from 'zod';
import { eventSchema } from '../calls/event-schemas.ts';
import type { StreamEvent } from '../calls/events.ts';
import type { EventDoc } from '../http/sent-requests.ts';

const like = <T extends z.ZodType>(schema: T, example: z.output<T>): T =>
  schema.meta({ examples: [example] });
const stream = {
  stream_sid: like(z.string(), 'stream_20260529T120005.000000000'),
  stream_url: like(z.string(), 'wss://receiver.example/audio?token=***').describe(
    'without the values of its query',
  ),
  track: z.enum(['inbound', 'outbound', 'both']),
};

export const streamEvents: Record<StreamEvent, EventDoc> = {
  'stream.started': eventSchema(
    'stream.started',
    'A media stream is connected to its receiver.',
    ['in_progress', 'completed', 'failed'],
    stream,
  ),
  'stream.stopped': eventSchema(
    'stream.stopped',
    'A media stream has ended, or could not begin.',
    ['in_progress', 'completed', 'failed', 'canceled'],
    {
      ...stream,
      reason: z
        .enum([
          'stopped',
          'call_ended',
          'receiver_closed',
          'receiver_unreachable',
          'url_refused',
          'audio_unavailable',
        ])
        .describe(
          '`receiver_closed`: it closed with 1000; `receiver_unreachable`: it could not be reached, three times again; `audio_unavailable`: the audio of the call could not be had',
        ),
      message: like(z.string(), 'the receiver answered 500').optional().describe('what went wrong'),
      duration_seconds: like(z.int(), 42),
      frames_sent: like(z.int(), 2100).describe('media frames of 20 ms'),
      frames_dropped: like(z.int(), 0).describe(
        'media frames left out because the receiver did not read, or was away',
      ),
    },
  ),
};

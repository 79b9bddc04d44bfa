import { z } from 'zod';
import { ChannelGone } from '../../media/media.ts';
import { action } from '../action.ts';

/**
 * `ws` is for development and goes to loopback only; what a stream may really reach is checked when it is
 * connected.
 */
const streamUrl = z
  .string()
  .max(2048)
  .refine((value) => {
    if (!URL.canParse(value)) return false;
    const { protocol, hostname } = new URL(value);
    return protocol === 'wss:' || (protocol === 'ws:' && /^(localhost|127\.[\d.]+|\[::1\])$/.test(hostname));
  }, 'must be a wss URL')
  .meta({ format: 'uri' });
const track = z.enum(['inbound', 'outbound', 'both']);

/**
 * The call's audio to a WebSocket from now on, and what that says to the caller, across whatever follows. One
 * that cannot be begun is told of by `stream.stopped`; the call goes on.
 */
export const startStream = action({
  name: 'start_stream',
  summary:
    "Brings the call's audio to a WebSocket from now on, and what that sends back to the caller, across " +
    'whatever follows; the next action runs at once. A stream that cannot be started is told by ' +
    '`stream.stopped`, and the call goes on.',
  example: { stream_url: 'wss://example.com/audio', track: 'both' },
  schema: z.strictObject({
    stream_url: streamUrl.describe('`wss`; `ws` to this host alone, in development'),
    track: track
      .default('inbound')
      .describe('`inbound`: what the caller says; `outbound`: what the caller hears'),
  }),
  async run({ stream_url, track: wanted }, { call, channel, dialog, streamer, state, save }, resumed) {
    // An earlier process has begun it: it is among the streams that were taken over.
    if (resumed && state.begun >= 0) return { next: 'continue' };
    try {
      state.begun = 0;
      save();
      return {
        next: 'continue',
        result: {
          stream_sid: await streamer.start(call, channel, dialog, { url: stream_url, track: wanted }),
        },
      };
    } catch (error) {
      if (error instanceof ChannelGone || !(error instanceof Error)) throw error;
      return { next: 'continue', result: { result: 'failed', message: error.message } };
    }
  },
});

/** Ends the streams that have this URL and this track; without either, all of the call. */
export const stopStream = action({
  name: 'stop_stream',
  summary:
    'Ends streams of the call: those with this URL and this track, or all; the next action runs at once.',
  example: { stream_url: 'wss://example.com/audio' },
  schema: z.strictObject({
    stream_url: streamUrl.optional().describe('streams to this URL alone'),
    track: track.optional().describe('streams of this track alone'),
  }),
  run: async ({ stream_url, track: wanted }, { call, streamer }) => ({
    next: 'continue',
    result: { stopped: await streamer.stop(call, { url: stream_url, track: wanted }) },
  }),
});

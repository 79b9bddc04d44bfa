import { z } from 'zod';
import type { Side } from './call-audio.ts';

/** Who and what a stream is, for its receiver. */
export interface StreamIdentity {
  streamSid: string;
  callSid: string;
  accountSid: string;
  tracks: readonly Side[];
}

/**
 * The frames that a receiver gets: JSON texts in the shape that receivers of telephone audio share, in which
 * numbers are strings. One of these numbers them for one connection.
 */
export class Frames {
  readonly #identity: StreamIdentity;
  #sequence = 0;

  constructor(identity: StreamIdentity) {
    this.#identity = identity;
  }

  connected(): string {
    return JSON.stringify({ event: 'connected', protocol: 'Call', version: '1.0.0' });
  }

  start(customParameters: Readonly<Record<string, string>>): string {
    const { streamSid, callSid, accountSid, tracks } = this.#identity;
    return this.#frame('start', {
      start: {
        accountSid,
        streamSid,
        callSid,
        tracks,
        mediaFormat: { encoding: 'audio/x-mulaw', sampleRate: 8000, channels: 1 },
        customParameters,
      },
    });
  }

  /**
   * @param chunk number of the chunk in its track, from 1
   * @param timestamp ms since the begin of the stream
   */
  media(track: Side, chunk: number, timestamp: number, payload: Buffer): string {
    return this.#frame('media', {
      media: {
        track,
        chunk: String(chunk),
        timestamp: String(timestamp),
        payload: payload.toString('base64'),
      },
    });
  }

  dtmf(digit: string): string {
    return this.#frame('dtmf', { dtmf: { track: 'inbound_track', digit } });
  }

  mark(name: string): string {
    return this.#frame('mark', { mark: { name } });
  }

  /** @param droppedFrames media frames that were left out, because the receiver did not read or was away */
  stop(reason: string, droppedFrames: number): string {
    const { accountSid, callSid } = this.#identity;
    return this.#frame('stop', {
      stop: { accountSid, callSid, reason, droppedFrames: String(droppedFrames) },
    });
  }

  #frame(event: string, content: Record<string, unknown>): string {
    return JSON.stringify({
      event,
      sequenceNumber: String(++this.#sequence),
      ...content,
      streamSid: this.#identity.streamSid,
    });
  }
}

const Said = z.discriminatedUnion('event', [
  z.looseObject({ event: z.literal('media'), media: z.looseObject({ payload: z.string() }) }),
  z.looseObject({ event: z.literal('mark'), mark: z.looseObject({ name: z.string().max(256) }) }),
  z.looseObject({ event: z.literal('clear') }),
]);

/** What a receiver has said: audio to be played (µ-law), a mark, `clear`; undefined for anything else. */
export function readFrame(text: string): { audio: Buffer } | { mark: string } | 'clear' | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { success, data } = Said.safeParse(json);
  if (!success) return undefined;
  if (data.event === 'media') return { audio: Buffer.from(data.media.payload, 'base64') };
  return data.event === 'mark' ? { mark: data.mark.name } : 'clear';
}

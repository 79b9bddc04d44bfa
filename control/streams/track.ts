import { ALAW_TO_MULAW, MULAW_SILENCE } from '../lib/g711.ts';
import type { RtpPacket } from './rtp.ts';

/** Samples of a frame: 20 ms at 8 kHz. */
export const FRAME = 160;
export const FRAME_MS = 20;

/**
 * All in samples. New audio is played so long after it came; packets that swap places or bunch up within that
 * are no loss.
 */
const DELAY = 3 * FRAME;
/**
 * More than this ahead of its time is the backlog of a stalled network: what is late stays late no longer.
 */
const MOST_AHEAD = 10 * FRAME;
/** One second. */
const RING = 50 * FRAME;
/** After so many packets in a row that came too late the clock is set anew. */
const LATE_IN_A_ROW = 3;
/** The sender's clock is compared with ours once in so many frames: 5 s. */
const DRIFT_FRAMES = 250;
const DRIFT_AHEAD = 6 * FRAME;

/**
 * One direction of a call's audio, from RTP packets to a frame every 20 ms: G.711 of either law in, µ-law
 * out. Audio has its place by its RTP timestamp, so packets may come in any order, and what has not come in
 * time is silence of the same length.
 */
export class Track {
  readonly #ring = Buffer.alloc(RING, MULAW_SILENCE);
  /** Position of the next frame to be taken; positions count samples since the begin. */
  #next = 0;
  #anchor: { ssrc: number; timestamp: number; position: number } | undefined;
  #late = 0;
  #least = Infinity;
  #frames = 0;

  push({ payloadType, timestamp, ssrc, payload }: RtpPacket): void {
    if ((payloadType !== 0 && payloadType !== 8) || payload.length === 0 || payload.length > MOST_AHEAD)
      return;
    let position =
      this.#anchor?.ssrc === ssrc
        ? this.#anchor.position + ((timestamp - this.#anchor.timestamp) | 0)
        : undefined;
    if (position !== undefined && position + payload.length <= this.#next) {
      if (++this.#late < LATE_IN_A_ROW && position > this.#next - RING) return;
      position = undefined;
    }
    if (position === undefined || position > this.#next + MOST_AHEAD) {
      position = this.#next + DELAY;
      this.#anchor = { ssrc, timestamp, position };
      this.#least = Infinity;
    }
    this.#late = 0;
    this.#least = Math.min(this.#least, position - this.#next);
    for (let i = Math.max(0, this.#next - position); i < payload.length; i++) {
      const byte = payload[i] ?? MULAW_SILENCE;
      this.#ring[(position + i) % RING] = payloadType === 8 ? (ALAW_TO_MULAW[byte] ?? MULAW_SILENCE) : byte;
    }
  }

  /** The next 20 ms; to be called every 20 ms. */
  take(): Buffer {
    const at = this.#next % RING;
    const frame = Buffer.from(this.#ring.subarray(at, at + FRAME));
    this.#ring.fill(MULAW_SILENCE, at, at + FRAME);
    this.#next += FRAME;
    if (++this.#frames % DRIFT_FRAMES === 0) {
      // The sender's clock is faster than ours: what it is ahead would grow for ever.
      if (this.#anchor && this.#least !== Infinity && this.#least > DRIFT_AHEAD)
        this.#anchor.position -= FRAME;
      this.#least = Infinity;
    }
    return frame;
  }
}

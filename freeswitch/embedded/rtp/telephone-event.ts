/** DTMF as telephone events (RFC 4733). Durations are in samples of 8 kHz. */
import { FRAME_SAMPLES } from './g711.ts';

const DIGITS = '0123456789*#ABCD';

export const MIN_DURATION = 400;
/** 100 ms, as the FreeSWITCH configuration has it. */
export const DEFAULT_DURATION = 800;
export const MAX_DURATION = 192_000;

/**
 * Without any packet of a running event for this many frames, its end packets are lost and the key is taken
 * as released.
 */
const LOST_END_FRAMES = 10;

export interface Digit {
  digit: string;
  duration: number;
}

export function clampDuration(duration: number): number {
  return Math.min(Math.max(duration, MIN_DURATION), MAX_DURATION);
}

/** A packet that repeats the end of a key comes at most this many frames after the one before. */
const REPEATED_END_FRAMES = 6;
/** Timestamp units that one segment of a long event may lack of the largest duration a packet can tell. */
const SEGMENT_SLACK = 0xfff;
const LONGEST_SEGMENT = 0xffff;

/** What the RTP header of an event packet says. */
export interface EventHeader {
  ssrc: number;
  sequence: number;
  timestamp: number;
  /** The first packet of an event has it (RFC 4733 section 2.5.1.2). */
  marker: boolean;
}

interface Pressed extends Omit<EventHeader, 'sequence' | 'ssrc' | 'marker'> {
  event: number;
  /** As the packets tell, those of earlier segments added. */
  duration: number;
  /** Of the segment that runs. */
  segment: number;
}

/**
 * Turns event packets into key presses: one per event, whatever is repeated, doubled or lost. A key is known
 * by its timestamp where that is as RFC 4733 section 2.5.1 wants it; where a sender never moves the timestamp
 * on, by the marker and a duration that begins anew; and where it moves on within a key, by what comes right
 * behind an end.
 */
export class EventReceiver {
  readonly #onDigit: (digit: Digit) => void;
  #running: Pressed | undefined;
  /** The key reported last: its repeated end packets are ignored. */
  #reported: Pressed | undefined;
  /** Frames since the last packet of the running or the reported key. */
  #quiet = 0;
  #ssrc = -1;
  #sequence = -1;

  constructor(onDigit: (digit: Digit) => void) {
    this.#onDigit = onDigit;
  }

  /** One packet whose payload starts at `offset` of `data`. */
  packet(header: EventHeader, data: Uint8Array, offset: number): void {
    if (data.length < offset + 4) return;
    const event = data[offset] ?? 0;
    if (event >= DIGITS.length || this.#overtaken(header)) return;
    const end = ((data[offset + 1] ?? 0) & 0x80) !== 0;
    const duration = ((data[offset + 2] ?? 0) << 8) | (data[offset + 3] ?? 0);
    const next: Pressed = { timestamp: header.timestamp, event, duration, segment: duration };
    const { marker } = header;
    if (this.#running && !continues(this.#running, next, marker)) this.#report();
    if (this.#running) follow(this.#running, next);
    else if (this.#repeatsEnd(next, marker, end)) {
      this.#quiet = 0;
      return;
    } else this.#running = next;
    this.#quiet = 0;
    if (end) this.#report();
  }

  /** To be called every 20 ms. */
  tick(): void {
    this.#quiet++;
    if (this.#running && this.#quiet >= LOST_END_FRAMES) this.#report();
  }

  /** A packet that came twice, or behind a later one, tells nothing new. */
  #overtaken({ ssrc, sequence }: EventHeader): boolean {
    const behind = (this.#sequence - sequence) & 0xffff;
    if (ssrc === this.#ssrc && behind < 100) return true;
    // Another sender: what it sends is no repetition.
    if (ssrc !== this.#ssrc) this.#reported = undefined;
    this.#ssrc = ssrc;
    this.#sequence = sequence;
    return false;
  }

  /** The packet belongs to the key that was reported last. */
  #repeatsEnd(next: Pressed, marker: boolean, end: boolean): boolean {
    const last = this.#reported;
    if (!last || next.event !== last.event) return false;
    if (next.timestamp === last.timestamp) return end || !marker || next.duration >= last.segment;
    const later = (next.timestamp - last.timestamp) >>> 0;
    if (later > next.duration + REPEATED_END_FRAMES * FRAME_SAMPLES) return false;
    return end && !marker && next.duration >= last.segment && this.#quiet <= REPEATED_END_FRAMES;
  }

  #report(): void {
    const key = this.#running;
    this.#running = undefined;
    if (!key) return;
    this.#reported = key;
    const digit = DIGITS[key.event];
    if (digit) this.#onDigit({ digit, duration: clampDuration(key.duration) });
  }
}

/** The packet belongs to the key that is down. */
function continues(running: Pressed, next: Pressed, marker: boolean): boolean {
  if (next.event !== running.event) return false;
  if (next.timestamp === running.timestamp) return !marker || next.duration >= running.segment;
  // A key longer than one packet can tell goes on in a segment of its own (section 2.5.1.3).
  const later = (next.timestamp - running.timestamp) >>> 0;
  return !marker && later >= LONGEST_SEGMENT - SEGMENT_SLACK && later <= LONGEST_SEGMENT + 1;
}

function follow(running: Pressed, next: Pressed): void {
  if (next.timestamp === running.timestamp) {
    const longer = Math.max(0, next.duration - running.segment);
    running.segment += longer;
    running.duration += longer;
    return;
  }
  running.duration += ((next.timestamp - running.timestamp) >>> 0) - running.segment + next.duration;
  running.timestamp = next.timestamp;
  running.segment = next.duration;
}

/** Keys waiting to be sent; far more than a person would dial. */
const MAX_PENDING = 512;
const END_PACKETS = 3;
/**
 * Behind the two repetitions of the end: 60 ms from the end of a key to the next one, as FreeSWITCH has it
 * with our configuration.
 */
const GAP_FRAMES = 1;

/** What the sender wants in the place of the next audio frame. */
export interface EventPacket {
  marker: boolean;
  /** Frames since the event began: its packets carry the timestamp of its first. */
  age: number;
  event: number;
  end: boolean;
  volume: number;
  duration: number;
}

/** Sends keys one after the other: a packet per frame with growing duration, three end packets, a pause. */
export class EventSender {
  readonly #pending: (Digit | { pause: number })[] = [];
  readonly #packet: EventPacket = { marker: false, age: 0, event: 0, end: false, volume: 10, duration: 0 };
  #current: Digit | undefined;
  #age = 0;
  #ends = 0;
  #gap = 0;

  /** @returns false when the queue is full or the key unknown. `w` is a pause of 500 ms, `W` of 1 s. */
  add(digit: string, duration: number = DEFAULT_DURATION): boolean {
    if (this.#pending.length >= MAX_PENDING) return false;
    if (digit === 'w' || digit === 'W') {
      this.#pending.push({ pause: digit === 'w' ? 25 : 50 });
      return true;
    }
    const key = digit.toUpperCase();
    if (key.length !== 1 || !DIGITS.includes(key)) return false;
    this.#pending.push({ digit: key, duration: clampDuration(duration) });
    return true;
  }

  get idle(): boolean {
    return this.#current === undefined && this.#gap === 0 && this.#pending.length === 0;
  }

  /** @returns what to send this frame instead of audio, or undefined; the object is used again. */
  next(): EventPacket | undefined {
    if (this.#current === undefined) {
      if (this.#gap > 0) {
        this.#gap--;
        return undefined;
      }
      const next = this.#pending.shift();
      if (!next) return undefined;
      if ('pause' in next) {
        this.#gap = next.pause;
        return undefined;
      }
      this.#current = next;
      this.#age = 0;
      this.#ends = 0;
    }
    const { digit, duration } = this.#current;
    const reached = Math.min((this.#age + 1) * 160, duration);
    const packet = this.#packet;
    packet.marker = this.#age === 0;
    packet.age = this.#age++;
    packet.event = DIGITS.indexOf(digit);
    packet.end = reached >= duration;
    packet.duration = Math.min(reached, 0xffff);
    if (packet.end && ++this.#ends === END_PACKETS) {
      this.#current = undefined;
      this.#gap = GAP_FRAMES;
    }
    return packet;
  }
}

export type DigitSource = 'RTP' | 'ENDPOINT' | 'APP';

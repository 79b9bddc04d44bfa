/** DTMF as telephone events (RFC 4733). Durations are in samples of 8 kHz. */

const DIGITS = '0123456789*#ABCD';

export const MIN_DURATION = 400;
/** 100 ms, as the FreeSWITCH configuration has it. */
export const DEFAULT_DURATION = 800;
export const MAX_DURATION = 192_000;

/** Without any packet of a running event for this many frames, its end packets are lost and the key is taken as released. */
const LOST_END_FRAMES = 10;

export interface Digit {
  digit: string;
  duration: number;
}

export function clampDuration(duration: number): number {
  return Math.min(Math.max(duration, MIN_DURATION), MAX_DURATION);
}

/** Turns event packets into key presses: one per event, whatever is repeated, doubled or lost. */
export class EventReceiver {
  readonly #onDigit: (digit: Digit) => void;
  #timestamp: number | undefined;
  #event = 0;
  #duration = 0;
  #quiet = 0;
  /** Timestamp of the event reported last: its repeated end packets are ignored. */
  #reported: number | undefined;

  constructor(onDigit: (digit: Digit) => void) {
    this.#onDigit = onDigit;
  }

  /** One packet whose payload starts at `offset` of `data`. */
  packet(timestamp: number, data: Uint8Array, offset: number): void {
    if (data.length < offset + 4) return;
    const event = data[offset] ?? 0;
    const flags = data[offset + 1] ?? 0;
    const duration = ((data[offset + 2] ?? 0) << 8) | (data[offset + 3] ?? 0);
    if (event >= DIGITS.length || timestamp === this.#reported) return;
    if (this.#timestamp !== undefined && this.#timestamp !== timestamp) this.#report();
    this.#timestamp = timestamp;
    this.#event = event;
    this.#duration = Math.max(this.#duration, duration);
    this.#quiet = 0;
    if (flags & 0x80) this.#report();
  }

  /** To be called every 20 ms. */
  tick(): void {
    if (this.#timestamp !== undefined && ++this.#quiet >= LOST_END_FRAMES) this.#report();
  }

  #report(): void {
    const digit = DIGITS[this.#event];
    const duration = clampDuration(this.#duration);
    this.#reported = this.#timestamp;
    this.#timestamp = undefined;
    this.#duration = 0;
    this.#quiet = 0;
    if (digit) this.#onDigit({ digit, duration });
  }
}

/** Keys waiting to be sent; far more than a person would dial. */
const MAX_PENDING = 512;
const END_PACKETS = 3;
/** Behind the two repetitions of the end: 60 ms from the end of a key to the next one, as FreeSWITCH has it with our configuration. */
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

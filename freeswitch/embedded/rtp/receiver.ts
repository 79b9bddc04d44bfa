import { FRAME_SAMPLES } from './g711.ts';

/** Room for half a second; a power of two, so that positions wrap by a mask. */
const SIZE = 4096;
const MASK = SIZE - 1;
/** Audio held back before the first frame is given out: what network and event loop jitter by. */
const PREFILL = 2 * FRAME_SAMPLES;
/** More than this is delay nobody needs: it comes from clocks that differ, or from a burst after a stall. */
const LONGEST = 8 * FRAME_SAMPLES;

/**
 * What comes in, evened out: packets of any length go in as they come, and one frame comes out per tick of
 * the clock.
 */
export class AudioReceiver {
  readonly #ring = Buffer.alloc(SIZE);
  readonly #frame = Buffer.alloc(FRAME_SAMPLES);
  #head = 0;
  #tail = 0;
  #filling = true;
  #sequence = -1;
  #at = -1;
  #sounding = false;
  #copied = false;

  /**
   * The payload of one packet, from `start` to `end` of `data`. One that was overtaken is too late and left
   * out.
   */
  packet(sequence: number, data: Buffer, start: number, end: number): void {
    const behind = (this.#sequence - sequence) & 0xffff;
    if (this.#sequence >= 0 && behind < 100) return;
    this.#sequence = sequence;
    const from = Math.max(start, end - LONGEST);
    const at = this.#head & MASK;
    const first = data.copy(this.#ring, at, from, Math.min(end, from + SIZE - at));
    if (from + first < end) data.copy(this.#ring, 0, from + first, end);
    this.#head += end - from;
    if (this.#head - this.#tail > LONGEST) {
      this.#tail = this.#head - PREFILL;
      // What was the frame of this moment is no longer before the tail.
      this.#sounding &&= this.#copied;
    }
  }

  /** Moves on to the frame of this moment: to be called for each, also while nobody listens. */
  advance(number: number): void {
    if (number === this.#at) return;
    this.#at = number;
    this.#sounding = this.#next();
    this.#copied = false;
  }

  /**
   * The frame of this moment, the same however often it is asked for; undefined when there is none. Valid
   * until the next.
   */
  frame(number: number): Buffer | undefined {
    this.advance(number);
    if (!this.#sounding) return undefined;
    if (!this.#copied) {
      const at = (this.#tail - FRAME_SAMPLES) & MASK;
      const first = this.#ring.copy(this.#frame, 0, at, at + FRAME_SAMPLES);
      if (first < FRAME_SAMPLES) this.#ring.copy(this.#frame, first, 0, FRAME_SAMPLES - first);
      this.#copied = true;
    }
    return this.#frame;
  }

  /** What is waiting is of another stream, or another law. */
  flush(): void {
    this.#tail = this.#head;
    this.#sounding = false;
    this.#filling = true;
    this.#sequence = -1;
  }

  #next(): boolean {
    const waiting = this.#head - this.#tail;
    if (waiting < FRAME_SAMPLES) this.#filling = true;
    else if (waiting >= PREFILL) this.#filling = false;
    if (this.#filling) return false;
    this.#tail += FRAME_SAMPLES;
    return true;
  }
}

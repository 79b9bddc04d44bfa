import { MULAW_SILENCE } from '../lib/g711.ts';
import { FRAME } from './track.ts';

/**
 * A burst begins once this much of it has come, or when it has waited so long for more: what sends in real
 * time is never quite even.
 */
const AHEAD_FRAMES = 3;
/** A frame that is not full waits so long for its rest. */
const REST_FRAMES = 2;
/** So long after a frame has left here it has been heard: what rtpengine and a caller's phone hold of it. */
const HEARD_FRAMES = 3;
/** Two minutes of audio. */
const MOST_BYTES = 120 * 50 * FRAME;
const MOST_MARKS = 1000;

/**
 * Audio that a receiver wants the caller to hear, in its order: a queue that is emptied by a frame every 20
 * ms. Marks in it come out once all before them has been heard.
 */
export class Playback {
  #queue: Buffer[] = [];
  #length = 0;
  /** Bytes taken in and given out since the begin, a frame's padding not counted. */
  #added = 0;
  #taken = 0;
  #running = false;
  #waited = 0;
  #ticks = 0;
  readonly #marks: { name: string; at: number; due: number | undefined }[] = [];

  /** Bytes that wait. */
  get length(): number {
    return this.#length;
  }

  /** @returns false when there is no room for it: none of it is kept. */
  add(audio: Buffer): boolean {
    if (this.#length + audio.length > MOST_BYTES) return false;
    if (audio.length === 0) return true;
    this.#queue.push(audio);
    this.#length += audio.length;
    this.#added += audio.length;
    return true;
  }

  /** @returns false when there are too many. */
  mark(name: string): boolean {
    if (this.#marks.length >= MOST_MARKS) return false;
    this.#marks.push({ name, at: this.#added, due: undefined });
    return true;
  }

  /** Drops all that waits. Returns the marks that were in it. */
  clear(): string[] {
    this.#queue = [];
    this.#length = 0;
    this.#taken = this.#added;
    this.#running = false;
    this.#waited = 0;
    return this.#marks.splice(0).map(({ name }) => name);
  }

  /** The next frame to be heard, or none; to be called every 20 ms while audio can be played. */
  take(): Buffer | undefined {
    if (this.#length === 0) {
      this.#running = false;
      this.#waited = 0;
      return undefined;
    }
    const enough = this.#running ? FRAME : AHEAD_FRAMES * FRAME;
    if (this.#length < enough && ++this.#waited <= (this.#running ? REST_FRAMES : AHEAD_FRAMES))
      return undefined;
    this.#running = true;
    this.#waited = 0;
    return this.#frame();
  }

  /** The marks whose time has come; to be called every 20 ms, after `take`. */
  passed(): string[] {
    this.#ticks++;
    for (const mark of this.#marks) {
      if (mark.at > this.#taken) break;
      mark.due ??= this.#ticks + (mark.at === 0 ? 0 : HEARD_FRAMES);
    }
    const waiting = this.#marks.findIndex(({ due }) => due === undefined || due > this.#ticks);
    return this.#marks.splice(0, waiting === -1 ? this.#marks.length : waiting).map(({ name }) => name);
  }

  #frame(): Buffer {
    const frame = Buffer.alloc(FRAME, MULAW_SILENCE);
    let filled = 0;
    for (let first = this.#queue[0]; first && filled < FRAME; first = this.#queue[0]) {
      const copied = first.copy(frame, filled);
      filled += copied;
      if (copied === first.length) this.#queue.shift();
      else this.#queue[0] = first.subarray(copied);
    }
    this.#length -= filled;
    this.#taken += filled;
    return frame;
  }
}

import { FRAME_SAMPLES, SILENCE, type G711 } from '../rtp/g711.ts';
import type { AudioSource } from '../rtp/session.ts';

/** A source that can be played again. */
export interface Rewindable extends AudioSource {
  rewind(): void;
}

/** Encoded audio in memory, played once or several times over. */
export class BufferSource implements Rewindable {
  readonly law: G711;
  readonly #audio: Buffer;
  readonly #start: number;
  readonly #times: number;
  #at = 0;
  #loops = 0;

  /** @param loops how often it plays; Infinity for ever */
  constructor(audio: Buffer, law: G711, loops: number = 1, start: number = 0) {
    this.law = law;
    this.#audio = audio;
    this.#start = Math.min(start, audio.length);
    this.#times = audio.length === 0 ? 0 : loops;
    this.rewind();
  }

  rewind(): void {
    this.#at = this.#start;
    this.#loops = this.#times;
  }

  read(target: Buffer, offset: number): number {
    let written = 0;
    while (written < FRAME_SAMPLES && this.#loops > 0) {
      const taken = this.#audio.copy(target, offset + written, this.#at, this.#at + FRAME_SAMPLES - written);
      written += taken;
      this.#at += taken;
      if (this.#at >= this.#audio.length) {
        this.#at = 0;
        this.#loops--;
      }
    }
    return written;
  }
}

/** Silence of a given length. */
export class SilenceSource implements Rewindable {
  readonly law: G711;
  readonly #byte: number;
  readonly #length: number;
  #left = 0;

  /** @param samples Infinity for ever */
  constructor(law: G711, samples: number) {
    this.law = law;
    this.#byte = SILENCE[law];
    this.#length = samples;
    this.rewind();
  }

  rewind(): void {
    this.#left = this.#length;
  }

  read(target: Buffer, offset: number): number {
    const length = Math.min(FRAME_SAMPLES, this.#left);
    if (length > 0) target.fill(this.#byte, offset, offset + length);
    this.#left -= length;
    return length;
  }
}

/** Counts what was played: the channel reports it. */
export class CountedSource implements AudioSource {
  readonly #source: AudioSource;
  samples = 0;

  get law(): G711 | undefined {
    return this.#source.law;
  }

  constructor(source: AudioSource) {
    this.#source = source;
  }

  read(target: Buffer, offset: number): number {
    const written = this.#source.read(target, offset);
    this.samples += written;
    return written;
  }
}

/** Plays a source again and again. */
export class RepeatedSource implements AudioSource {
  readonly #source: Rewindable;

  get law(): G711 | undefined {
    return this.#source.law;
  }

  constructor(source: Rewindable) {
    this.#source = source;
  }

  read(target: Buffer, offset: number): number {
    const written = this.#source.read(target, offset);
    if (written > 0) return written;
    this.#source.rewind();
    return this.#source.read(target, offset);
  }
}

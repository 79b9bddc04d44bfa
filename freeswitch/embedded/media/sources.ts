import { FRAME_SAMPLES, SILENCE, type G711 } from '../rtp/g711.ts';
import type { AudioSource } from '../rtp/session.ts';

/** Encoded audio in memory, played once or several times over. */
export class BufferSource implements AudioSource {
  readonly #audio: Buffer;
  #at: number;
  #loops: number;

  /** @param loops how often it plays; Infinity for ever */
  constructor(audio: Buffer, loops: number = 1, start: number = 0) {
    this.#audio = audio;
    this.#at = Math.min(start, audio.length);
    this.#loops = audio.length === 0 ? 0 : loops;
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
export class SilenceSource implements AudioSource {
  readonly #byte: number;
  #left: number;

  /** @param samples Infinity for ever */
  constructor(law: G711, samples: number) {
    this.#byte = SILENCE[law];
    this.#left = samples;
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

  constructor(source: AudioSource) {
    this.#source = source;
  }

  read(target: Buffer, offset: number): number {
    const written = this.#source.read(target, offset);
    this.samples += written;
    return written;
  }
}

import { readFile, stat } from 'node:fs/promises';
import { setImmediate as yieldNow } from 'node:timers/promises';
import { encode, encodeInto, type G711 } from '../rtp/g711.ts';
import { BufferSource, SilenceSource, type Rewindable } from './sources.ts';
import { generateMusic, generateTones } from './tones.ts';
import { readWav, WavError } from './wav.ts';

/** What was asked for cannot be played: no such file, or none that can be read. */
export class SourceNotFound extends Error {
  constructor(source: string) {
    super(`cannot play ${source}`);
    this.name = 'SourceNotFound';
  }
}

const MAX_FILE_BYTES = 128 * 1024 * 1024;
/** Encoded in slices, so that a long file does not hold up everybody's audio. */
const SLICE = 160_000;

/** Tone scripts kept; there is a handful of them. */
const MAX_TONES = 32;

interface Cached {
  audio: Buffer;
  modified: number;
  size: number;
}

/** Turns the names FreeSWITCH plays into audio. Files are read once and kept, encoded, up to a bound. */
export class MediaLibrary {
  readonly #limit: number;
  readonly #cache = new Map<string, Cached>();
  readonly #loading = new Map<string, Promise<Buffer>>();
  readonly #music = new Map<G711, Buffer>();
  readonly #tones = new Map<string, { audio: Buffer; loops: number }>();
  #bytes = 0;

  /** @param limit bytes of encoded audio kept in memory (8,000 are a second) */
  constructor(limit: number = 64 * 1024 * 1024) {
    this.#limit = limit;
  }

  get cachedBytes(): number {
    return this.#bytes;
  }

  /** @throws SourceNotFound */
  async open(name: string, law: G711): Promise<Rewindable> {
    let source = name.replace(/^(?:\{[^}]*\}\s*)+/, '');
    const start = /@@(\d+)$/.exec(source);
    if (start) source = source.slice(0, start.index);
    const stream = /^([a-z_]+):\/\/(.*)$/s.exec(source);
    if (!stream) return new BufferSource(await this.#file(source, law), law, 1, Number(start?.[1] ?? 0));
    const [, kind, rest = ''] = stream;
    if (kind === 'silence_stream') {
      const ms = parseInt(rest, 10);
      if (Number.isNaN(ms)) throw new SourceNotFound(name);
      return new SilenceSource(law, ms < 0 ? Infinity : ms * 8);
    }
    if (kind === 'tone_stream') {
      const tone = this.#tone(rest, law);
      if (!tone) throw new SourceNotFound(name);
      return new BufferSource(tone.audio, law, tone.loops);
    }
    if (kind === 'local_stream') return new BufferSource(this.#holdMusic(law), law, Infinity);
    if (kind === 'file') return new BufferSource(await this.#file(rest, law), law);
    throw new SourceNotFound(name);
  }

  /** Tones are made once: everybody on hold hears the same. */
  #tone(script: string, law: G711): { audio: Buffer; loops: number } | undefined {
    const key = `${law} ${script}`;
    const known = this.#tones.get(key);
    if (known) return known;
    const made = generateTones(script);
    if (!made) return undefined;
    const tone = { audio: encode(law, made.samples), loops: made.loops };
    if (this.#tones.size >= MAX_TONES) this.#tones.clear();
    this.#tones.set(key, tone);
    return tone;
  }

  #holdMusic(law: G711): Buffer {
    let music = this.#music.get(law);
    if (!music) {
      music = encode(law, generateMusic());
      this.#music.set(law, music);
    }
    return music;
  }

  async #file(path: string, law: G711): Promise<Buffer> {
    if (!path.startsWith('/')) throw new SourceNotFound(path);
    const full = /\.[A-Za-z0-9]{1,5}$/.test(path) ? path : `${path}.wav`;
    const key = `${law} ${full}`;
    // Whoever asks while the file is being read waits for the same read.
    const running = this.#loading.get(key);
    if (running) return running;
    const loading = this.#load(key, full, law).finally(() => this.#loading.delete(key));
    this.#loading.set(key, loading);
    return loading;
  }

  async #load(key: string, path: string, law: G711): Promise<Buffer> {
    try {
      const { mtimeMs, size } = await stat(path);
      const cached = this.#cache.get(key);
      if (cached && cached.modified === mtimeMs && cached.size === size) {
        this.#cache.delete(key);
        this.#cache.set(key, cached);
        return cached.audio;
      }
      if (size > MAX_FILE_BYTES) throw new SourceNotFound(path);
      const samples = readWav(await readFile(path));
      const audio = Buffer.allocUnsafe(samples.length);
      for (let from = 0; from < samples.length; from += SLICE) {
        if (from > 0) await yieldNow();
        encodeInto(law, samples, audio, from, Math.min(from + SLICE, samples.length));
      }
      this.#keep(key, { audio, modified: mtimeMs, size });
      return audio;
    } catch (error) {
      if (error instanceof WavError || error instanceof SourceNotFound) throw new SourceNotFound(path);
      if (error instanceof Error && 'code' in error) throw new SourceNotFound(path);
      throw error;
    }
  }

  /**
   * Keeps a file and lets the least recently used ones go. One file may take a quarter of the room at most.
   */
  #keep(key: string, entry: Cached): void {
    const before = this.#cache.get(key);
    if (before) {
      this.#bytes -= before.audio.length;
      this.#cache.delete(key);
    }
    if (entry.audio.length > this.#limit / 4) return;
    this.#cache.set(key, entry);
    this.#bytes += entry.audio.length;
    for (const [oldKey, old] of this.#cache) {
      if (this.#bytes <= this.#limit) break;
      this.#cache.delete(oldKey);
      this.#bytes -= old.audio.length;
    }
  }
}

import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { FileCache, type FileCacheOptions } from './file-cache.ts';
import { telephoneWav } from './telephone-wav.ts';

export interface SpeechOptions {
  /** Name of a voice, as the engine names its own. */
  voice?: string;
  /** Language tag, such as en-GB. */
  language?: string;
}

/** Makes speech from text. espeak-ng is one (`espeak.ts`); another needs this one method. */
export interface SpeechEngine {
  /**
   * Part of the cache's keys: what another engine, or another version of this one, has said is not reused.
   */
  readonly name: string;
  /**
   * Resolves with a WAV file of any rate. A voice the engine lacks is no error: the language, or the engine's
   * own choice, takes its place, because a caller is waiting.
   * @throws SpeechError
   */
  synthesise(text: string, options?: SpeechOptions): Promise<Buffer>;
}

/** There is no speech for this text now. */
export class SpeechError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'SpeechError';
  }
}

export interface PromptsOptions extends Omit<FileCacheOptions, 'folder'> {
  engine: SpeechEngine;
  /** The folder shared with the media nodes. */
  folder: string;
}

/** Speech as files that the media nodes can play: each text is spoken once. */
export class Prompts {
  readonly #engine: SpeechEngine;
  readonly #cache: FileCache;
  readonly #making = new Map<string, Promise<string>>();

  constructor({ engine, folder, ...cache }: PromptsOptions) {
    this.#engine = engine;
    this.#cache = new FileCache({ ...cache, folder: join(folder, 'speech') });
  }

  /** Texts that are being spoken at this moment. */
  get making(): number {
    return this.#making.size;
  }

  /** Resolves with the absolute path of a WAV file, 8 kHz mono 16 bit. @throws SpeechError */
  file(text: string, { voice, language }: SpeechOptions = {}): Promise<string> {
    const key = createHash('sha256')
      .update(JSON.stringify([this.#engine.name, voice ?? null, language ?? null, text]))
      .digest('hex');
    let making = this.#making.get(key);
    if (!making) {
      making = this.#file(`${key}.wav`, text, { voice, language }).finally(() => this.#making.delete(key));
      this.#making.set(key, making);
    }
    return making;
  }

  async #file(name: string, text: string, options: SpeechOptions): Promise<string> {
    return (
      (await this.#cache.find(name)) ??
      this.#cache.put(name, await telephoneWav(await this.#engine.synthesise(text, options)))
    );
  }
}

import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { FileCache, type FileCacheOptions } from './file-cache.ts';
import type { SpeechEngine, SpeechOptions } from './speech.ts';
import { telephoneWav } from './telephone-wav.ts';

export interface PromptsOptions extends Omit<FileCacheOptions, 'directory'> {
  engine: SpeechEngine;
  /** The folder shared with the media nodes. */
  mediaDirectory: string;
}

/** Speech as files that the media nodes can play: each text is spoken once. */
export class Prompts {
  readonly #engine: SpeechEngine;
  readonly #cache: FileCache;
  readonly #making = new Map<string, Promise<string>>();

  constructor({ engine, mediaDirectory, ...cache }: PromptsOptions) {
    this.#engine = engine;
    this.#cache = new FileCache({ ...cache, directory: join(mediaDirectory, 'speech') });
  }

  /** Texts that are being spoken at this moment. */
  get making(): number {
    return this.#making.size;
  }

  /** Resolves with the absolute path of a WAV file, 8 kHz mono 16 bit. @throws SpeechError */
  file(text: string, { voice, language }: SpeechOptions = {}): Promise<string> {
    const key = createHash('sha256').update(JSON.stringify([this.#engine.name, voice ?? null, language ?? null, text])).digest('hex');
    let making = this.#making.get(key);
    if (!making) {
      making = this.#file(`${key}.wav`, text, { voice, language }).finally(() => this.#making.delete(key));
      this.#making.set(key, making);
    }
    return making;
  }

  async #file(name: string, text: string, options: SpeechOptions): Promise<string> {
    return (await this.#cache.find(name)) ?? this.#cache.put(name, await telephoneWav(await this.#engine.synthesise(text, options)));
  }
}

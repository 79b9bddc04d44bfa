import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { FetchError, type FetchReply, type GuardedFetch } from '../lib/guarded-fetch.ts';
import { WavError } from '../lib/wav.ts';
import { FileCache, type FileCacheOptions } from './file-cache.ts';
import { MediaError, MOST_AUDIO_BYTES } from './media.ts';
import { Mp3Error, mp3ToTelephoneWav } from './mp3.ts';
import { telephoneWav } from './telephone-wav.ts';

export interface AudioFilesOptions extends Omit<FileCacheOptions, 'folder' | 'maxBytes'> {
  fetch: GuardedFetch['fetch'];
  /** The folder shared with the media nodes. */
  folder: string;
  /** What the files together may take, in bytes. */
  maxBytes?: number;
  /** The largest file that is fetched, in bytes. */
  maxFileBytes?: number;
  /** For the whole exchange, in ms. */
  timeoutMs?: number;
  /** A file is not asked for again within this time, in ms. */
  freshMs?: number;
}

/** What is known of a URL: the file made from it, and how to ask whether there is a newer one. */
interface Known {
  name: string;
  checkedAt: number;
  etag: string | undefined;
  lastModified: string | undefined;
}

const MAX_KNOWN = 1000;

/**
 * Customers' recordings for the `play` action: fetched, checked, and made into files that the media nodes can
 * play.
 */
export class AudioFiles {
  readonly #options: Required<
    Pick<AudioFilesOptions, 'fetch' | 'maxFileBytes' | 'timeoutMs' | 'freshMs' | 'now'>
  >;
  readonly #cache: FileCache;
  /** The most recently used last. */
  readonly #known = new Map<string, Known>();
  readonly #fetching = new Map<string, Promise<string>>();

  constructor({ folder, maxBytes = 256 * 1024 * 1024, keepMs, logger, ...options }: AudioFilesOptions) {
    this.#options = {
      maxFileBytes: MOST_AUDIO_BYTES,
      timeoutMs: 10_000,
      freshMs: 60_000,
      now: Date.now,
      ...options,
    };
    this.#cache = new FileCache({
      folder: join(folder, 'audio'),
      maxBytes,
      logger,
      now: this.#options.now,
      ...(keepMs !== undefined && { keepMs }),
    });
  }

  /**
   * Resolves with the absolute path of a WAV file, 8 kHz mono 16 bit.
   * @throws MediaError that says what is wrong with the URL or its file.
   */
  file(url: string): Promise<string> {
    let fetching = this.#fetching.get(url);
    if (!fetching) {
      fetching = this.#file(url).finally(() => this.#fetching.delete(url));
      this.#fetching.set(url, fetching);
    }
    return fetching;
  }

  async #file(url: string): Promise<string> {
    const { now, freshMs } = this.#options;
    const known = this.#known.get(url);
    const path = known && (await this.#cache.find(known.name));
    if (known && path && now() - known.checkedAt < freshMs) return path;
    const reply = await this.#fetch(url, path ? known : undefined);
    if (reply.status === 304 && known && path) {
      this.#remember(url, { ...known, checkedAt: now() });
      return path;
    }
    if (reply.status !== 200) throw new MediaError(`${url} answered with ${reply.status}`);
    if (reply.unreadable) throw new MediaError(`${url} cannot be played: ${reply.unreadable.message}`);
    // Named after what is in it: a file that is being played is never replaced by another one.
    const name = `${createHash('sha256').update(reply.body).digest('hex')}.wav`;
    const made =
      (await this.#cache.find(name)) ?? (await this.#cache.put(name, await this.#convert(url, reply)));
    this.#remember(url, {
      name,
      checkedAt: now(),
      etag: sendable(reply.headers.etag),
      lastModified: sendable(reply.headers['last-modified']),
    });
    return made;
  }

  async #fetch(url: string, known: Known | undefined): Promise<FetchReply> {
    const { fetch, maxFileBytes, timeoutMs } = this.#options;
    const headers: Record<string, string> = { accept: 'audio/wav, audio/x-wav, audio/mpeg, audio/*;q=0.5' };
    if (known?.etag) headers['if-none-match'] = known.etag;
    else if (known?.lastModified) headers['if-modified-since'] = known.lastModified;
    try {
      return await fetch(url, { headers, maxBodyBytes: maxFileBytes, timeoutMs, maxRedirects: 3 });
    } catch (error) {
      if (error instanceof FetchError) throw new MediaError(`${url} could not be fetched: ${error.message}`);
      throw error;
    }
  }

  async #convert(url: string, { body, headers }: FetchReply): Promise<Buffer> {
    try {
      return await (isMp3(body, headers['content-type']) ? mp3ToTelephoneWav(body) : telephoneWav(body));
    } catch (error) {
      if (error instanceof Mp3Error) throw new MediaError(`${url} cannot be played as MP3: ${error.message}`);
      if (error instanceof WavError) throw new MediaError(`${url} cannot be played: ${error.message}`);
      throw error;
    }
  }

  #remember(url: string, known: Known): void {
    this.#known.delete(url);
    this.#known.set(url, known);
    const [oldest] = this.#known.keys();
    if (this.#known.size > MAX_KNOWN && oldest !== undefined) this.#known.delete(oldest);
  }
}

/** What a lenient server has said in a header may be nothing that can be sent back to it. */
const sendable = (value: string | undefined): string | undefined =>
  value !== undefined && /^[\x20-\x7e]*$/.test(value) ? value : undefined;

/** An ID3 tag or the sync word of an MPEG audio frame; or what says it is one, and is no WAV file either. */
function isMp3(body: Buffer, type = ''): boolean {
  const begin = body.toString('latin1', 0, 3);
  return (
    begin === 'ID3' ||
    /^\xff[\xe2-\xe7\xf2-\xff]/.test(begin) ||
    (begin !== 'RIF' && /^audio\/(mpeg|mp3)\b/i.test(type))
  );
}

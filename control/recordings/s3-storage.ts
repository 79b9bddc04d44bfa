import { createReadStream } from 'node:fs';
import { access } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { AwsV4Signer } from 'aws4fetch';
import { isMissing, MissingFile, type ByteRange, type Storage } from './storage.ts';

export interface S3Options {
  /** Address of the service, without the bucket. */
  endpoint: string;
  bucket: string;
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
  /** `endpoint/bucket/key` rather than `bucket.endpoint/key`. */
  pathStyle: boolean;
  /** How long a request may take to be answered, in milliseconds. An upload gets more, by its size. */
  timeoutMs?: number;
}

/** An upload slower than this is given up and tried again. */
const SLOWEST_BYTES_PER_SECOND = 64 * 1024;

interface Send {
  headers?: Record<string, string>;
  /** SHA-256 of the body, in hex. */
  sha256?: string;
  body?: ReadableStream;
  timeoutMs?: number;
}

/**
 * Any S3-compatible service. Four plain requests are all it takes (a WAV file is never larger than the 5 GB
 * of one PUT), so what comes from a library is the signature alone (AWS Signature Version 4). The service
 * checks what it was sent against the SHA-256 in the signature, so that an upload is stored whole or not at
 * all.
 */
export class S3Storage implements Storage {
  readonly type = 's3';
  readonly #options: S3Options;
  readonly #base: string;

  constructor(options: S3Options) {
    this.#options = options;
    const url = new URL(options.endpoint);
    const path = url.pathname.replace(/\/+$/, '');
    this.#base = options.pathStyle
      ? `${url.protocol}//${url.host}${path}/${options.bucket}`
      : `${url.protocol}//${options.bucket}.${url.host}${path}`;
  }

  async put(
    key: string,
    file: string,
    { sizeBytes, sha256 }: { sizeBytes: number; sha256: string },
  ): Promise<void> {
    await access(file).catch((error: unknown) => {
      throw isMissing(error) ? new MissingFile(file, error) : error;
    });
    const source = createReadStream(file);
    try {
      await this.#send('PUT', key, {
        sha256,
        body: Readable.toWeb(source) as ReadableStream,
        headers: { 'Content-Type': 'audio/wav', 'Content-Length': String(sizeBytes) },
        timeoutMs: this.#timeoutMs + (sizeBytes / SLOWEST_BYTES_PER_SECOND) * 1000,
      }).then(discard);
    } finally {
      source.destroy();
    }
  }

  async size(key: string): Promise<number | undefined> {
    try {
      const response = await this.#send('HEAD', key);
      await discard(response);
      return Number(response.headers.get('content-length'));
    } catch (error) {
      if (error instanceof MissingFile) return undefined;
      throw error;
    }
  }

  async read(key: string, { start, end }: ByteRange): Promise<Readable> {
    const response = await this.#send('GET', key, { headers: { Range: `bytes=${start}-${end}` } });
    // The audio may be read slowly: from here on its own reader decides how long it takes.
    if (response.status !== 206 || !response.body) {
      await discard(response);
      throw new Error(`the storage answered a range request with ${response.status}`);
    }
    return Readable.fromWeb(response.body as ReadableStream);
  }

  async delete(key: string): Promise<void> {
    await this.#send('DELETE', key).then(discard, (error: unknown) => {
      if (!(error instanceof MissingFile)) throw error;
    });
  }

  get #timeoutMs(): number {
    return this.#options.timeoutMs ?? 15_000;
  }

  /**
   * @throws MissingFile for 404; Error naming the status and the service's own code for every other refusal
   */
  async #send(
    method: string,
    key: string,
    { headers, sha256 = EMPTY_SHA256, body, timeoutMs = this.#timeoutMs }: Send = {},
  ): Promise<Response> {
    const { accessKeyId, secretAccessKey, region } = this.#options;
    // A signer of its own for every request: a shared one keeps a key in memory for every day that passes.
    const signer = new AwsV4Signer({
      method,
      url: `${this.#base}/${key}`,
      headers: { ...headers, 'X-Amz-Content-Sha256': sha256 },
      accessKeyId,
      secretAccessKey,
      region,
      service: 's3',
    });
    const signed = await signer.sign();
    const giveUp = new AbortController();
    const timer = setTimeout(
      () => giveUp.abort(new Error(`no answer from the storage within ${Math.round(timeoutMs)} ms`)),
      timeoutMs,
    );
    try {
      const response = await fetch(signed.url, {
        method,
        headers: signed.headers,
        signal: giveUp.signal,
        redirect: 'manual',
        ...(body && { body, duplex: 'half' as const }),
      });
      if (response.ok) return response;
      const text = await response.text().catch(() => '');
      // A bucket that is not there is the operator's mistake and no missing file.
      const code = /<Code>([A-Za-z0-9]{1,64})<\/Code>/.exec(text)?.[1];
      if (response.status === 404 && code !== 'NoSuchBucket') throw new MissingFile(key);
      throw new Error(
        `the storage answered ${method} with ${response.status}${code === undefined ? '' : ` ${code}`}`,
      );
    } finally {
      clearTimeout(timer);
    }
  }
}

const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

/** Reads an answer nobody wants, so that its connection can be used again. */
async function discard(response: Response): Promise<void> {
  await response.arrayBuffer();
}

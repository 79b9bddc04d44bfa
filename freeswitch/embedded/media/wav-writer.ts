import { mkdir, open, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';

const HEADER = 44;
/** Samples gathered before they are written: a second of stereo. */
const CHUNK = 16_000;
/** Chunks that may wait for a slow disk. */
const MAX_WAITING = 60;

export interface Written {
  /** Samples per channel. */
  samples: number;
  /** Bytes of the file. */
  bytes: number;
}

/**
 * Writes 16-bit audio at 8 kHz into a WAV file, in chunks, beside what goes on. Its header is right when it
 * is closed.
 */
export class WavWriter {
  readonly channels: 1 | 2;
  readonly #file: FileHandle;
  #chunk = new Int16Array(CHUNK);
  #filled = 0;
  #bytes = 0;
  #waiting = 0;
  #writing: Promise<void> = Promise.resolve();
  #failure: unknown;
  #closing: Promise<Written> | undefined;

  /** @throws Error when the file cannot be made; its folder is made if need be */
  static async create(path: string, channels: 1 | 2): Promise<WavWriter> {
    await makeFolder(dirname(path));
    const file = await open(path, 'w');
    try {
      await file.write(header(channels, 0), 0, HEADER, 0);
    } catch (error) {
      await file.close();
      throw error;
    }
    return new WavWriter(file, channels);
  }

  private constructor(file: FileHandle, channels: 1 | 2) {
    this.#file = file;
    this.channels = channels;
  }

  /** What has gone wrong with the file, once something has: there will be no more in it. */
  get failure(): unknown {
    return this.#failure;
  }

  /** Samples, of stereo left and right in turn. */
  add(samples: Int16Array): void {
    if (this.#failure !== undefined || this.#closing) return;
    let at = 0;
    while (at < samples.length) {
      const part = samples.subarray(at, at + CHUNK - this.#filled);
      this.#chunk.set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
      if (this.#filled === CHUNK) this.#flush();
    }
  }

  /**
   * Writes what is left and the header. @returns what is in the file
   * @throws Error when the file is not whole
   */
  close(): Promise<Written> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<Written> {
    this.#flush();
    await this.#writing;
    try {
      if (this.#bytes > 0) await this.#file.write(header(this.channels, this.#bytes), 0, HEADER, 0);
    } catch (error) {
      this.#failure ??= error;
    }
    await this.#file.close();
    if (this.#failure !== undefined) throw this.#failure;
    return { samples: this.#bytes / 2 / this.channels, bytes: HEADER + this.#bytes };
  }

  #flush(): void {
    if (this.#filled === 0) return;
    if (this.#waiting >= MAX_WAITING) {
      this.#failure ??= new Error('the disk is too slow for the recording');
      return;
    }
    const chunk = this.#chunk;
    const bytes = Buffer.from(chunk.buffer, 0, this.#filled * 2);
    this.#chunk = new Int16Array(CHUNK);
    this.#filled = 0;
    this.#waiting++;
    this.#writing = this.#writing.then(async () => {
      try {
        if (this.#failure === undefined) {
          await this.#file.write(bytes, 0, bytes.length, HEADER + this.#bytes);
          this.#bytes += bytes.length;
        }
      } catch (error) {
        this.#failure ??= error;
      }
      this.#waiting--;
    });
  }
}

/**
 * Makes a folder and those above it. Node's own recursive way spins for ever where the system makes none, as
 * in /proc.
 */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT' || dirname(path) === '/') throw error;
    await makeFolder(dirname(path));
    await mkdir(path).catch((again: unknown) => {
      if (!(again instanceof Error && 'code' in again && again.code === 'EEXIST')) throw again;
    });
  }
}

function header(channels: number, bytes: number): Buffer {
  const data = Buffer.alloc(HEADER);
  data.write('RIFF', 0);
  data.writeUInt32LE(HEADER - 8 + bytes, 4);
  data.write('WAVEfmt ', 8);
  data.writeUInt32LE(16, 16);
  data.writeUInt16LE(1, 20);
  data.writeUInt16LE(channels, 22);
  data.writeUInt32LE(8000, 24);
  data.writeUInt32LE(8000 * channels * 2, 28);
  data.writeUInt16LE(channels * 2, 32);
  data.writeUInt16LE(16, 34);
  data.write('data', 36);
  data.writeUInt32LE(bytes, 40);
  return data;
}

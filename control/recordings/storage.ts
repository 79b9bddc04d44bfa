import type { Readable } from 'node:stream';
import type { StorageType } from './recording.ts';

/** Bytes from `start` to `end`, both counted. */
export interface ByteRange {
  start: number;
  end: number;
}

/** Where finished recordings are kept. Keys are of our making: letters, digits, `._-` and `/`. */
export interface Storage {
  readonly type: StorageType;
  /**
   * Takes a file over under a key; doing it again is harmless. Afterwards the file may be gone or still be
   * there.
   * @throws MissingFile where there is no such file; anything else may pass
   */
  put(key: string, file: string, about: { sizeBytes: number; sha256: string }): Promise<void>;
  /** How many bytes are kept under a key, or undefined where nothing is. */
  size(key: string): Promise<number | undefined>;
  /** Opens what is kept under a key. @throws MissingFile */
  read(key: string, range: ByteRange): Promise<Readable>;
  /** Deletes what is kept under a key; nothing there is as good. */
  delete(key: string): Promise<void>;
}

/** What was to be read is not there, as opposed to not being reachable. */
export class MissingFile extends Error {
  constructor(what: string, cause?: unknown) {
    super(`${what} is not there`, { cause });
    this.name = 'MissingFile';
  }
}

export const isMissing = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT';

import { randomUUID } from 'node:crypto';
import { chmod, mkdir, readdir, rename, rm, stat, unlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../lib/logger.ts';

export interface FileCacheOptions {
  folder: string;
  /** What the files together may take, in bytes. */
  maxBytes: number;
  logger: Logger;
  /** A file used less than this long ago, in ms, is never deleted: a media node may be about to play it. */
  keepMs?: number;
  /** Milliseconds since the epoch. */
  now?: () => number;
}

/** A file's time is brought up to date when it is older than this, in ms. */
const TOUCH_MS = 30_000;

/**
 * Files made once and used often. A file's modification time is when it was last used, so that the least
 * recently used go first even when several processes share the folder; a file appears whole or not at all.
 */
export class FileCache {
  readonly #options: Required<FileCacheOptions>;
  /** An estimate between two looks at the folder; undefined before the first. */
  #bytes: number | undefined;
  #sweeping: Promise<void> | undefined;

  constructor(options: FileCacheOptions) {
    this.#options = { keepMs: 10 * 60_000, now: Date.now, ...options };
  }

  /** Path of the file, and marks it as used; undefined when there is none. */
  async find(name: string): Promise<string | undefined> {
    const path = join(this.#options.folder, name);
    try {
      const { mtimeMs, size } = await stat(path);
      if (size === 0) return undefined;
      const now = this.#options.now();
      if (now - mtimeMs > TOUCH_MS) await utimes(path, now / 1000, now / 1000);
      return path;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** Writes the file, readable by everybody on this machine, and resolves with its path. */
  async put(name: string, data: Buffer): Promise<string> {
    const { folder, maxBytes, now, logger } = this.#options;
    const path = join(folder, name);
    const unfinished = join(folder, `.${name}.${randomUUID()}.tmp`);
    // The media nodes run as somebody else, and our own umask may be a strict one.
    if (await mkdir(folder, { recursive: true })) await chmod(folder, 0o755);
    try {
      await writeFile(unfinished, data);
      await chmod(unfinished, 0o644);
      await utimes(unfinished, now() / 1000, now() / 1000);
      await rename(unfinished, path);
    } catch (error) {
      await rm(unfinished, { force: true });
      throw error;
    }
    if (this.#bytes !== undefined) this.#bytes += data.length;
    if (this.#bytes === undefined || this.#bytes > maxBytes) {
      await this.sweep().catch((error: unknown) =>
        logger.warn({ err: error, folder }, 'old files could not be deleted'),
      );
    }
    return path;
  }

  /**
   * Deletes the least recently used files until the rest fits, and what a killed process has left half
   * written.
   */
  sweep(): Promise<void> {
    this.#sweeping ??= this.#sweep().finally(() => (this.#sweeping = undefined));
    return this.#sweeping;
  }

  async #sweep(): Promise<void> {
    const { folder, maxBytes, keepMs, now } = this.#options;
    const files: { path: string; size: number; usedAt: number }[] = [];
    for (const name of await readdir(folder)) {
      const path = join(folder, name);
      const found = await stat(path).catch(() => undefined);
      if (found?.isFile()) files.push({ path, size: found.size, usedAt: found.mtimeMs });
    }
    files.sort((a, b) => a.usedAt - b.usedAt);
    let bytes = files.reduce((sum, file) => sum + file.size, 0);
    // Below the limit by a tenth, so that a full cache is not looked through with every new file.
    const enough = bytes > maxBytes ? 0.9 * maxBytes : maxBytes;
    for (const { path, size, usedAt } of files) {
      if (usedAt > now() - keepMs) break;
      if (bytes <= enough && !path.endsWith('.tmp')) continue;
      await unlink(path).catch((error: unknown) => {
        if (!isMissing(error)) throw error;
      });
      bytes -= size;
    }
    this.#bytes = bytes;
  }
}

const isMissing = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT';

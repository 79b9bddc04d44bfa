import { copyFile, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { isMissing, MissingFile, type ByteRange, type Storage } from './storage.ts';

/** A folder of this machine, or one that all control processes share. */
export class LocalStorage implements Storage {
  readonly type = 'local';
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async put(key: string, file: string): Promise<void> {
    const target = join(this.#folder, key);
    await mkdir(dirname(target), { recursive: true });
    await move(file, target).catch((error: unknown) => {
      throw isMissing(error) ? new MissingFile(file, error) : error;
    });
  }

  async size(key: string): Promise<number | undefined> {
    try {
      return (await stat(join(this.#folder, key))).size;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async read(key: string, { start, end }: ByteRange): Promise<Readable> {
    try {
      const file = await open(join(this.#folder, key), 'r');
      return file.createReadStream({ start, end });
    } catch (error) {
      throw isMissing(error) ? new MissingFile(key, error) : error;
    }
  }

  async delete(key: string): Promise<void> {
    await rm(join(this.#folder, key), { force: true });
  }
}

/** Within one file system by a rename; across two the target appears whole or not at all, and on disk. */
async function move(file: string, target: string): Promise<void> {
  try {
    await rename(file, target);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EXDEV')) throw error;
    const part = `${target}.part`;
    await copyFile(file, part);
    const copy = await open(part, 'r+');
    await copy.sync().finally(() => copy.close());
    await rename(part, target);
  }
}

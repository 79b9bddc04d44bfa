import { closeSync, openSync, renameSync, fstatSync, writeSync } from 'node:fs';

/**
 * The log of one part: `name.log`, and `name.log.1` … when it has grown. Every line gets a time, except those
 * that are JSON and bring their own.
 */
export class RotatingLog {
  readonly file: string;
  readonly #limit: number;
  readonly #kept: number;
  readonly #now: () => Date;
  #fd: number;
  #size: number;
  #rest = '';
  /** The last lines, for the sentence that says why a part did not come up. */
  readonly #tail: string[] = [];

  /** @param limit bytes after which a new file is begun; `kept` old ones stay. */
  constructor(file: string, options: { limit?: number; kept?: number; now?: () => Date } = {}) {
    this.file = file;
    this.#limit = options.limit ?? 10 * 1024 * 1024;
    this.#kept = options.kept ?? 3;
    this.#now = options.now ?? (() => new Date());
    this.#fd = openSync(file, 'a', 0o600);
    this.#size = fstatSync(this.#fd).size;
  }

  write(chunk: string): void {
    const lines = (this.#rest + chunk).split('\n');
    this.#rest = lines.pop() ?? '';
    // A part that never ends its line must not fill the memory.
    if (this.#rest.length > 65536) (lines.push(this.#rest.slice(0, 65536)), (this.#rest = ''));
    if (lines.length === 0) return;
    this.#tail.push(...lines.filter((line) => line.trim() !== ''));
    this.#tail.splice(0, this.#tail.length - 50);
    const time = this.#now().toISOString();
    const text = lines.map((line) => (line.startsWith('{') ? line : `${time} ${line}`) + '\n').join('');
    if (this.#size + text.length > this.#limit && this.#size > 0) this.#rotate();
    this.#size += writeSync(this.#fd, text);
  }

  tail(count: number): string {
    return [...this.#tail, ...(this.#rest === '' ? [] : [this.#rest])].slice(-count).join('\n');
  }

  close(): void {
    if (this.#rest !== '') this.write('\n');
    closeSync(this.#fd);
  }

  #rotate(): void {
    closeSync(this.#fd);
    for (let n = this.#kept; n > 0; n--) {
      try {
        renameSync(n === 1 ? this.file : `${this.file}.${n - 1}`, `${this.file}.${n}`);
      } catch {
        // There is no such old one yet.
      }
    }
    this.#fd = openSync(this.file, 'a', 0o600);
    this.#size = 0;
  }
}

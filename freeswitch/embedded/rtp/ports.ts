/** Hands out the even ports of a range in turn, so that a port just freed rests before it is used again. */
export class PortRange {
  readonly #first: number;
  readonly #count: number;
  readonly #used = new Set<number>();
  #next = 0;

  /** @param end last port, inclusive */
  constructor(start: number, end: number) {
    this.#first = start + (start % 2);
    this.#count = Math.max(0, Math.floor((end - this.#first) / 2) + 1);
  }

  get size(): number {
    return this.#count;
  }

  get used(): number {
    return this.#used.size;
  }

  /** @returns undefined when all are taken. */
  take(): number | undefined {
    for (let tried = 0; tried < this.#count; tried++) {
      const port = this.#first + 2 * this.#next;
      this.#next = (this.#next + 1) % this.#count;
      if (this.#used.has(port)) continue;
      this.#used.add(port);
      return port;
    }
    return undefined;
  }

  release(port: number): void {
    this.#used.delete(port);
  }
}

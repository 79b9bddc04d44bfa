/** Work by key: what has the same key is done one after the other, in the order in which it was asked for. */
export class Turns {
  /** The end of the work that was asked for last, by key. */
  readonly #last = new Map<string, Promise<unknown>>();

  /** Keys of which something is being done, or waits. */
  get size(): number {
    return this.#last.size;
  }

  /** Whether something of this key is being done, or waits. */
  has(key: string): boolean {
    return this.#last.has(key);
  }

  /** Does the work when all is done that was asked for before it, well or not. @returns what it comes to */
  take<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key);
    const turn = (async () => {
      await before?.catch(() => undefined);
      return work();
    })();
    this.#last.set(key, turn);
    const done = (): void => {
      if (this.#last.get(key) === turn) this.#last.delete(key);
    };
    turn.then(done, done);
    return turn;
  }
}

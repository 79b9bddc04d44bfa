/** Waiting for conditions instead of sleeping: every change is announced, and every wait has a bound. */
export class Watched {
  #waits = new Map<() => void, (why: Error) => void>();

  /** Tells everybody who waits that something has changed. */
  changed(): void {
    for (const check of [...this.#waits.keys()]) check();
  }

  /** Ends all waits with an error: nothing will change any more. */
  abandon(why: string): void {
    for (const fail of [...this.#waits.values()]) fail(new Error(why));
  }

  /**
   * Resolves with the first value of `look` that is not undefined; `look` may throw to end the wait.
   * @param what names the condition in the error, in words; a function is asked when the time is up.
   * @throws Error after `timeoutMs`.
   */
  async until<T>(look: () => T | undefined, what: string | (() => string), timeoutMs = 10_000): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const settle = (act: () => void): void => {
        clearTimeout(timer);
        this.#waits.delete(check);
        act();
      };
      const fail = (why: unknown): void =>
        settle(() => reject(why instanceof Error ? why : new Error(String(why))));
      const check = (): void => {
        try {
          const value = look();
          if (value !== undefined) settle(() => resolve(value));
        } catch (error) {
          fail(error);
        }
      };
      const timer = setTimeout(
        () =>
          fail(new Error(`waited ${timeoutMs} ms in vain for ${typeof what === 'string' ? what : what()}`)),
        timeoutMs,
      );
      this.#waits.set(check, fail);
      check();
    });
  }
}

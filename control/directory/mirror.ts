/** What has been written lately, and when to look from the next time. */
export interface Recent<T> {
  items: T[];
  next: Date;
}

/** Where one kind of object is read from: its room's store. */
export interface Source<T> {
  /** All of them, at once or in pages. */
  loadAll(): Promise<T[]> | AsyncIterable<T[]>;
  get(id: string): Promise<T | undefined>;
  /** Those written since then; without a time none, but the time to begin with. */
  writtenSince?(since: Date | undefined): Promise<Recent<T>>;
}

/** Told of every object that takes another's place, is new (no `before`) or is gone (no `now`). */
export type OnReplaced<T> = (before: T | undefined, now: T | undefined) => void;

/**
 * One kind of object in memory, as the database has it. It is read in passes of a page at a time, so that a
 * large table stops nobody; what a whole pass has not met is gone. Its methods must not overlap: see
 * Directory.
 */
export class Mirror<T extends { readonly id: string }> {
  readonly #source: Source<T>;
  readonly #replaced: OnReplaced<T>;
  readonly #kept = new Map<string, { item: T; pass: number }>();
  #pass = 0;
  #pages: AsyncIterator<T[]> | undefined;
  #since: Date | undefined;

  constructor(source: Source<T>, replaced: OnReplaced<T> = () => undefined) {
    this.#source = source;
    this.#replaced = replaced;
  }

  get size(): number {
    return this.#kept.size;
  }

  get(id: string): T | undefined {
    return this.#kept.get(id)?.item;
  }

  *values(): IterableIterator<T> {
    for (const { item } of this.#kept.values()) yield item;
  }

  put(item: T): void {
    const kept = this.#kept.get(item.id);
    const before = kept?.item;
    if (kept) Object.assign(kept, { item, pass: this.#pass });
    else this.#kept.set(item.id, { item, pass: this.#pass });
    this.#replaced(before, item);
  }

  remove(id: string): void {
    const before = this.#kept.get(id);
    if (!before) return;
    this.#kept.delete(id);
    this.#replaced(before.item, undefined);
  }

  async refresh(id: string): Promise<void> {
    const item = await this.#source.get(id);
    if (item) this.put(item);
    else this.remove(id);
  }

  /** Begins a pass from the first page; one that is under way is given up. */
  restart(): void {
    this.#pages = undefined;
  }

  /** Reads the next page. @returns whether it was the last one of its pass */
  async nextPage(): Promise<boolean> {
    if (!this.#pages) {
      // What is written while the pass is under way is looked for after it.
      this.#since ??= (await this.#source.writtenSince?.(undefined))?.next;
      this.#pass++;
      this.#pages = pagesOf(this.#source.loadAll());
    }
    try {
      const page = await this.#pages.next();
      if (!page.done) {
        for (const item of page.value) this.put(item);
        return false;
      }
    } catch (error) {
      this.#pages = undefined;
      throw error;
    }
    this.#pages = undefined;
    for (const [id, { pass }] of this.#kept) if (pass !== this.#pass) this.remove(id);
    return true;
  }

  /** Reads what has been written since the last time. */
  async recent(): Promise<void> {
    if (!this.#source.writtenSince) return;
    const { items, next } = await this.#source.writtenSince(this.#since);
    for (const item of items) this.put(item);
    this.#since = next;
  }
}

async function* pagesOf<T>(all: Promise<T[]> | AsyncIterable<T[]>): AsyncGenerator<T[]> {
  if (Symbol.asyncIterator in all) yield* all;
  else yield await all;
}

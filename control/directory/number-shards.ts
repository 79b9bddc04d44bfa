import type { RoutedDid } from '../dids/schema.ts';

/** Numbers are kept, compared and pushed in so many parts: a million make some 250 each. */
export const SHARDS = 4096;

/**
 * The part a number belongs to: the same in every process. Numbers that follow each other are spread evenly.
 */
export const shardOf = (number: string): number => Math.imul(Number(number.slice(-9)) | 0, 0x9e3779b1) >>> 20;

/** Phone numbers in memory, by number. */
export class NumberShards {
  readonly #shards: Map<string, RoutedDid>[] = Array.from(
    { length: SHARDS },
    () => new Map<string, RoutedDid>(),
  );

  get(number: string): RoutedDid | undefined {
    return this.#shards[shardOf(number)]?.get(number);
  }

  set(did: RoutedDid): void {
    this.#shards[shardOf(did.number)]?.set(did.number, did);
  }

  delete(number: string): void {
    this.#shards[shardOf(number)]?.delete(number);
  }

  of(shard: number): ReadonlyMap<string, RoutedDid> {
    return this.#shards[shard] ?? new Map<string, RoutedDid>();
  }

  *values(): IterableIterator<RoutedDid> {
    for (const shard of this.#shards) yield* shard.values();
  }
}

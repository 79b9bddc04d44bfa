/**
 * How much of something may be done: so many a second, and so many at once after a while of doing nothing.
 */
export interface Allowance {
  /** 0: no limit. */
  perSecond: number;
  atOnce: number;
}

/**
 * More than this many are not remembered; who was heard of longest ago is forgotten first, and begins anew.
 */
const MOST_REMEMBERED = 20_000;

/** Token buckets by name, in the memory of this process. */
export class Buckets {
  readonly #allowance: Allowance;
  readonly #now: () => number;
  readonly #most: number;
  readonly #buckets = new Map<string, { tokens: number; at: number }>();

  /** @param now milliseconds of any clock */
  constructor(allowance: Allowance, options: { now?: () => number; most?: number } = {}) {
    this.#allowance = allowance;
    this.#now = options.now ?? (() => performance.now());
    this.#most = options.most ?? MOST_REMEMBERED;
  }

  /** How many names are remembered. */
  get size(): number {
    return this.#buckets.size;
  }

  /** Takes one. Returns 0, or the seconds until there is one to take. */
  take(name: string): number {
    const { perSecond } = this.#allowance;
    if (perSecond === 0) return 0;
    const tokens = this.#tokens(name);
    const taken = tokens >= 1;
    this.#buckets.delete(name); // the newest stand last
    this.#buckets.set(name, { tokens: taken ? tokens - 1 : tokens, at: this.#now() });
    const [oldest] = this.#buckets.size > this.#most ? this.#buckets.keys() : [];
    if (oldest !== undefined) this.#buckets.delete(oldest);
    return taken ? 0 : (1 - tokens) / perSecond;
  }

  /** The same without taking any. */
  wait(name: string): number {
    const { perSecond } = this.#allowance;
    return perSecond === 0 || !this.#buckets.has(name)
      ? 0
      : Math.max(0, (1 - this.#tokens(name)) / perSecond);
  }

  #tokens(name: string): number {
    const { perSecond, atOnce } = this.#allowance;
    const bucket = this.#buckets.get(name);
    if (!bucket) return atOnce;
    // A clock that was set back takes nothing away.
    const elapsedMs = Math.max(0, this.#now() - bucket.at);
    return Math.min(atOnce, bucket.tokens + (elapsedMs / 1000) * perSecond);
  }
}

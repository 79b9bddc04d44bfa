import type { Direction, Rate } from './rate.ts';

const LONGEST_PREFIX = 16;

/**
 * The active rates in memory, so that no call waits for SQL to learn its price. A customer's own rates are
 * looked at first, the default table only where none of them matches; within each the longest prefix wins,
 * and among rates of the same prefix the one that has become valid last. Rates of another currency than the
 * customer's do not exist for it.
 */
export class RateTable {
  readonly #rates = new Map<string, Rate>();
  /** By owner, direction and currency, then by prefix; newest validity first. */
  readonly #tables = new Map<string, Map<string, Rate[]>>();
  /** Known, and of no price to anybody. */
  readonly #inactive = new Set<string>();

  /** How many rates are known, inactive ones included. */
  get size(): number {
    return this.#rates.size + this.#inactive.size;
  }

  /** What a rate is now, or undefined where it is no more. */
  put(id: string, rate: Rate | undefined): void {
    const old = this.#rates.get(id);
    if (old) {
      this.#rates.delete(id);
      const table = this.#tables.get(tableOf(old.customerId, old.direction, old.currency));
      const left = (table?.get(old.prefix) ?? []).filter((other) => other.id !== id);
      if (left.length > 0) table?.set(old.prefix, left);
      else table?.delete(old.prefix);
    }
    this.#inactive.delete(id);
    if (rate && !rate.isActive) this.#inactive.add(id);
    if (!rate?.isActive) return;
    this.#rates.set(id, rate);
    const key = tableOf(rate.customerId, rate.direction, rate.currency);
    const table = this.#tables.get(key) ?? new Map<string, Rate[]>();
    this.#tables.set(key, table);
    table.set(
      rate.prefix,
      [...(table.get(rate.prefix) ?? []), rate].sort((a, b) => validity(b) - validity(a)),
    );
  }

  find(
    customer: { id: string; currency: string },
    direction: Direction,
    number: string,
    now: Date,
  ): Rate | undefined {
    for (const owner of [customer.id, undefined]) {
      const table = this.#tables.get(tableOf(owner, direction, customer.currency));
      if (!table) continue;
      for (let length = Math.min(number.length, LONGEST_PREFIX); length > 0; length--) {
        const rate = table.get(number.slice(0, length))?.find((one) => validity(one) <= now.getTime());
        if (rate) return rate;
      }
    }
    return undefined;
  }
}

const tableOf = (customerId: string | undefined, direction: Direction, currency: string): string =>
  `${customerId ?? ''} ${direction} ${currency}`;
const validity = (rate: Rate): number => rate.validFrom?.getTime() ?? 0;

import { ApiError } from '../lib/errors.ts';
import { parseMicros } from '../lib/money.ts';

/** What a customer allows itself; amounts are decimal strings in its currency. */
interface SpendRules {
  readonly daily?: string;
  readonly monthly?: string;
  readonly maxPricePerMinute?: string;
  readonly allowedPrefixes?: readonly string[];
  readonly blockedPrefixes?: readonly string[];
}

const startsWithAny = (number: string, prefixes: readonly string[]): boolean =>
  prefixes.some((prefix) => number.startsWith(prefix));

/**
 * The rules that a single call can be held against before any money moves. A blocked prefix wins over an
 * allowed one; an empty list of allowed prefixes is no rule.
 * @param pricePerMinuteMicros of the call's rate, where there is one
 * @throws ApiError `spend_control_exceeded`, with the rule in its details
 */
export function checkSpendRules(
  spend: SpendRules,
  number: string,
  pricePerMinuteMicros: bigint | undefined,
): void {
  if (startsWithAny(number, spend.blockedPrefixes ?? []))
    throw exceeded('spend.blocked_prefixes', `${number} has a blocked prefix`);
  const allowed = spend.allowedPrefixes ?? [];
  if (allowed.length > 0 && !startsWithAny(number, allowed))
    throw exceeded('spend.allowed_prefixes', `${number} has none of the allowed prefixes`);
  if (
    spend.maxPricePerMinute !== undefined &&
    pricePerMinuteMicros !== undefined &&
    pricePerMinuteMicros > parseMicros(spend.maxPricePerMinute)
  ) {
    throw exceeded(
      'spend.max_price_per_minute',
      `a minute to ${number} costs more than ${spend.maxPricePerMinute}`,
    );
  }
}

/** The refusal when the cap of a day or a month is reached. */
export const capReached = (cap: 'daily' | 'monthly'): ApiError =>
  exceeded(`spend.${cap}`, `the ${cap} spend limit does not allow another call`);

const exceeded = (path: string, message: string): ApiError =>
  new ApiError('spend_control_exceeded', undefined, { details: [{ path, message }] });

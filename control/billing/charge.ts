/** What makes the price of a call. Amounts are micro-units of the rate's currency. */
export interface Tariff {
  /** Per minute. */
  readonly priceMicros: bigint;
  /** Once, when the call is answered. */
  readonly feeMicros: bigint;
  readonly minimumSeconds: number;
  /** At least 1. */
  readonly incrementSeconds: number;
}

/** The seconds that are paid for: at least the minimum, and whole increments. */
export const paidSeconds = ({ minimumSeconds, incrementSeconds }: Tariff, billsec: number): number =>
  Math.ceil(Math.max(billsec, minimumSeconds) / incrementSeconds) * incrementSeconds;

/** What an answered call of so many seconds costs (contract §7): fee and time, rounded up to a micro-unit. */
export function chargeOf(tariff: Tariff, billsec: number): bigint {
  const sixtieths = tariff.priceMicros * BigInt(paidSeconds(tariff, billsec));
  return tariff.feeMicros + (sixtieths + 59n) / 60n;
}

/**
 * How far so many micro-units more carry a call that is paid for until `from`: at most to `to`, in whole
 * increments.
 * @param from seconds, as paidSeconds gives them
 */
export function affordableSeconds(tariff: Tariff, from: number, to: number, micros: bigint): number {
  if (tariff.priceMicros === 0n) return to;
  const forTime = chargeOf(tariff, from) - tariff.feeMicros + micros;
  const seconds = (forTime * 60n) / tariff.priceMicros;
  if (seconds >= BigInt(to)) return to;
  return Math.max(from, Math.floor(Number(seconds) / tariff.incrementSeconds) * tariff.incrementSeconds);
}

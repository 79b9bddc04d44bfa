/**
 * Micro-units (1/1,000,000 of the currency) as the decimal string of the API: at least two decimals, no
 * trailing zeros after them.
 */
export function formatMicros(micros: bigint): string {
  const sign = micros < 0n ? '-' : '';
  const absolute = micros < 0n ? -micros : micros;
  const decimals = String(absolute % 1_000_000n)
    .padStart(6, '0')
    .replace(/0{1,4}$/, '');
  return `${sign}${absolute / 1_000_000n}.${decimals}`;
}

/**
 * The micro-units of a decimal string with at most six decimals.
 * @throws RangeError for any other text: check it first
 */
export function parseMicros(text: string): bigint {
  const match = /^(-?)(\d+)(?:\.(\d{1,6}))?$/.exec(text);
  if (!match) throw new RangeError('not a decimal with at most six decimals');
  const [, sign, whole = '', decimals = ''] = match;
  const micros = BigInt(whole) * 1_000_000n + BigInt(decimals.padEnd(6, '0'));
  return sign ? -micros : micros;
}

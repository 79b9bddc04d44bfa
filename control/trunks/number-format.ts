import { getCountryCallingCode, isSupportedCountry, parsePhoneNumberFromString } from 'libphonenumber-js/max';
import type { Trunk } from './schema.ts';

/** The calling code of a country without its plus sign, `''` where there is none to be known. */
export const callingCodeOf = (country: string | undefined): string =>
  country !== undefined && isSupportedCountry(country) ? getCountryCallingCode(country) : '';

/**
 * An E.164 number as a trunk wants it written: with its plus sign, without, or as it is dialled in the
 * trunk's country, with the prefixes of that country. A number no plan knows is dialled like a foreign one,
 * which works at home, too.
 */
export function writtenFor(
  { numberFormat, country }: Pick<Trunk, 'numberFormat' | 'country'>,
  number: string,
): string {
  if (numberFormat === 'e164' || !number.startsWith('+')) return number;
  if (numberFormat === 'plus_less') return number.slice(1);
  const parsed = parsePhoneNumberFromString(number);
  if (!parsed || country === undefined || !isSupportedCountry(country)) return `00${number.slice(1)}`;
  const home = parsed.isValid() && parsed.countryCallingCode === callingCodeOf(country);
  const dialled = home ? parsed.formatNational() : parsed.format('IDD', { fromCountry: country });
  // Prefixes may have a second dialling tone in them (8~10), and some countries have no one prefix.
  return (dialled || `00${number.slice(1)}`).replaceAll(/\D/g, '');
}

import type { ErrorDetail } from './errors.ts';
import { pathOf } from './zod-path.ts';

/** Deeper, and wider, than anything that we are sent. */
const DEEPEST = 32;
const MOST_VALUES = 50_000;

/** An object or a list that is open at some place of the text. */
interface Level {
  list: boolean;
  /** The name or the number of what comes next. */
  at: string | number;
  /** Whether the next string is a name. */
  naming: boolean;
}

const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*|true|false|null|[{}[\],:]/g;

/**
 * What of a valid JSON text would not be the same any more when it comes back, or would take code that walks
 * through it too long or too deep: the first problem with its place, if there is one. JSON.parse tells
 * neither how a number was written nor that a name is missing.
 */
export function inspectJson(text: string): ErrorDetail | undefined {
  const levels: Level[] = [];
  let values = 0;
  const problem = (message: string): ErrorDetail => ({
    path: pathOf(levels.map(({ at }) => at)).slice(0, 200),
    message,
  });
  for (const [token] of text.matchAll(TOKENS)) {
    const level = levels.at(-1);
    switch (token[0]) {
      case ':':
        continue;
      case ',':
        if (level?.list) level.at = Number(level.at) + 1;
        else if (level) level.naming = true;
        continue;
      case '}':
      case ']':
        levels.pop();
        continue;
      case '"':
        if (level?.naming) {
          level.at = stringOf(token);
          level.naming = false;
          if (!isWhole(level.at)) return problem('is a name that must be of whole Unicode characters');
          if (level.at === '__proto__') return problem('is a name that cannot be used');
          continue;
        }
        if (token.includes('\\u') && !isWhole(stringOf(token)))
          return problem('must be of whole Unicode characters');
        break;
      case '{':
      case '[':
        if (levels.length === DEEPEST)
          return { path: '', message: `must not be nested deeper than ${DEEPEST} levels` };
        levels.push({ list: token === '[', at: token === '[' ? 0 : '', naming: token === '{' });
        break;
      case 't':
      case 'f':
      case 'n':
        break;
      default:
        if (!isExact(token))
          return problem('is a number that cannot be kept as it is written: send it as a string');
    }
    if (++values > MOST_VALUES) return { path: '', message: `must not hold more than ${MOST_VALUES} values` };
  }
  return undefined;
}

const stringOf = (token: string): string => JSON.parse(token) as string;

/** Half a surrogate pair is no character: neither the database nor the receiver of an event takes it. */
const isWhole = (text: string): boolean => !/\p{Surrogate}/u.test(text);

/**
 * Whether a number has the same value after it was read as a double (RFC 8259 §6). Fifteen digits always
 * have.
 */
function isExact(token: string): boolean {
  if (token.length <= 15 && !/e/i.test(token)) return true;
  const value = Number(token);
  return Number.isFinite(value) && significant(token) === significant(String(value));
}

/** Sign, digits and exponent, in the one form that equal numbers share. */
function significant(number: string): string {
  const [, sign = '', whole = '', decimals = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/i.exec(number) ?? [];
  const digits = (whole + decimals).replace(/^0+/, '');
  const trimmed = digits.replace(/0+$/, '');
  if (trimmed === '') return '0';
  return `${sign}${trimmed}e${BigInt(exponent) - BigInt(decimals.length) + BigInt(digits.length - trimmed.length)}`;
}

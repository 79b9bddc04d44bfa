import { z } from 'zod';
import { E164 } from '../lib/e164.ts';

/** Whether there is anything to see: not white space, controls and characters of no width alone. */
export const isVisible = (text: string): boolean => /[^\p{C}\p{Z}]/u.test(text);

/** A phone number in a body. */
export const e164 = z.string().regex(E164, 'must be an E.164 number with its plus sign');

/** What something is called by people: it must be there for them to see. */
export const displayName = z
  .string()
  .trim()
  .min(1, 'must not be empty')
  .max(200)
  .refine(isVisible, 'must not be empty');

const TIME = 'must be an RFC 3339 time such as 2026-05-01T00:00:00Z';
/** What databases can hold and compare. */
const FIRST = Date.UTC(1970, 0, 1);
const AFTER_LAST = Date.UTC(9999, 0, 1);

const asInstant = (text: string, context: z.RefinementCtx): Date => {
  const at = new Date(text);
  if (at.getTime() >= FIRST && at.getTime() < AFTER_LAST) return at;
  context.addIssue({ code: 'custom', message: 'must be a time from 1970 to 9998' });
  return z.NEVER;
};

/** A time in a body, with or without an offset. */
export const instant = z.iso
  .datetime({ offset: true, error: TIME })
  .transform(asInstant)
  .meta({ format: 'date-time' });

/** A plus sign in a query is a space by the time it is read, unless it was written as %2B. */
const withPlus = (value: unknown): unknown =>
  typeof value === 'string' ? value.replace(/^ (?=\d)/, '+').replace(/ (?=\d\d:\d\d$)/, '+') : value;

/** A time in a query. */
export const queryInstant = z
  .preprocess(
    withPlus,
    z.iso
      .datetime({ offset: true, error: `${TIME}; in a URL the + of an offset is written %2B` })
      .transform(asInstant),
  )
  .meta({ type: 'string', format: 'date-time' });

/**
 * A number as it comes in a URL: with its plus sign however that was written, or without. Anything else
 * stays.
 */
export function numberIn(value: unknown): unknown {
  const text = withPlus(value);
  return typeof text === 'string' && /^[1-9]\d{6,14}$/.test(text) ? `+${text}` : text;
}

/** A number in a query. */
export const queryNumber = z
  .preprocess(
    numberIn,
    z.string().regex(E164, 'must be an E.164 number; in a URL its plus sign is written %2B'),
  )
  .meta({ type: 'string' });

const callerName = z
  .string()
  .max(255)
  .refine((text) => /^(?!\+)[^\s\p{Cc}\p{Surrogate}]+$/u.test(text));
/** A caller in a query: a number, or what stands in its place (`anonymous`, an extension, a name). */
export const queryCaller = z
  .union([queryNumber, callerName], {
    error:
      'must be an E.164 number, or what a caller without one is called; in a URL the plus sign is written %2B',
  })
  .meta({ type: 'string' });

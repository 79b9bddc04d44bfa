import { z } from 'zod';

/**
 * A URL of the customer's. Where it may lead is checked when it is fetched, by the address it resolves to.
 */
export const httpUrl = z
  .string()
  .max(2048)
  .refine((value) => {
    return URL.canParse(value) && /^https?:$/.test(new URL(value).protocol);
  }, 'must be an http or https URL')
  .meta({ format: 'uri' });

/** The codes an inbound call can be refused with (contract §2). */
const REFUSALS = [403, 404, 480, 486, 603] as const;
export const refusalCode = z.literal(REFUSALS).meta({ type: 'integer', enum: [...REFUSALS] });

/** Half a surrogate pair is no character: neither a database nor a webhook's receiver would take it. */
const whole = (value: string): boolean => !/\p{Surrogate}/u.test(value);
const BROKEN = 'must be whole Unicode characters';

/** What is to be spoken. */
export const speech = z.string().trim().min(1).max(4000).refine(whole, BROKEN);

/** The value of a call's variable. */
export const variableValue = z.string().max(4096).refine(whole, BROKEN);

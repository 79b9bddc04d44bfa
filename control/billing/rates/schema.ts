import { z } from 'zod';
import { idField } from '../../http/endpoint.ts';
import { pageQuery } from '../../http/pagination.ts';
import { formatMicros } from '../../lib/money.ts';
import { rfc3339 } from '../../lib/time.ts';
import type { Rate } from './rate.ts';

const MOST_SECONDS = 86_400;

const price = z
  .string()
  .regex(/^\d{1,6}(\.\d{1,6})?$/, 'must be a decimal string such as "0.105", with at most six decimals');
const seconds = z.int().min(0).max(MOST_SECONDS);
const direction = z.enum(['outbound', 'inbound']);
const prefix = z
  .string()
  .regex(/^\+[1-9]\d{0,14}$/, 'must be the start of an E.164 number with its plus sign');
const currency = z.string().regex(/^[A-Z]{3}$/, 'must be an ISO 4217 code such as EUR');
// What a database can hold, and after "always", which is 1970 there.
const instant = z.iso
  .datetime({ offset: true, abort: true, error: 'must be an RFC 3339 time such as 2026-05-01T00:00:00Z' })
  .refine((text) => text >= '1971' && text < '9999', 'must be a time from 1971 on');

const fields = {
  direction: direction.describe('`inbound` rates are for calls to numbers of ours'),
  prefix: prefix.describe('the longest one that a number starts with wins'),
  price_per_minute: price,
  connection_fee: price.describe('once, when the call is answered'),
  minimum_seconds: seconds.describe('a shorter call is paid for like one of this length'),
  increment_seconds: seconds.min(1).describe('time is paid for in whole increments'),
  currency: currency.describe(
    "a rate is for customers of the same currency; the customer's own, or EUR, when left out",
  ),
  valid_from: instant.describe(
    'of several rates with one prefix, the one that became valid last is in force',
  ),
  is_active: z.boolean(),
};

export const rateCreate = z
  .strictObject({
    customer_id: idField
      .optional()
      .describe("a rate of this customer's own, which comes before the default table"),
    direction: fields.direction.default('outbound'),
    prefix: fields.prefix,
    price_per_minute: fields.price_per_minute,
    connection_fee: fields.connection_fee.default('0'),
    minimum_seconds: fields.minimum_seconds.default(0),
    increment_seconds: fields.increment_seconds.default(1),
    currency: fields.currency.optional(),
    valid_from: fields.valid_from.optional(),
    is_active: fields.is_active.default(true),
  })
  .meta({ id: 'RateCreate' });

/** One line of an import. */
export const rateLine = rateCreate.omit({ customer_id: true });
export type RateLine = z.output<typeof rateLine>;

export const ratePatch = z
  .strictObject({ ...fields, valid_from: instant.nullable().describe('null: always') })
  .omit({ currency: true })
  .partial()
  .meta({ id: 'RatePatch' });

export const rateQuery = pageQuery.extend({
  customer_id: z
    .union([z.literal('default'), idField])
    .optional()
    .describe('`default` for the default table'),
  direction: direction.optional(),
  prefix: prefix.optional(),
  currency: currency.optional(),
});

export const rateReply = z
  .strictObject({
    id: z.string(),
    customer_id: z.string().optional(),
    direction,
    prefix: z.string(),
    price_per_minute: z.string(),
    connection_fee: z.string(),
    minimum_seconds: z.int(),
    increment_seconds: z.int(),
    currency: z.string(),
    valid_from: z.iso.datetime().optional(),
    is_active: z.boolean(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .meta({ id: 'Rate' });

export const rateToJson = (rate: Rate): z.input<typeof rateReply> => ({
  id: rate.id,
  customer_id: rate.customerId,
  ...termsToJson(rate),
  created_at: rfc3339(rate.createdAt),
  updated_at: rfc3339(rate.updatedAt),
});

/** What is agreed, without whose it is and since when we know of it. */
export const termsToJson = (rate: Rate) => ({
  direction: rate.direction,
  prefix: rate.prefix,
  price_per_minute: formatMicros(rate.priceMicros),
  connection_fee: formatMicros(rate.feeMicros),
  minimum_seconds: rate.minimumSeconds,
  increment_seconds: rate.incrementSeconds,
  currency: rate.currency,
  valid_from: rate.validFrom && rfc3339(rate.validFrom),
  is_active: rate.isActive,
});

export const importQuery = z.strictObject({
  dry_run: z
    .enum(['true', 'false'])
    .default('false')
    .transform((text) => text === 'true')
    .describe('`true`: says what would change and changes nothing'),
  customer_id: idField.optional().describe("into this customer's own rates instead of the default table"),
});

export const importBody = z
  .string()
  .min(1, 'must not be empty')
  .describe(
    `A head line that names the columns, then one rate a line: ${Object.keys(rateLine.shape).join(', ')}. Columns may come in any order; prefix and price_per_minute must be there, ` +
      'the others have the defaults of `POST /admin/v1/rates`. A rate with the same direction, prefix, currency and valid_from is changed, others are added, none is removed. At most 2 MiB.',
  );

const change = z.strictObject({ field: z.string(), from: z.string(), to: z.string() });

export const importReply = z
  .strictObject({
    dry_run: z.boolean(),
    created: z.int(),
    updated: z.int(),
    unchanged: z.int(),
    lines: z
      .array(
        z.strictObject({
          line: z.int().describe('in the file, its head line being 1'),
          action: z.enum(['create', 'update']),
          direction,
          prefix: z.string(),
          changes: z.array(change).optional().describe('of an update'),
        }),
      )
      .describe('the lines that change something, the first 1,000 of them'),
    lines_left_out: z.int().optional().describe('how many further lines change something'),
  })
  .meta({ id: 'RateImport' });
export type ImportReport = z.input<typeof importReply>;

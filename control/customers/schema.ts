import { z } from 'zod';
import { displayName } from '../http/fields.ts';
import { rfc3339 } from '../lib/time.ts';

/** What a customer may spend; amounts are decimal strings in the customer's currency. */
export interface Spend {
  daily?: string;
  monthly?: string;
  maxPricePerMinute?: string;
  allowedPrefixes?: string[];
  blockedPrefixes?: string[];
}

export interface Customer {
  readonly id: string;
  readonly name: string;
  readonly status: 'active' | 'suspended';
  readonly currency: string;
  readonly limits: { readonly cps: number; readonly concurrentCalls: number };
  readonly spend: Readonly<Spend>;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export const DEFAULT_LIMITS = { cps: 2, concurrentCalls: 10 } as const;

const name = displayName;
const status = z.enum(['active', 'suspended']);
const currency = z.string().regex(/^[A-Z]{3}$/, 'must be an ISO 4217 code such as EUR');
const amount = z.string().regex(/^\d{1,12}(\.\d{1,6})?$/, 'must be a decimal string such as "25.00"');
const prefix = z
  .string()
  .regex(/^\+[1-9]\d{0,14}$/, 'must be the start of an E.164 number with its plus sign');
const prefixes = z.array(prefix).max(500);
const cps = z.int().min(1).max(10_000);
const concurrentCalls = z.int().min(1).max(100_000);

export const customerCreate = z
  .strictObject({
    name,
    status: status.default('active'),
    currency: currency.default('EUR'),
    limits: z
      .strictObject({
        cps: cps.default(DEFAULT_LIMITS.cps),
        concurrent_calls: concurrentCalls.default(DEFAULT_LIMITS.concurrentCalls),
      })
      .optional(),
    spend: z
      .strictObject({
        daily: amount,
        monthly: amount,
        max_price_per_minute: amount,
        allowed_prefixes: prefixes,
        blocked_prefixes: prefixes,
      })
      .partial()
      .optional(),
  })
  .meta({ id: 'CustomerCreate' });

/**
 * Fields inside `limits` and `spend` change one by one; null takes a spend rule away. The currency of a
 * customer is for good.
 */
export const customerPatch = z
  .strictObject({
    name,
    status,
    limits: z.strictObject({ cps, concurrent_calls: concurrentCalls }).partial(),
    spend: z
      .strictObject({
        daily: amount.nullable(),
        monthly: amount.nullable(),
        max_price_per_minute: amount.nullable(),
        allowed_prefixes: prefixes.nullable(),
        blocked_prefixes: prefixes.nullable(),
      })
      .partial(),
  })
  .partial()
  .meta({ id: 'CustomerPatch' });

export const customerReply = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    status,
    currency: z.string(),
    limits: z.strictObject({ cps: z.int(), concurrent_calls: z.int() }),
    spend: z
      .strictObject({
        daily: z.string(),
        monthly: z.string(),
        max_price_per_minute: z.string(),
        allowed_prefixes: z.array(z.string()),
        blocked_prefixes: z.array(z.string()),
      })
      .partial(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .meta({ id: 'Customer' });

export const toJson = (customer: Customer): z.input<typeof customerReply> => ({
  id: customer.id,
  name: customer.name,
  status: customer.status,
  currency: customer.currency,
  limits: { cps: customer.limits.cps, concurrent_calls: customer.limits.concurrentCalls },
  spend: {
    daily: customer.spend.daily,
    monthly: customer.spend.monthly,
    max_price_per_minute: customer.spend.maxPricePerMinute,
    allowed_prefixes: customer.spend.allowedPrefixes,
    blocked_prefixes: customer.spend.blockedPrefixes,
  },
  created_at: rfc3339(customer.createdAt),
  updated_at: rfc3339(customer.updatedAt),
});

import { z } from 'zod';
import { idField } from '../../http/endpoint.ts';
import { queryInstant } from '../../http/fields.ts';
import { pageQuery } from '../../http/pagination.ts';
import { formatMicros, parseMicros } from '../../lib/money.ts';
import { rfc3339 } from '../../lib/time.ts';
import { ACCOUNTS, type Transfer } from './account.ts';
import type { Statement, LedgerService } from './service.ts';

const account = z.enum(ACCOUNTS);
const money = z.string().describe('decimal string');

export const creditCreate = z
  .strictObject({
    amount: z
      .string()
      .regex(
        /^-?\d{1,10}(\.\d{1,6})?$/,
        'must be a decimal string such as "25.00", with at most six decimals',
      )
      .transform(parseMicros)
      .describe('decimal string in the currency of the customer; below zero it is taken back'),
    reference: z
      .string()
      .trim()
      .min(1, 'must not be empty')
      .max(150)
      .refine((text) => !text.startsWith('call_'), 'must not start with call_, as the references of calls do')
      .optional()
      .describe('of the payment: the same one twice credits once'),
    reason: z
      .string()
      .trim()
      .min(1, 'must not be empty')
      .max(500)
      .optional()
      .describe('required when the amount is negative'),
  })
  .meta({ id: 'CreditCreate' });

export const transferReply = z
  .strictObject({
    id: z.string(),
    customer_id: z.string(),
    kind: z.enum(['top_up', 'adjustment', 'hold', 'extend', 'settle', 'release']),
    debit: account.describe('the account it is taken from'),
    credit: account.describe('the account it goes to'),
    amount: money,
    currency: z.string(),
    call_id: z.string().optional(),
    leg: z.int().optional().describe('0 is the call itself, 1 and so on are its second legs'),
    reference: z.string(),
    reason: z.string().optional(),
    created_at: z.iso.datetime(),
  })
  .meta({ id: 'LedgerEntry' });

export const ledgerQuery = pageQuery.extend({ call_id: idField.optional() });

export const transferToJson = (transfer: Transfer): z.input<typeof transferReply> => ({
  id: transfer.id,
  customer_id: transfer.customerId,
  kind: transfer.kind,
  debit: transfer.debit,
  credit: transfer.credit,
  amount: formatMicros(transfer.amountMicros),
  currency: transfer.currency,
  call_id: transfer.callId,
  leg: transfer.leg,
  reference: transfer.reference,
  reason: transfer.reason,
  created_at: rfc3339(transfer.createdAt),
});

const cap = z.strictObject({ spent_amount: money, limit_amount: money.optional() });

export const balanceReply = z
  .strictObject({
    customer_id: z.string(),
    available_amount: money.describe('what new calls can be paid from'),
    held_amount: money.describe('set aside for calls in progress'),
    currency: z.string(),
    spend: z.strictObject({
      daily: cap.describe('outbound calls of this UTC day, what is held for them included'),
      monthly: cap.describe('the same of this UTC month'),
    }),
  })
  .meta({ id: 'Balance' });

export const balanceToJson = ({ customer, ...balance }: Statement): z.input<typeof balanceReply> => ({
  customer_id: customer.id,
  available_amount: formatMicros(balance.availableMicros),
  held_amount: formatMicros(balance.heldMicros),
  currency: customer.currency,
  spend: {
    daily: {
      spent_amount: formatMicros(balance.spentTodayMicros),
      limit_amount: limitOf(customer.spend.daily),
    },
    monthly: {
      spent_amount: formatMicros(balance.spentThisMonthMicros),
      limit_amount: limitOf(customer.spend.monthly),
    },
  },
});

const limitOf = (amount: string | undefined): string | undefined =>
  amount === undefined ? undefined : formatMicros(parseMicros(amount));

export const usageQuery = z.strictObject({
  from: queryInstant
    .optional()
    .describe('calls that ended at or after, RFC 3339; the first instant of the month when left out'),
  to: queryInstant
    .optional()
    .describe('calls that ended before, RFC 3339; the first instant of the next month when left out'),
});

export const usageReply = z
  .strictObject({
    application_id: z.string(),
    from: z.iso.datetime(),
    to: z.iso.datetime(),
    summary: z.strictObject({
      calls: z.int().describe('answered calls'),
      billsec_seconds: z.int(),
      cost_amount: money,
      cost_currency: z.string(),
    }),
  })
  .meta({ id: 'Usage' });

export const usageToJson = (
  applicationId: string,
  usage: Awaited<ReturnType<LedgerService['usage']>>,
): z.input<typeof usageReply> => ({
  application_id: applicationId,
  from: rfc3339(usage.from),
  to: rfc3339(usage.to),
  summary: {
    calls: usage.calls,
    billsec_seconds: usage.billsecSeconds,
    cost_amount: formatMicros(usage.costMicros),
    cost_currency: usage.currency,
  },
});

import { z } from 'zod';
import { idField } from '../http/endpoint.ts';
import { instant } from '../http/fields.ts';
import { pageQuery } from '../http/pagination.ts';
import { rfc3339, rfc3339ms } from '../lib/time.ts';
import type { Delivery, KeptAttempt } from './delivery.ts';

const time = z.iso.datetime();
const status = z
  .enum(['pending', 'delivered', 'exhausted', 'disabled', 'none'])
  .describe(
    '`exhausted`: no attempt of the schedule was taken; `disabled`: the endpoint had answered 410; `none`: there was no webhook_url',
  );
const settled = z.enum(['delivered', 'exhausted', 'disabled', 'none']);

export const deliveryReply = z
  .strictObject({
    id: z.string(),
    event_id: z.string().describe('X-MiniVoice-Event-Id: the same on every attempt'),
    event: z.string(),
    call_id: z.string().optional(),
    customer_id: z.string(),
    application_id: z.string(),
    status,
    attempt_count: z.int(),
    next_attempt_at: time.optional().describe('of a pending one'),
    created_at: time,
    delivered_at: time.optional(),
  })
  .meta({ id: 'WebhookDelivery' });

export const attemptReply = z
  .strictObject({
    attempt: z.int().describe('X-MiniVoice-Attempt'),
    at: time.describe('with milliseconds'),
    request: z.strictObject({
      method: z.literal('POST'),
      url: z.string(),
      headers: z.record(z.string(), z.string()),
    }),
    status: z.int().optional().describe('HTTP status; absent where there was no reply'),
    reply: z.string().optional().describe('its first 4 KiB'),
    error: z.string().optional().describe('why it does not count as delivered'),
    took_ms: z.int(),
  })
  .meta({ id: 'WebhookAttempt' });

export const deliveryWithAttemptsReply = deliveryReply
  .extend({
    body: z.string().describe('the exact text that is signed and sent'),
    attempts: z.array(attemptReply),
  })
  .meta({ id: 'WebhookDeliveryWithAttempts' });

const filters = pageQuery.extend({
  call_id: idField.optional(),
  event: z
    .string()
    .regex(/^[\x21-\x7e]{1,64}$/, 'must be the name of an event')
    .optional()
    .describe('such as `call.completed`'),
  status: status.optional(),
});
export const deliveryQuery = filters;
export const operatorDeliveryQuery = filters.extend({
  customer_id: idField.optional(),
  application_id: idField.optional(),
});

export const redeliverAll = z
  .strictObject({
    since: instant.describe('events created at or after, RFC 3339'),
    until: instant.optional().describe('events created before, RFC 3339; now when left out'),
    status: z.array(settled).min(1).max(4).default(['exhausted', 'disabled']).describe('which ones'),
  })
  .meta({ id: 'WebhookRedeliver' });

export const redeliverAllReply = z
  .strictObject({ count: z.int().describe('how many are on their way again') })
  .meta({ id: 'WebhookRedelivered' });

export const testReply = z
  .strictObject({
    delivered: z.boolean().describe('whether the reply was a 2xx'),
    delivery_id: z.string(),
    event_id: z.string(),
    body: z.string().describe('the exact text that was signed and sent'),
    attempt: attemptReply,
  })
  .meta({ id: 'WebhookTest' });

export const healthReply = z
  .strictObject({
    state: z
      .enum(['active', 'failing', 'disabled'])
      .describe('`disabled`: it has answered 410; `failing`: the last attempt was not taken'),
    consecutive_failures: z.int().describe('attempts since the last one that was taken'),
    last_success_at: time.optional(),
    last_failure_at: time.optional(),
    last_error: z.string().optional().describe('of the last failure'),
    disabled_at: time.optional(),
    disabled_reason: z.string().optional(),
  })
  .meta({
    id: 'WebhookHealth',
    description: 'How the webhook_url has been doing; up to five seconds old while all is well.',
  });

export const deliveryToJson = (delivery: Delivery): z.input<typeof deliveryReply> => ({
  id: delivery.id,
  event_id: delivery.eventId,
  event: delivery.event,
  call_id: delivery.callId,
  customer_id: delivery.customerId,
  application_id: delivery.applicationId,
  status: delivery.status,
  attempt_count: delivery.attempts,
  next_attempt_at: delivery.nextAttemptAt && rfc3339(delivery.nextAttemptAt),
  created_at: rfc3339(delivery.createdAt),
  delivered_at: delivery.deliveredAt && rfc3339(delivery.deliveredAt),
});

export const attemptToJson = (attempt: KeptAttempt): z.input<typeof attemptReply> => ({
  attempt: attempt.attempt,
  at: rfc3339ms(attempt.at),
  request: { method: 'POST', url: attempt.url, headers: attempt.requestHeaders },
  status: attempt.status,
  reply: attempt.reply,
  error: attempt.error,
  took_ms: attempt.tookMs,
});

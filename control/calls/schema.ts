import { z } from 'zod';
import { queryCaller, queryInstant, queryNumber } from '../http/fields.ts';
import { pageQuery } from '../http/pagination.ts';
import { formatMicros } from '../lib/money.ts';
import { rfc3339, rfc3339ms } from '../lib/time.ts';
import type { Call } from './call.ts';
import { billsecSeconds, durationSeconds } from './events.ts';

const time = z.string().describe('RFC 3339, UTC');

export const callReply = z
  .strictObject({
    id: z.string(),
    customer_id: z.string(),
    application_id: z.string().optional(),
    provider_call_id: z.string().optional(),
    direction: z.enum(['inbound', 'outbound']),
    from: z.string(),
    to: z.string(),
    status: z.enum(['dialing', 'ringing', 'in_progress', 'completed', 'failed', 'canceled']),
    route_mode: z.enum(['webhook', 'sip', 'reject']),
    routing_target: z.string(),
    answer_url: z.string().optional(),
    metadata: z.record(z.string(), z.unknown()),
    variables: z.record(z.string(), z.string()),
    created_at: time,
    dialing_at: time.optional(),
    ringing_at: time.optional(),
    answered_at: time.optional(),
    ended_at: time.optional(),
    duration_seconds: z.number().int().optional(),
    billsec_seconds: z.number().int().optional(),
    cost_amount: z.string().optional(),
    cost_currency: z.string().optional(),
    hangup: z.object({ by: z.string(), cause: z.string(), sip_code: z.number().int().optional() }).optional(),
    failure: z.object({ code: z.string(), message: z.string() }).optional(),
    trunk_id: z.string().optional(),
  })
  .meta({ id: 'Call' });

const at = (date: Date | undefined): string | undefined => date && rfc3339(date);

/** The call as the API shows it; what is not known yet is left out. */
export function callToJson(call: Call): z.infer<typeof callReply> {
  return {
    id: call.id,
    customer_id: call.customerId,
    application_id: call.applicationId,
    provider_call_id: call.providerCallId,
    direction: call.direction,
    from: call.from,
    to: call.to,
    status: call.status,
    route_mode: call.routeMode,
    routing_target: call.routingTarget,
    answer_url: call.answerUrl,
    metadata: { ...call.metadata },
    variables: call.variables,
    created_at: rfc3339(call.createdAt),
    dialing_at: at(call.dialingAt),
    ringing_at: at(call.ringingAt),
    answered_at: at(call.answeredAt),
    ended_at: at(call.endedAt),
    ...(call.endedAt && { duration_seconds: durationSeconds(call), billsec_seconds: billsecSeconds(call) }),
    ...(call.costMicros !== undefined && {
      cost_amount: formatMicros(call.costMicros),
      cost_currency: call.costCurrency,
    }),
    hangup: call.hangup,
    failure: call.failure,
    trunk_id: call.trunkId,
  };
}

/** One line of `GET /v1/calls/:id/events`: when, what kind, and what there is to say about it. */
export const timelineReply = z
  .looseObject({ at: time.describe('with milliseconds'), kind: z.string() })
  .meta({ id: 'TimelineEntry' });

export const timelineToJson = (entry: {
  at: Date;
  kind: string;
  detail: Record<string, unknown>;
}): z.infer<typeof timelineReply> => ({
  at: rfc3339ms(entry.at),
  kind: entry.kind,
  ...entry.detail,
});

export const callQuery = pageQuery.extend({
  status: callReply.shape.status.optional(),
  direction: callReply.shape.direction.optional(),
  from: queryCaller.optional(),
  to: queryNumber.optional(),
  did: queryNumber.optional().describe('a number of ours: `to` of inbound calls'),
  since: queryInstant.optional().describe('created at or after, RFC 3339'),
  until: queryInstant.optional().describe('created before, RFC 3339'),
});

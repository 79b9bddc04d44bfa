import { z } from 'zod';
import type { EventDoc } from '../http/sent-requests.ts';
import { exampleOf } from '../lib/zod-example.ts';
import type { CallStatus, FailureCode } from './call.ts';
import type { CallEvent, LegEvent, RecordingEvent, StreamEvent } from './events.ts';
import { callReply } from './schema.ts';

// What every event looks like, field by field: the documentation and its examples are made of this, and what
// is really sent is checked against it in the tests. A room whose events these are not declares its own with
// `eventSchema`.

const CALL_ID = 'call_20260529T120000.000000000';
const like = <T extends z.ZodType>(schema: T, example: z.output<T>): T =>
  schema.meta({ examples: [example] });
const time = like(z.iso.datetime(), '2026-05-29T12:00:00Z').describe('RFC 3339, UTC');

const snapshot = z.strictObject({
  id: like(z.string(), CALL_ID),
  customer_id: like(z.string(), 'cust_20260529T110000.000000000'),
  application_id: like(z.string(), 'app_20260529T110500.000000000'),
  provider_call_id: like(z.string(), '6f1e9d52-3c1a-4f0e-9a53-8e0a3b7f1c22')
    .optional()
    .describe("the media channel's id, once there is one"),
  status: callReply.shape.status.describe('as it was when the event came about'),
  direction: callReply.shape.direction,
  from: like(z.string(), '+15551230001'),
  to: like(z.string(), '+15551230002'),
  route_mode: callReply.shape.route_mode,
  routing_target: like(z.string(), 'app_20260529T110500.000000000'),
  metadata: like(z.record(z.string(), z.unknown()), {}),
});

/**
 * The body that all requests to customers' servers have in common.
 * @param statuses what `call.status` can be in it, the usual one first
 */
export const envelopeSchema = <S extends z.ZodRawShape>(
  event: string,
  statuses: readonly [CallStatus, ...CallStatus[]],
  data: S,
) =>
  z.strictObject({
    event: z.literal(event),
    created_at: time,
    call: snapshot.extend({ status: z.enum(statuses) }),
    variables: like(z.record(z.string(), z.string()), {}).describe('set by `set_variable`'),
    data: z.strictObject(data),
  });

/**
 * Declares an event.
 * @param statuses what `call.status` can be in it, the usual one first
 * @param data what `data` holds beside `event_key`
 */
export function eventSchema<S extends z.ZodRawShape>(
  event: string,
  summary: string,
  statuses: readonly [CallStatus, ...CallStatus[]],
  data: S,
): EventDoc {
  const schema = envelopeSchema(event, statuses, {
    event_key: like(z.string(), `${CALL_ID}:${event}`).describe(
      'call id and event, with `:2` from the second of its kind on',
    ),
    ...data,
  });
  return {
    event,
    summary,
    schema: schema.meta({ id: `Event_${event.replace('.', '_')}` }),
    example: exampleOf(schema),
  };
}

const FAILURES: Record<FailureCode, true> = {
  no_answer: true,
  busy: true,
  rejected: true,
  invalid_number: true,
  unreachable: true,
  congestion: true,
  media_unavailable: true,
  answer_url_error: true,
  transfer_unreachable: true,
  insufficient_balance: true,
  limit_reached: true,
  internal_error: true,
};

const seconds = (example: number) => like(z.int(), example);
const sipCode = (example: number) =>
  like(z.int(), example).optional().describe('the last SIP status code, where there was one');
const ending = (by: string, cause: string, code: number, duration: number, billed: number) => ({
  duration_seconds: seconds(duration).describe('from its creation to its end; begun seconds count'),
  billsec_seconds: seconds(billed).describe('from its answer to its end; 0 when it was not answered'),
  hangup: z.strictObject({
    by: like(z.enum(['caller', 'callee', 'application', 'api', 'platform']), by as 'caller'),
    cause: like(z.string(), cause),
    sip_code: sipCode(code),
  }),
});

/** What a `gather` has brought. */
export const gathered = {
  digits: like(z.string(), '1').describe('the keys without the one that finished; empty for none'),
  status: z.enum(['completed', 'timeout', 'too_few_digits', 'hangup']),
  timed_out: z.boolean().describe('no key came in time'),
};

export const callEvents: Record<Exclude<CallEvent, LegEvent | RecordingEvent | StreamEvent>, EventDoc> = {
  'call.created': eventSchema(
    'call.created',
    'A call has come in, or has been placed through the API.',
    ['ringing', 'dialing'],
    {},
  ),
  'call.ringing': eventSchema(
    'call.ringing',
    'The destination of an outbound call rings. Not every call has it.',
    ['ringing'],
    {},
  ),
  'call.answered': eventSchema('call.answered', 'The call is answered.', ['in_progress'], {}),
  'call.gathered': eventSchema(
    'call.gathered',
    'A `gather` has come to its end, whatever that is.',
    ['in_progress', 'completed', 'failed', 'canceled'],
    {
      ...gathered,
      min_digits: like(z.int(), 1),
      max_digits: like(z.int(), 1),
      timeout_seconds: like(z.number(), 5),
      finish_on_key: like(z.string(), '#'),
    },
  ),
  'call.completed': eventSchema(
    'call.completed',
    'The call was answered and has ended.',
    ['completed'],
    ending('caller', 'NORMAL_CLEARING', 200, 42, 38),
  ),
  'call.failed': eventSchema(
    'call.failed',
    'The call was never answered, or an error has ended it.',
    ['failed'],
    {
      code: z.enum(Object.keys(FAILURES) as [FailureCode, ...FailureCode[]]),
      message: like(z.string(), 'destination did not answer'),
      ...ending('callee', 'NO_ANSWER', 480, 30, 0),
      sip_code: sipCode(480),
    },
  ),
  'call.canceled': eventSchema(
    'call.canceled',
    'The call ended before it was answered: the caller gave up, or it was hung up through the API.',
    ['canceled'],
    ending('caller', 'ORIGINATOR_CANCEL', 487, 8, 0),
  ),
};

const leg = {
  destination: like(z.string(), '+15551230009').describe('as the action named it'),
  trunk_id: like(z.string(), 'trunk_20260529T113000.000000000')
    .optional()
    .describe('the trunk it goes over, once one has taken it'),
};

export const legEvents: Record<LegEvent, EventDoc> = {
  'leg.ringing': eventSchema(
    'leg.ringing',
    'The second leg of a `transfer` or `bridge` rings. Not every leg has it.',
    ['in_progress'],
    leg,
  ),
  'leg.answered': eventSchema(
    'leg.answered',
    'The second leg is answered and connected with the caller.',
    ['in_progress', 'completed', 'failed'],
    leg,
  ),
  'leg.ended': eventSchema(
    'leg.ended',
    'The second leg has ended, or was not reached.',
    ['in_progress', 'completed', 'failed', 'canceled'],
    {
      ...leg,
      reached: like(z.boolean(), true).describe('it was answered'),
      cause: like(z.string(), 'NORMAL_CLEARING'),
      sip_code: like(z.int(), 486).optional().describe('what a leg that was not reached was refused with'),
      ended_by: z.enum(['caller', 'callee', 'platform']).optional().describe('of a leg that was reached'),
      billsec_seconds: like(z.int(), 38).describe('from its answer to its end; 0 when it was not answered'),
      cost_amount: like(z.string(), '0.06')
        .optional()
        .describe(
          'of a leg to a number, by its rate; `billing.settled` in the timeline is what was charged in the end',
        ),
      cost_currency: like(z.string(), 'EUR').optional(),
    },
  ),
};

/** What `POST /v1/webhooks/test` sends: no call's, but of the same shape. */
export const testEvent: Record<'webhook.test', EventDoc> = {
  'webhook.test': eventSchema(
    'webhook.test',
    'Sent when it is asked for, to test an endpoint; the call in it does not exist.',
    ['completed'],
    { test: z.literal(true) },
  ),
};

import { rfc3339, wholeSeconds } from '../lib/time.ts';
import type { Call } from './call.ts';

export type CallEvent =
  | 'call.created'
  | 'call.ringing'
  | 'call.answered'
  | 'call.gathered'
  | 'call.completed'
  | 'call.failed'
  | 'call.canceled'
  | LegEvent
  | RecordingEvent
  | StreamEvent;

/** What becomes of the second leg of a `transfer` or `bridge`. */
export type LegEvent = 'leg.ringing' | 'leg.answered' | 'leg.ended';

export type RecordingEvent = 'recording.started' | 'recording.completed' | 'recording.failed';

export type StreamEvent = 'stream.started' | 'stream.stopped';

export const durationSeconds = (call: Call): number => wholeSeconds(call.createdAt, call.endedAt);
export const billsecSeconds = (call: Call): number => wholeSeconds(call.answeredAt, call.endedAt);

/** The webhook envelope of contract §5; the `call.instructions` request of §3 has the same shape. */
export function envelope(
  call: Call,
  event: CallEvent | 'call.instructions',
  at: Date,
  data: Record<string, unknown>,
): Record<string, unknown> {
  return {
    event,
    created_at: rfc3339(at),
    call: {
      id: call.id,
      customer_id: call.customerId,
      application_id: call.applicationId,
      provider_call_id: call.providerCallId,
      status: call.status,
      direction: call.direction,
      from: call.from,
      to: call.to,
      route_mode: call.routeMode,
      routing_target: call.routingTarget,
      metadata: call.metadata,
    },
    variables: call.variables,
    data,
  };
}

/** A call that was answered and failed later has ended with a success as far as SIP goes. */
const refusalCode = (code: number | undefined): number | undefined =>
  code !== undefined && code >= 300 ? code : undefined;

/** What a terminal event says about the call's end. */
export function endData(call: Call): Record<string, unknown> {
  return {
    ...(call.failure && {
      code: call.failure.code,
      message: call.failure.message,
      sip_code: refusalCode(call.hangup?.sip_code),
    }),
    duration_seconds: durationSeconds(call),
    billsec_seconds: billsecSeconds(call),
    hangup: call.hangup,
  };
}

import { z } from 'zod';
import type { FailureCode } from '../calls/call.ts';
import type { FarEnd } from '../lib/far-end.ts';
import type { LegWatch, SecondLeg } from '../calls/second-legs.ts';
import { isE164 } from '../lib/e164.ts';
import { ApiError, type ErrorCode } from '../lib/errors.ts';
import { isSipTarget } from '../lib/sip-uri.ts';
import { MediaError, type LegResult } from '../media/media.ts';
import type { FlowContext, Resumed } from './action.ts';

const destination = z.string().max(255).refine((value) => isE164(value) || isSipTarget(value), 'must be an E.164 number or a SIP URI without headers');

/** What `transfer` and `bridge` take; `to` is an alias of `destination`. */
export const legFields = z
  .strictObject({
    destination: destination.optional(),
    to: destination.optional(),
    from: z.string().refine(isE164, 'must be an E.164 number with its plus sign').optional(),
    timeout_seconds: z.int().min(5).max(120).default(30),
  })
  .refine((fields) => fields.destination !== undefined || fields.to !== undefined, { path: ['destination'], message: 'is required' })
  .refine((fields) => fields.destination === undefined || fields.to === undefined || fields.destination === fields.to, { path: ['to'], message: 'is an alias of destination: give one of them' });

export type LegFields = z.infer<typeof legFields>;

/** What became of a second leg; `refused` is there when it was not let out, `failed` when the media node could not dial it. */
export type SecondLegResult = LegResult & { refused?: { code: FailureCode; message: string }; failed?: MediaError };

/** Rings a second leg and stays with it to its end; a leg that was under way when an earlier process died is seen through. */
export async function secondLeg(fields: LegFields, context: FlowContext, resumed?: Resumed): Promise<SecondLegResult> {
  return resumed ? seeThrough(context, resumed) : ring(fields, context);
}

async function ring({ destination, to, from, timeout_seconds }: LegFields, context: FlowContext): Promise<SecondLegResult> {
  const { call, calls, channel, state, save, legs, signal } = context;
  state.legAnsweredAt = undefined;
  save();
  let leg: SecondLeg | undefined;
  try {
    leg = await legs.place(call, destination ?? to ?? '', from);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    calls.note(call, 'leg.refused', { code: error.code, message: error.message, ...(error.details && { details: error.details }) });
    return { reached: false, cause: 'OUTGOING_CALL_BARRED', refused: { code: FAILURES[error.code] ?? 'transfer_unreachable', message: error.message } };
  }
  if (!leg) return { reached: false, cause: 'NO_ROUTE_DESTINATION' };
  try {
    if (signal.aborted) return { reached: false, cause: 'ORIGINATOR_CANCEL' };
    calls.note(call, 'leg.requested', { uris: leg.route.uris, from: leg.route.from });
    const result = await channel.bridge({
      ...leg.route, timeoutSeconds: timeout_seconds, onRinging: () => calls.note(call, 'leg.ringing'), onAnswered: (_uuid, farEnd) => answered(context, leg, farEnd), onTrunk: leg.routed,
    });
    calls.note(call, 'leg.ended', { ...result });
    return result;
  } catch (error) {
    if (!(error instanceof MediaError) || state.legAnsweredAt !== undefined) throw error;
    calls.note(call, 'leg.failed', { message: error.message });
    return { reached: false, cause: 'NORMAL_TEMPORARY_FAILURE', failed: error };
  } finally {
    leg.ended();
  }
}

async function seeThrough(context: FlowContext, { leg: found }: Resumed): Promise<LegResult> {
  const { call, calls, state, legs } = context;
  if (!found) return { reached: state.legAnsweredAt !== undefined, cause: 'UNKNOWN', ...(state.legAnsweredAt !== undefined && { endedBy: 'callee' }) };
  const leg = legs.resumed(call);
  try {
    if (found.trunkId !== undefined) leg.routed(found.trunkId);
    if (found.connected) answered(context, leg);
    else found.answered.then((reached) => { if (reached) answered(context, leg); }, () => undefined);
    const result = await found.finished;
    calls.note(call, 'leg.ended', { ...result });
    return result;
  } finally {
    leg.ended();
  }
}

function answered({ call, calls, state, save, now }: FlowContext, leg: LegWatch, farEnd?: FarEnd): void {
  if (farEnd) calls.reachable(call, [farEnd]);
  const first = state.legAnsweredAt === undefined;
  state.legAnsweredAt ??= now().getTime();
  leg.answered(new Date(state.legAnsweredAt));
  if (!first) return;
  save();
  calls.note(call, 'leg.answered', {});
}

/** How a call ends when its transfer was not let out; otherwise the destination just was not reached. */
const FAILURES: Partial<Record<ErrorCode, FailureCode>> = {
  insufficient_balance: 'insufficient_balance',
  spend_control_exceeded: 'limit_reached',
  cps_limit_reached: 'limit_reached',
  concurrent_call_limit_reached: 'limit_reached',
};

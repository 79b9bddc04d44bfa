import { z } from 'zod';
import { isE164 } from '../lib/e164.ts';
import { isSipTarget } from '../lib/sip-uri.ts';
import type { LegResult } from '../media/media.ts';
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

/** Rings a second leg and stays with it to its end; a leg that was under way when an earlier process died is seen through. */
export async function secondLeg({ destination, to, from, timeout_seconds }: LegFields, context: FlowContext, resumed?: Resumed): Promise<LegResult> {
  const { call, calls, channel, state, save, routeLeg } = context;
  const answered = (): void => {
    if (state.legAnswered) return;
    state.legAnswered = true;
    save();
    calls.note(call, 'leg.answered', {});
  };
  const seenThrough = (result: LegResult): LegResult => {
    calls.note(call, 'leg.ended', { ...result });
    return result;
  };
  if (resumed) {
    if (!resumed.leg) return { reached: state.legAnswered, cause: 'UNKNOWN', ...(state.legAnswered && { endedBy: 'callee' }) };
    if (resumed.leg.connected) answered();
    else resumed.leg.answered.then((reached) => { if (reached) answered(); }, () => undefined);
    return seenThrough(await resumed.leg.finished);
  }
  state.legAnswered = false;
  save();
  const route = routeLeg(call, destination ?? to ?? '', from);
  if (!route) return { reached: false, cause: 'NO_ROUTE_DESTINATION' };
  calls.note(call, 'leg.requested', { uris: route.uris, from: route.from });
  return seenThrough(await channel.bridge({ ...route, timeoutSeconds: timeout_seconds, onRinging: () => calls.note(call, 'leg.ringing'), onAnswered: answered }));
}

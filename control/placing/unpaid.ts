import type { Billing, Exhaustion } from '../billing/billing.ts';
import { isTerminal, type Call } from '../calls/call.ts';
import type { CallEnding, Calls } from '../calls/calls.ts';
import type { Flows } from '../flow/flows.ts';

interface Options {
  billing: Pick<Billing, 'onWarning' | 'onExhausted'>;
  calls: Calls;
  flows: Pick<Flows, 'get'>;
  /**
   * Hangs up a call that no media node has, and tries that until it has happened: then its record ends, too.
   */
  endUntilOver: (call: Call, ending: CallEnding) => void;
}

/** How a call ends that is not paid for any longer. */
const EXHAUSTED: Record<Exhaustion, NonNullable<Call['failure']>> = {
  insufficient_balance: {
    code: 'insufficient_balance',
    message: 'the balance does not cover more of this call',
  },
  spend_control_exceeded: {
    code: 'limit_reached',
    message: 'the spend limit does not allow more of this call',
  },
  service_unavailable: { code: 'internal_error', message: 'more of this call could not be paid for' },
};

/** What billing says of a leg becomes a line of its call's story, or the call's end. */
export function followMoney({ billing, calls, flows, endUntilOver }: Options): void {
  billing.onWarning(({ callId, leg }, warning) => {
    const call = calls.get(callId);
    if (call) calls.note(call, 'billing.warning', { leg, ...warning });
  });
  billing.onExhausted(({ callId }, why) => {
    const call = calls.get(callId);
    if (!call || isTerminal(call.status)) return;
    const flow = flows.get(callId);
    if (flow) return void flow.fail(EXHAUSTED[why]);
    endUntilOver(call, { hangup: { by: 'platform', cause: 'NORMAL_CLEARING' }, failure: EXHAUSTED[why] });
  });
}

import type { Admission } from '../calls/admission.ts';
import { ANONYMOUS, destinationAnswered, failureOf, isTerminal, type Call } from '../calls/call.ts';
import type { CallEnding, Calls } from '../calls/calls.ts';
import { linesOfCall } from '../lib/call-headers.ts';
import { sidesOf, type FarEnd } from '../lib/far-end.ts';
import { ApiError } from '../lib/errors.ts';
import { TookTooLong, within } from '../lib/within.ts';
import { sipTargets } from '../dids/schema.ts';
import type { Flows } from '../flow/flows.ts';
import { z } from 'zod';
import type { Directory } from '../directory/directory.ts';
import { inviteKey, PendingCalls } from './pending-calls.ts';

// What a stranger wrote into a SIP message is cut to what a column and a header can hold.
const sipText = z.string().transform((text) => text.replaceAll(/[^\x20-\x7e]/g, '').slice(0, 255));

export const RouteRequest = z.object({
  sip_call_id: sipText,
  from_tag: sipText,
  branch: sipText.optional(),
  from: sipText.transform((from) => from || ANONYMOUS),
  to: z.string(),
  trunk: z.string(),
  source: z.string(),
});

export type Decision =
  | { action: 'media'; call: string; headers: string }
  | { action: 'sip'; call: string; targets: readonly string[] }
  | { action: 'reject'; code: number; reason: string; retry_after?: number };

export const DialogNotice = z.object({
  event: z.enum(['canceled', 'answered', 'ended', 'failed', 'undecided']),
  call: z.string(),
  sip_call_id: sipText,
  from_tag: sipText.default(''),
  branch: sipText.optional(),
  code: z.coerce.number().int().optional(),
  reason: z.string().optional(),
  /** `side`: one of the two, whose From tag is given. Kamailio has no dialog of the call any more. */
  by: z.enum(['caller', 'callee', 'platform', 'side']).optional(),
  /**
   * Of a call that is answered: the tag of who has answered, and how both sides are reached within the
   * dialog.
   */
  to_tag: sipText.optional(),
  to_caller: z.string().optional(),
  to_callee: z.string().optional(),
  caller_routes: z.string().optional(),
  callee_routes: z.string().optional(),
  /** What rtpengine knows its audio by. */
  rtp_id: z.string().optional(),
  /** As `TriesNotice` has them. */
  tries: z.string().max(8192).optional(),
});

interface Options {
  directory: Directory;
  calls: Calls;
  flows: Flows;
  /** Lets calls in that cost something. Those with a flow are the flow's to let in. */
  admission: Pick<Admission, 'costsToTake' | 'admitInbound'>;
  /** As what the end of a call is to be told that this process has asked for. */
  endAsked: (callId: string) => CallEnding | undefined;
  /** This control process's number: the media node's events of its calls are its own. */
  instance: number;
  /** Whether any media node can take a call. */
  mediaReady: () => boolean;
}

const UNAVAILABLE: Decision = { action: 'reject', code: 503, reason: 'Service Unavailable', retry_after: 5 };
const NOT_FOUND: Decision = { action: 'reject', code: 404, reason: 'Not Found' };
const FORBIDDEN: Decision = { action: 'reject', code: 403, reason: 'Forbidden' };
const TERMINATED: Decision = { action: 'reject', code: 487, reason: 'Request Terminated' };
const CANCELED: CallEnding = { hangup: { by: 'caller', cause: 'ORIGINATOR_CANCEL', sip_code: 487 } };
const UNDECIDED: CallEnding = {
  hangup: { by: 'platform', cause: 'NORMAL_TEMPORARY_FAILURE', sip_code: 503 },
  failure: { code: 'internal_error', message: 'what was to become of the call was not said in time' },
};
const TEMPORARILY: Decision = { action: 'reject', code: 480, reason: 'Temporarily Unavailable' };

/**
 * Kamailio waits 2 s for a decision (DECISION_MS in kamailio/site.cfg): what is let in by then has to be told
 * in time.
 */
const PATIENCE_MS = 1000;

/**
 * A decision that no media node has taken up after so long was lost on the way (Kamailio's own timers are
 * shorter).
 */
const UNCLAIMED_MS = 20_000;

/**
 * Says what is to become of an inbound call, from memory, and follows what Kamailio tells of it afterwards.
 */
export class Decisions {
  readonly #options: Options;
  readonly #pending = new PendingCalls();
  readonly #timer: NodeJS.Timeout;
  #draining = false;
  #asked = false;

  constructor(options: Options) {
    this.#options = options;
    this.#timer = setInterval(() => this.#expire(), 1000).unref();
    options.calls.lifecycle.afterEnd('decisions', (call) => {
      this.#pending.remove(call.id);
    });
  }

  /** From now on new calls are refused with 503, so that others take them while this process ends. */
  drain(): void {
    this.#draining = true;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Whether Kamailio asks this process. */
  get asked(): boolean {
    return this.#asked;
  }

  get unclaimed(): number {
    return this.#pending.size;
  }

  /** A media node has the call. */
  claim(callId: string): void {
    this.#pending.claimed(callId);
  }

  /** From memory, at once; only a relayed call that costs something to take waits for the database. */
  decide(request: z.infer<typeof RouteRequest>): Decision | Promise<Decision> {
    this.#asked = true;
    const { directory, calls, flows, admission, mediaReady } = this.#options;
    if (this.#draining || !directory.loaded || !calls.accepting) return UNAVAILABLE;
    const did = directory.didByNumber(request.to);
    const trunk = directory.trunk(request.trunk);
    if (
      !did ||
      did.status !== 'active' ||
      !trunk ||
      (trunk.customerId !== undefined && trunk.customerId !== did.customerId)
    )
      return NOT_FOUND;
    if (directory.customer(did.customerId)?.status !== 'active') return FORBIDDEN;
    const base = {
      customerId: did.customerId,
      from: request.from,
      to: request.to,
      trunkId: trunk.id,
      sipCallId: request.sip_call_id,
    };
    const detail = { source: request.source, sip_call_id: request.sip_call_id };
    const key = inviteKey(request);
    if (did.routeMode === 'sip') {
      const targets = sipTargets(did);
      const [first] = targets;
      if (first === undefined) return TEMPORARILY;
      const call = calls.createInbound(
        { ...base, applicationId: did.applicationId, routeMode: 'sip', routingTarget: first },
        detail,
      );
      if (this.#overMeanwhile(call, key)) return TERMINATED;
      this.#pending.add(call.id, key);
      const decision: Decision = { action: 'sip', call: call.id, targets };
      return admission.costsToTake(call) ? this.#paid(call, decision) : decision;
    }
    // Kamailio decides this itself; here only while a change is on its way.
    if (did.routeMode === 'reject') return TEMPORARILY;
    const application =
      did.applicationId === undefined ? undefined : directory.application(did.applicationId);
    if (application?.status !== 'active') return TEMPORARILY;
    const call = calls.createInbound(
      {
        ...base,
        applicationId: application.id,
        routeMode: 'webhook',
        routingTarget: application.id,
        answerUrl: application.answerUrl,
      },
      detail,
    );
    if (this.#overMeanwhile(call, key)) return TERMINATED;
    if (!mediaReady()) {
      calls.end(call, {
        hangup: { by: 'platform', cause: 'NORMAL_TEMPORARY_FAILURE', sip_code: 503 },
        failure: { code: 'media_unavailable', message: 'no media node is available' },
      });
      return UNAVAILABLE;
    }
    this.#pending.add(call.id, key, UNCLAIMED_MS);
    flows.begin(call);
    return {
      action: 'media',
      call: call.id,
      headers: linesOfCall({ ...call, applicationId: application.id }, this.#options.instance),
    };
  }

  /**
   * What Kamailio tells of a call it relays itself, or that never reached a media node. Unknown calls are
   * ignored.
   */
  notice(notice: z.infer<typeof DialogNotice>): void {
    const { calls } = this.#options;
    const key = inviteKey(notice);
    const id = notice.call || this.#pending.find(key);
    if (!id && notice.event === 'canceled') return this.#pending.endedEarly(key, CANCELED);
    if (!id && notice.event === 'undecided') return this.#pending.endedEarly(key, UNDECIDED);
    const call = id ? calls.get(id) : undefined;
    if (!call) return;
    const sip_code = notice.code || undefined;
    if (notice.event === 'answered') {
      calls.reachable(call, endsOf(notice));
      calls.answered(call);
    } else if (notice.event === 'canceled') {
      calls.end(call, CANCELED);
    } else if (notice.event === 'undecided') {
      calls.end(call, UNDECIDED);
    } else if (notice.event === 'ended') {
      calls.end(
        call,
        this.#options.endAsked(call.id) ?? {
          hangup: {
            by: notice.by === 'side' ? sideOf(call, notice.from_tag) : (notice.by ?? 'platform'),
            cause: 'NORMAL_CLEARING',
          },
        },
      );
    } else if (notice.by === 'caller') {
      const message = `the caller's offer was refused with ${notice.code ?? 0} ${notice.reason ?? ''}: there is no audio in it that can be had`;
      calls.end(call, {
        hangup: { by: 'platform', cause: 'INCOMPATIBLE_DESTINATION', sip_code },
        failure: { code: 'rejected', message },
      });
    } else {
      const ours = call.routeMode === 'webhook' || notice.by === 'platform';
      const hangup = {
        by: ours ? 'platform' : 'callee',
        cause: notice.reason ?? 'FAILED',
        sip_code,
      } as const;
      calls.end(call, { hangup, failure: notReached(call, notice) });
    }
  }

  async #paid(call: Call, decision: Decision): Promise<Decision> {
    const { calls, admission } = this.#options;
    try {
      // What is held later is given back: the call has ended by then.
      await within(PATIENCE_MS, admission.admitInbound(call));
    } catch (error) {
      if (error instanceof TookTooLong) {
        calls.end(call, UNDECIDED);
        return UNAVAILABLE;
      }
      if (!(error instanceof ApiError)) throw error;
      const unpaid = error.code === 'insufficient_balance';
      const failure = { code: unpaid ? error.code : 'internal_error', message: error.message } as const;
      calls.end(call, {
        hangup: { by: 'platform', cause: 'CALL_REJECTED', sip_code: unpaid ? 480 : 503 },
        failure,
      });
      return unpaid ? TEMPORARILY : UNAVAILABLE;
    }
    return isTerminal(call.status) ? TERMINATED : decision;
  }

  /**
   * The caller gave up, or Kamailio did, while the request for this decision was on its way: the call is told
   * of, and is over.
   */
  #overMeanwhile(call: Call, key: string): boolean {
    const ending = this.#pending.endedBefore(key);
    if (ending) this.#options.calls.end(call, ending);
    return ending !== undefined;
  }

  #expire(): void {
    for (const callId of this.#pending.expired()) {
      const call = this.#options.calls.get(callId);
      if (!call) continue;
      this.#options.calls.end(call, {
        hangup: { by: 'platform', cause: 'NORMAL_TEMPORARY_FAILURE', sip_code: 503 },
        failure: { code: 'media_unavailable', message: 'no media node took the call' },
      });
    }
  }
}

/** How both sides of a relayed call are reached, where Kamailio has said so. */
function endsOf({
  call,
  rtp_id: rtpId,
  sip_call_id: sipCallId,
  from_tag: fromTag,
  to_tag: toTag,
  to_caller: toCaller,
  to_callee: toCallee,
  caller_routes: callerRoutes = '',
  callee_routes: calleeRoutes = '',
}: z.infer<typeof DialogNotice>): FarEnd[] {
  return toTag && toCaller && toCallee
    ? sidesOf({
        sipCallId,
        fromTag,
        toTag,
        toCaller,
        toCallee,
        callerRoutes,
        calleeRoutes,
        rtpId: call === '' ? rtpId : undefined,
      })
    : [];
}

/** Whose tag this is: of a relayed call the caller's side is known first, then the other one. */
const sideOf = (call: Call, tag: string): 'caller' | 'callee' =>
  call.farEnds?.[1]?.toTag === tag ? 'callee' : 'caller';

function notReached(
  { routeMode }: Call,
  { code = 0, reason, by }: z.infer<typeof DialogNotice>,
): CallEnding['failure'] {
  if (routeMode === 'webhook') {
    // The caller's own INVITE was the reason, not the state of the nodes.
    if (code >= 400 && code < 500)
      return {
        code: 'rejected',
        message: `no media node takes such an INVITE: ${code} ${reason ?? ''}`.trim(),
      };
    return { code: 'media_unavailable', message: 'no media node took the call' };
  }
  if (by === 'platform') return { code: 'media_unavailable', message: 'no audio can be had for the call' };
  return { code: failureOf(code), message: destinationAnswered(code, reason) };
}

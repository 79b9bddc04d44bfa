import type { ErrorCode } from '../lib/errors.ts';
import type { FarEnd } from '../lib/far-end.ts';

export type CallStatus = 'dialing' | 'ringing' | 'in_progress' | 'completed' | 'failed' | 'canceled';
export type RouteMode = 'webhook' | 'sip' | 'reject';

/** `failure.code` of a failed call (contract §2). */
export type FailureCode =
  | 'busy'
  | 'no_answer'
  | 'rejected'
  | 'invalid_number'
  | 'unreachable'
  | 'congestion'
  | 'media_unavailable'
  | 'answer_url_error'
  | 'transfer_unreachable'
  | 'limit_reached'
  | Extract<ErrorCode, 'insufficient_balance' | 'internal_error'>;

export interface Hangup {
  by: 'caller' | 'callee' | 'application' | 'api' | 'platform';
  /** FreeSWITCH hangup cause, or the SIP reason where no media node was involved. */
  cause: string;
  sip_code?: number;
}

/** The cause of the end of a call that nobody was in any more: no audio came, and nobody answered. */
export const ABANDONED = 'MEDIA_TIMEOUT';

/** The cause of a call whose end nobody has seen: it ended while the control plane was away. */
export const UNSEEN = 'UNKNOWN';

/** `from` of a caller whose number was withheld, or who has none. The number itself is not kept anywhere. */
export const ANONYMOUS = 'anonymous';

/** A call as the platform holds it. Only `calls/` writes one. */
export interface Call {
  readonly id: string;
  readonly customerId: string;
  readonly applicationId: string | undefined;
  readonly direction: 'inbound' | 'outbound';
  readonly from: string;
  readonly to: string;
  readonly routeMode: RouteMode;
  readonly routingTarget: string;
  readonly answerUrl: string | undefined;
  /** Given with an outbound call in place of an answer_url: `{"actions": […]}` as the customer wrote it. */
  readonly actions?: string | undefined;
  readonly metadata: Readonly<Record<string, unknown>>;
  /** How long it may go on after its answer, in s; undefined: no limit. */
  readonly maxDurationSeconds?: number | undefined;
  /**
   * An outbound call that was asked to be recorded. Its metadata say so too, but those are the customer's to
   * write.
   */
  readonly recordFromAnswer?: boolean;
  readonly sipCallId: string | undefined;
  readonly createdAt: Date;
  status: CallStatus;
  /**
   * An inbound call came over it. An outbound call is tried over it, and in the end it is the one that
   * answered.
   */
  trunkId: string | undefined;
  providerCallId?: string;
  mediaNode?: string;
  /** Those of its SIP dialogs that have been answered. */
  farEnds?: readonly FarEnd[];
  variables: Record<string, string>;
  dialingAt?: Date;
  ringingAt?: Date;
  answeredAt?: Date;
  endedAt?: Date;
  hangup?: Hangup;
  failure?: { code: FailureCode; message: string };
  costMicros?: bigint;
  costCurrency?: string;
  /** How often each event was emitted; the sum is the sequence number of the last one. */
  eventCounts: Record<string, number>;
}

/**
 * A call in progress is canceled only where its answer has turned out to be none: see
 * `CallEnding.answerTakenBack`.
 */
/** No rtpengine answers: there can be no audio, so that nobody is called. */
export const AUDIO_AWAY = {
  code: 'media_unavailable',
  message: 'no rtpengine is there for the audio: the destination was not asked',
} as const;

const NEXT: Record<CallStatus, readonly CallStatus[]> = {
  dialing: ['ringing', 'in_progress', 'failed', 'canceled'],
  ringing: ['in_progress', 'failed', 'canceled'],
  in_progress: ['completed', 'failed', 'canceled'],
  completed: [],
  failed: [],
  canceled: [],
};

export const isTerminal = (status: CallStatus): boolean => NEXT[status].length === 0;

/** Whether the state machine of contract §2 allows this step; a terminal call never changes. */
export const mayBecome = (from: CallStatus, to: CallStatus): boolean => NEXT[from].includes(to);

/**
 * What is said of a far end that was not reached. Where it redirects to has no rate, no trunk and nobody's
 * consent: nobody goes there.
 */
export function destinationAnswered(answer: number | string, reason = ''): string {
  const redirected = /^3\d\d$/.test(String(answer)) ? ', and redirections are not followed' : '';
  return `the destination answered ${`${answer} ${reason}`.trim()}${redirected}`;
}

/** The final SIP code of a far end that was not reached, as `failure.code` (RFC 3261 §21). */
export function failureOf(sipCode: number): FailureCode {
  if (sipCode === 486 || sipCode === 600) return 'busy';
  if (sipCode === 408 || sipCode === 480) return 'no_answer';
  if (sipCode === 603 || sipCode === 403 || sipCode === 401 || sipCode === 407 || sipCode === 607)
    return 'rejected';
  if (sipCode === 404 || sipCode === 410 || sipCode === 484 || sipCode === 604) return 'invalid_number';
  if (sipCode === 503) return 'congestion';
  return 'unreachable';
}

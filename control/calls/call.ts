import type { ErrorCode } from '../lib/errors.ts';

export type CallStatus = 'dialing' | 'ringing' | 'in_progress' | 'completed' | 'failed' | 'canceled';
export type RouteMode = 'webhook' | 'sip' | 'reject';

/** `failure.code` of a failed call (contract §2). */
export type FailureCode =
  | 'busy' | 'no_answer' | 'rejected' | 'invalid_number' | 'unreachable' | 'congestion' | 'media_unavailable'
  | 'answer_url_error' | 'transfer_unreachable' | 'limit_reached' | Extract<ErrorCode, 'insufficient_balance' | 'internal_error'>;

export interface Hangup {
  by: 'caller' | 'callee' | 'application' | 'api' | 'platform';
  /** FreeSWITCH hangup cause, or the SIP reason where no media node was involved. */
  cause: string;
  sip_code?: number;
}

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
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly trunkId: string | undefined;
  readonly sipCallId: string | undefined;
  readonly createdAt: Date;
  status: CallStatus;
  providerCallId?: string;
  mediaNode?: string;
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

const NEXT: Record<CallStatus, readonly CallStatus[]> = {
  dialing: ['ringing', 'in_progress', 'failed', 'canceled'],
  ringing: ['in_progress', 'failed', 'canceled'],
  in_progress: ['completed', 'failed'],
  completed: [],
  failed: [],
  canceled: [],
};

export const isTerminal = (status: CallStatus): boolean => NEXT[status].length === 0;

/** Whether the state machine of contract §2 allows this step; a terminal call never changes. */
export const mayBecome = (from: CallStatus, to: CallStatus): boolean => NEXT[from].includes(to);

import { ApiError } from '../lib/errors.ts';
import type { Scope } from './scripts.ts';

/** What a leg of a call asks for. Limits that are undefined do not exist. */
export interface Place {
  callId: string;
  /** 0 is the call itself; 1, 2, … its second legs. */
  leg: number;
  customer: { id: string; cps: number; concurrentCalls: number };
  application: { id: string; cps?: number; concurrentCalls?: number };
  /** Trunks it may go out by, in the order in which they are to be tried; none for a leg to a SIP URI. */
  trunks: readonly { id: string; maxCps?: number; maxConcurrent?: number }[];
}

/**
 * Seconds after which it is worth trying again, by what was refused. A slot of the sliding second is free in
 * one; a call takes longer to end.
 */
const RETRY_SECONDS = { cps: 1, concurrent: 2, away: 2 };

export const unavailable = (): ApiError =>
  new ApiError('service_unavailable', 'limits cannot be checked right now', {
    retryAfter: RETRY_SECONDS.away,
  });

export const counting = (waitMs: number): ApiError =>
  new ApiError('service_unavailable', 'the calls in progress are being counted again', {
    retryAfter: Math.ceil(waitMs / 1000),
  });

/** Says which limit it was. */
export function refusal(
  limit: 'cps' | 'concurrent',
  scope: Scope,
  { customer, application }: Place,
): ApiError {
  const allowed = {
    cps: {
      customer: ['customer.limits.cps', customer.cps],
      application: ['application.max_cps', application.cps],
      trunk: ['trunk.max_cps'],
    },
    concurrent: {
      customer: ['customer.limits.concurrent_calls', customer.concurrentCalls],
      application: ['application.max_concurrent', application.concurrentCalls],
      trunk: ['trunk.max_concurrent'],
    },
  } as const;
  const [path, most] = allowed[limit][scope];
  return new ApiError(limit === 'cps' ? 'cps_limit_reached' : 'concurrent_call_limit_reached', undefined, {
    retryAfter: RETRY_SECONDS[limit],
    details: [
      {
        path,
        message:
          most === undefined
            ? 'every trunk that could take the call is at its limit'
            : `at most ${most}${limit === 'cps' ? ' calls per second' : ' calls at a time'}`,
      },
    ],
  });
}

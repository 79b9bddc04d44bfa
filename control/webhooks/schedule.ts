import type { DeliveryStatus } from './delivery.ts';

/**
 * Waits before the second and every later attempt, in seconds: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20
 * h, 24 h.
 */
export const RETRY_DELAYS_SECONDS = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400] as const;

const LONGEST_RETRY_AFTER_SECONDS = 86_400;

/** What an attempt makes of its delivery. */
export type Verdict =
  { status: Exclude<DeliveryStatus, 'pending'> } | { status: 'pending'; nextAttemptAt: Date };

export interface Outcome {
  /** 1 for the first, and for the first after a redelivery was asked for. */
  attempt: number;
  /** HTTP status, absent where there was no reply. */
  status: number | undefined;
  retryAfter: string | undefined;
  finishedAt: Date;
}

/**
 * 2xx is success and nothing else is; 410 says the endpoint is gone for good (contract §5).
 * @param random 0 to 1: retries are spread over up to a tenth of the wait, so that what failed together does
 *   not come back together.
 */
export function judge({ attempt, status, retryAfter, finishedAt }: Outcome, random: number): Verdict {
  if (status !== undefined && status >= 200 && status < 300) return { status: 'delivered' };
  if (status === 410) return { status: 'disabled' };
  const delay = RETRY_DELAYS_SECONDS[attempt - 1];
  if (delay === undefined) return { status: 'exhausted' };
  const asked = retryAfterSeconds(status, retryAfter, finishedAt);
  return {
    status: 'pending',
    nextAttemptAt: new Date(
      finishedAt.getTime() + Math.round(Math.max(delay, asked) * (1 + random / 10) * 1000),
    ),
  };
}

/**
 * How long a 429 or 503 asks us to stay away (RFC 9110 §10.2.3: seconds or a date), at most a day; otherwise
 * 0.
 */
export function retryAfterSeconds(status: number | undefined, header: string | undefined, now: Date): number {
  if ((status !== 429 && status !== 503) || header === undefined) return 0;
  const seconds = /^\s*\d+\s*$/.test(header) ? Number(header) : (Date.parse(header) - now.getTime()) / 1000;
  return Number.isNaN(seconds) ? 0 : Math.min(Math.max(seconds, 0), LONGEST_RETRY_AFTER_SECONDS);
}

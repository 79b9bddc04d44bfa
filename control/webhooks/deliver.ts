import { FetchError, type GuardedFetch } from '../lib/guarded-fetch.ts';
import { retryAfterSeconds } from './schedule.ts';
import { sign } from './signature.ts';
import type { Attempt, ClaimedDelivery } from './delivery.ts';

/**
 * Where an application wants its events, and the secrets that sign: two while one is rotating, none when it
 * has none.
 */
export interface Endpoint {
  url: string;
  secrets: readonly string[];
  /** It has said that it is gone: nothing is sent to it. */
  disabled?: boolean;
}

const TIMEOUT_MS = 10_000;
const REPLY_KEPT = 4096;
/** Read further than is kept, so that the connection of a talkative receiver can be used again. */
const REPLY_READ = 64 * 1024;
/** The status alone says whether an event was taken. So long the body may take after it, in ms. */
const REPLY_MS = 500;

/** Sends one delivery once. Never throws. */
export async function deliver(
  delivery: Pick<ClaimedDelivery, 'event' | 'eventId' | 'attempts' | 'body'>,
  endpoint: Endpoint,
  { fetch, now, signal }: { fetch: GuardedFetch['fetch']; now: () => Date; signal: AbortSignal },
): Promise<Attempt> {
  const at = now();
  const attempt = delivery.attempts + 1;
  const requestHeaders = {
    'Content-Type': 'application/json',
    'X-MiniVoice-Event': delivery.event,
    'X-MiniVoice-Event-Id': delivery.eventId,
    'X-MiniVoice-Attempt': String(attempt),
    ...sign(endpoint.secrets, delivery.body, at.getTime() / 1000),
  };
  const made = { attempt, at, url: endpoint.url, requestHeaders, aborted: false };
  try {
    const reply = await fetch(endpoint.url, {
      method: 'POST',
      headers: requestHeaders,
      body: delivery.body,
      timeoutMs: TIMEOUT_MS,
      maxBodyBytes: REPLY_READ,
      partial: { withinMs: REPLY_MS },
      idempotent: true,
      signal,
    });
    const retryAfter = reply.headers['retry-after'];
    return {
      ...made,
      status: reply.status,
      reply: reply.body.toString('utf8', 0, REPLY_KEPT),
      error: failureOf(reply.status),
      tookMs: reply.tookMs,
      retryAfter,
      stayAwaySeconds: retryAfterSeconds(reply.status, retryAfter, now()),
    };
  } catch (error) {
    const known = error instanceof FetchError ? error : undefined;
    return {
      ...made,
      status: undefined,
      reply: undefined,
      error: `${known?.kind ?? 'internal'}: ${error instanceof Error ? error.message : String(error)}`.slice(
        0,
        500,
      ),
      tookMs: known?.tookMs ?? 0,
      retryAfter: undefined,
      stayAwaySeconds: 0,
      aborted: known?.kind === 'aborted',
    };
  }
}

function failureOf(status: number): string | undefined {
  if (status >= 200 && status < 300) return undefined;
  return status >= 300 && status < 400 ? `status ${status}: redirects are not followed` : `status ${status}`;
}

import type { Headers, SipRequest } from './message.ts';

/** The least that RFC 4028 section 4 allows, in s. */
export const MIN_SESSION_EXPIRES = 90;

/** The most that can be said in seconds (RFC 3261 section 25.1): 136 years. */
const LONGEST = 0xffff_ffff;

/**
 * `Session-Expires`: the side that refreshes is named as seen from the request it stands in, or whose answer
 * it is.
 */
export interface SessionInterval {
  seconds: number;
  refresher?: 'uac' | 'uas';
}

/** What a message says of the session timer; undefined without the header, or when it cannot be read. */
export function sessionExpires(headers: Headers): SessionInterval | undefined {
  const match = /^\s*(\d+)\s*((?:;.*)?)$/.exec(headers.get('session-expires') ?? '');
  if (!match) return undefined;
  const refresher = /;\s*refresher\s*=\s*(uac|uas)\s*(?:;|$)/i.exec(match[2] ?? '')?.[1]?.toLowerCase();
  return {
    seconds: Math.min(Number(match[1]), LONGEST),
    ...((refresher === 'uac' || refresher === 'uas') && { refresher }),
  };
}

export const minSessionExpires = (headers: Headers): number => parseInt(headers.get('min-se') ?? '', 10) || 0;

export function supportsTimer(headers: Headers): boolean {
  return [...headers.all('supported'), ...headers.all('require')].some((list) =>
    /(^|[\s,])timer([\s,]|$)/i.test(list),
  );
}

/**
 * The request asks for a shorter interval than is allowed, and knows how to ask again (section 9: 422 with
 * Min-SE).
 */
export function asksTooShort(request: SipRequest): boolean {
  const asked = sessionExpires(request.headers);
  return asked !== undefined && asked.seconds < MIN_SESSION_EXPIRES && supportsTimer(request.headers);
}

/**
 * The timer of an answer to a request (section 9): the interval as it was asked for, the refresher the caller
 * has chosen, or else whoever refreshes already. One who knows nothing of timers has had the header put in by
 * a proxy: we refresh.
 * @param ours we are the refresher so far
 */
export function answeredTimer(request: SipRequest, ours: boolean): Required<SessionInterval> | undefined {
  const asked = sessionExpires(request.headers);
  if (!asked) return undefined;
  if (supportsTimer(request.headers))
    return { seconds: asked.seconds, refresher: asked.refresher ?? (ours ? 'uas' : 'uac') };
  return asked.seconds < MIN_SESSION_EXPIRES ? undefined : { seconds: asked.seconds, refresher: 'uas' };
}

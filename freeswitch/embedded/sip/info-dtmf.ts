import { clampDuration, DEFAULT_DURATION, type Digit } from '../rtp/telephone-event.ts';
import type { SipRequest } from './message.ts';

/**
 * The key in a SIP INFO: `application/dtmf-relay` (Signal= and Duration= in ms) or `application/dtmf` (the
 * key alone).
 */
export function digitOfInfo(request: SipRequest): Digit | undefined {
  const type = (request.headers.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase();
  const body = request.body.toString('latin1');
  let signal: string | undefined;
  let duration = DEFAULT_DURATION;
  if (type === 'application/dtmf-relay') {
    signal = /^\s*Signal\s*=\s*(\S+)/im.exec(body)?.[1];
    const ms = Number(/^\s*Duration\s*=\s*(\d+)/im.exec(body)?.[1] ?? 0);
    if (ms > 0) duration = ms * 8;
  } else if (type === 'application/dtmf') signal = body.trim();
  if (!signal) return undefined;
  // Some phones send the event number instead of the key, and the edge does for what is no digit.
  const key = /^1[0-5]$/.test(signal) ? ('*#ABCD'[Number(signal) - 10] ?? '') : signal.toUpperCase();
  return /^[0-9*#A-D]$/.test(key) ? { digit: key, duration: clampDuration(duration) } : undefined;
}

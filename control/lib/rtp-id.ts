import { createHash } from 'node:crypto';
import type { FarEnd } from './far-end.ts';

/**
 * The call id that rtpengine knows the audio of a call of ours by, as route[AUDIO_OF] of the edge makes it.
 * It is not the SIP Call-ID: two calls may share that.
 *
 * An inbound call comes by one INVITE and has its own id, but for one that was relayed without a decision:
 * the edge has made one up. A leg that a media node places, be it the outbound call itself, adds the first 16
 * hexadecimal digits of the MD5 of the leg's Call-ID.
 */
export function rtpIdOf(
  call: { id: string; direction: 'inbound' | 'outbound'; farEnds?: readonly FarEnd[] },
  sipCallId: string,
): string {
  return call.direction === 'inbound'
    ? inboundRtpIdOf(call)
    : `${call.id}-${createHash('md5').update(sipCallId).digest('hex').slice(0, 16)}`;
}

/** The same of an inbound call. */
export const inboundRtpIdOf = ({
  id,
  farEnds,
}: {
  id: string;
  farEnds?: readonly FarEnd[] | undefined;
}): string => farEnds?.find(({ rtpId }) => rtpId !== undefined)?.rtpId ?? id;

import { createHash } from 'node:crypto';

/**
 * The call id that rtpengine knows the audio of a call of ours by, as route[AUDIO_OF] of the edge makes it. It is not the SIP Call-ID:
 * two calls may share that.
 *
 * An inbound call comes by one INVITE and has its own id. A leg that a media node places, be it the outbound call itself, adds
 * the first 16 hexadecimal digits of the MD5 of the leg's Call-ID.
 */
export function rtpIdOf(call: { id: string; direction: 'inbound' | 'outbound' }, sipCallId: string): string {
  return call.direction === 'inbound' ? call.id : `${call.id}-${createHash('md5').update(sipCallId).digest('hex').slice(0, 16)}`;
}

import type { EventHeaders } from '../esl/event.ts';
import type { Call } from './call.ts';

/** Events that carry the channel's variables; the others have only who and when. */
export const VERBOSE_EVENTS: ReadonlySet<string> = new Set([
  'CHANNEL_CREATE',
  'CHANNEL_ANSWER',
  'CHANNEL_PARK',
  'CHANNEL_UNPARK',
  'CHANNEL_PROGRESS',
  'CHANNEL_PROGRESS_MEDIA',
  'CHANNEL_HANGUP',
  'CHANNEL_HANGUP_COMPLETE',
  'CHANNEL_DATA',
  'CHANNEL_EXECUTE',
  'CHANNEL_EXECUTE_COMPLETE',
  'CHANNEL_DESTROY',
  'PLAYBACK_START',
  'PLAYBACK_STOP',
  'RECORD_START',
  'RECORD_STOP',
  'CHANNEL_OUTGOING',
  'CHANNEL_ORIGINATE',
  'CHANNEL_BRIDGE',
  'CHANNEL_UNBRIDGE',
]);

/** Adds who and when. */
export function addChannelHeaders(headers: EventHeaders, channel: Call): void {
  headers['Channel-State'] = channel.state;
  headers['Channel-Call-State'] = channel.callState;
  headers['Channel-State-Number'] = String(channel.stateNumber);
  headers['Channel-Name'] = channel.profile.channelName;
  headers['Unique-ID'] = channel.uuid;
  headers['Call-Direction'] = channel.direction;
  headers['Presence-Call-Direction'] = channel.direction;
  headers['Channel-HIT-Dialplan'] = String(channel.direction === 'inbound');
  headers['Channel-Call-UUID'] = channel.variables.get('call_uuid') ?? channel.uuid;
  headers['Answer-State'] = channel.answerState;
  if (channel.hangupCause) headers['Hangup-Cause'] = channel.hangupCause;
  const { codec } = channel;
  if (codec) {
    for (const side of ['Read', 'Write']) {
      headers[`Channel-${side}-Codec-Name`] = codec;
      headers[`Channel-${side}-Codec-Rate`] = '8000';
      headers[`Channel-${side}-Codec-Bit-Rate`] = '64000';
    }
  }
  addProfile(headers, 'Caller', channel);
}

/** Adds who is at the other end of a bridge. */
export function addOtherLegHeaders(
  headers: EventHeaders,
  other: Call,
  type: 'originator' | 'originatee',
): void {
  headers['Other-Type'] = type;
  addProfile(headers, 'Other-Leg', other);
}

function addProfile(headers: EventHeaders, prefix: 'Caller' | 'Other-Leg', channel: Call): void {
  const { profile, times } = channel;
  headers[`${prefix}-Direction`] = channel.direction;
  headers[`${prefix}-Logical-Direction`] = channel.direction;
  if (profile.number) headers[`${prefix}-Username`] = profile.number;
  headers[`${prefix}-Dialplan`] = 'XML';
  headers[`${prefix}-Caller-ID-Name`] = profile.name;
  headers[`${prefix}-Caller-ID-Number`] = profile.number;
  headers[`${prefix}-Orig-Caller-ID-Name`] = profile.name;
  headers[`${prefix}-Orig-Caller-ID-Number`] = profile.number;
  if (channel.direction === 'outbound') {
    headers[`${prefix}-Callee-ID-Name`] = 'Outbound Call';
    headers[`${prefix}-Callee-ID-Number`] = profile.destination;
  }
  headers[`${prefix}-Network-Addr`] = profile.address;
  headers[`${prefix}-ANI`] = profile.number;
  headers[`${prefix}-Destination-Number`] = profile.destination;
  headers[`${prefix}-Unique-ID`] = channel.uuid;
  headers[`${prefix}-Source`] = 'mod_sofia';
  headers[`${prefix}-Context`] = 'minivoice';
  headers[`${prefix}-Channel-Name`] = profile.channelName;
  if (prefix === 'Caller') headers['Caller-Profile-Index'] = '1';
  headers[`${prefix}-Profile-Created-Time`] = String(times.created);
  headers[`${prefix}-Channel-Created-Time`] = String(times.created);
  headers[`${prefix}-Channel-Answered-Time`] = String(times.answered);
  headers[`${prefix}-Channel-Progress-Time`] = String(times.progress);
  headers[`${prefix}-Channel-Progress-Media-Time`] = String(times.progressMedia);
  headers[`${prefix}-Channel-Hangup-Time`] = String(times.hungup);
  headers[`${prefix}-Channel-Transfer-Time`] = '0';
  headers[`${prefix}-Channel-Resurrect-Time`] = '0';
  headers[`${prefix}-Channel-Bridged-Time`] = String(times.bridged);
  headers[`${prefix}-Channel-Last-Hold`] = '0';
  headers[`${prefix}-Channel-Hold-Accum`] = '0';
  headers[`${prefix}-Screen-Bit`] = 'true';
  headers[`${prefix}-Privacy-Hide-Name`] = 'false';
  headers[`${prefix}-Privacy-Hide-Number`] = 'false';
}

/** Adds the variables. */
export function addVariables(headers: EventHeaders, channel: Call): void {
  for (const [name, value] of channel.variables.entries()) headers[`variable_${name}`] = value;
}

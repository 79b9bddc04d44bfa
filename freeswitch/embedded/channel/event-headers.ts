import type { EventHeaders } from '../esl/event.ts';
import type { Channel } from './channel.ts';

/** Running and call states by FreeSWITCH's names and numbers. */
export const STATE_NUMBERS = {
  CS_NEW: 0, CS_INIT: 1, CS_ROUTING: 2, CS_EXECUTE: 4, CS_HANGUP: 10, CS_REPORTING: 11, CS_DESTROY: 12,
} as const;

export type ChannelState = keyof typeof STATE_NUMBERS;
export type CallState = 'DOWN' | 'RINGING' | 'EARLY' | 'ACTIVE' | 'HELD' | 'HANGUP';

/** Events that carry the channel's variables; the others have only who and when. */
export const VERBOSE_EVENTS: ReadonlySet<string> = new Set([
  'CHANNEL_CREATE', 'CHANNEL_ANSWER', 'CHANNEL_PARK', 'CHANNEL_UNPARK', 'CHANNEL_PROGRESS', 'CHANNEL_PROGRESS_MEDIA', 'CHANNEL_HANGUP',
  'CHANNEL_HANGUP_COMPLETE', 'CHANNEL_DATA', 'CHANNEL_EXECUTE', 'CHANNEL_EXECUTE_COMPLETE', 'CHANNEL_DESTROY', 'PLAYBACK_START', 'PLAYBACK_STOP',
]);

/** Adds who and when. */
export function addChannelHeaders(headers: EventHeaders, channel: Channel): void {
  const { profile, times } = channel;
  headers['Channel-State'] = channel.state;
  headers['Channel-Call-State'] = channel.callState;
  headers['Channel-State-Number'] = String(channel.stateNumber);
  headers['Channel-Name'] = profile.channelName;
  headers['Unique-ID'] = channel.uuid;
  headers['Call-Direction'] = 'inbound';
  headers['Presence-Call-Direction'] = 'inbound';
  headers['Channel-HIT-Dialplan'] = 'true';
  headers['Channel-Call-UUID'] = channel.uuid;
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
  headers['Caller-Direction'] = 'inbound';
  headers['Caller-Logical-Direction'] = 'inbound';
  if (profile.number) headers['Caller-Username'] = profile.number;
  headers['Caller-Dialplan'] = 'XML';
  headers['Caller-Caller-ID-Name'] = profile.name;
  headers['Caller-Caller-ID-Number'] = profile.number;
  headers['Caller-Orig-Caller-ID-Name'] = profile.name;
  headers['Caller-Orig-Caller-ID-Number'] = profile.number;
  headers['Caller-Network-Addr'] = profile.address;
  headers['Caller-ANI'] = profile.number;
  headers['Caller-Destination-Number'] = profile.destination;
  headers['Caller-Unique-ID'] = channel.uuid;
  headers['Caller-Source'] = 'mod_sofia';
  headers['Caller-Context'] = 'minivoice';
  headers['Caller-Channel-Name'] = profile.channelName;
  headers['Caller-Profile-Index'] = '1';
  headers['Caller-Profile-Created-Time'] = String(times.created);
  headers['Caller-Channel-Created-Time'] = String(times.created);
  headers['Caller-Channel-Answered-Time'] = String(times.answered);
  headers['Caller-Channel-Progress-Time'] = String(times.progress);
  headers['Caller-Channel-Progress-Media-Time'] = String(times.progressMedia);
  headers['Caller-Channel-Hangup-Time'] = String(times.hungup);
  headers['Caller-Channel-Transfer-Time'] = '0';
  headers['Caller-Channel-Resurrect-Time'] = '0';
  headers['Caller-Channel-Bridged-Time'] = '0';
  headers['Caller-Channel-Last-Hold'] = '0';
  headers['Caller-Channel-Hold-Accum'] = '0';
  headers['Caller-Screen-Bit'] = 'true';
  headers['Caller-Privacy-Hide-Name'] = 'false';
  headers['Caller-Privacy-Hide-Number'] = 'false';
}

/** Adds the variables. */
export function addVariables(headers: EventHeaders, channel: Channel): void {
  for (const [name, value] of channel.variables.entries()) headers[`variable_${name}`] = value;
}

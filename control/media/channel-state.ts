import { CALL_HEADERS, readCallHeaders, type CallHeaders } from '../lib/call-headers.ts';
import { farEndOf, type FarEnd } from '../lib/far-end.ts';
import { PEER_SILENT, type ChannelEnd } from './media.ts';

/**
 * The headers of an event about a channel, or of `uuid_dump UUID json`: FreeSWITCH writes both the same way.
 */
export type ChannelHeaders = Readonly<Record<string, string>>;

/** Variables of the headers of the INVITE, of the final reply to it, and of the last provisional one. */
const OF_INVITE = 'variable_sip_h_';
const OF_REPLY = 'variable_sip_rh_';
const OF_PROGRESS = 'variable_sip_ph_';

/** The `X-MV-*` headers of the INVITE, or undefined when the channel is not one of ours. */
export function ownHeaders(channel: ChannelHeaders): CallHeaders | undefined {
  // A second leg carries the headers of the call it was rung for.
  if (channel.variable_mv_leg_of) return undefined;
  return readCallHeaders(
    Object.entries(channel)
      .filter(([name]) => name.startsWith(OF_INVITE))
      .map(([name, value]): [string, string] => [name.slice(OF_INVITE.length), value]),
  );
}

export const dialogOf = (channel: ChannelHeaders): { callId: string; fromTag: string; toTag: string } => ({
  callId: channel.variable_sip_call_id ?? '',
  fromTag: channel.variable_sip_from_tag ?? '',
  toTag: channel.variable_sip_to_tag ?? '',
});

/**
 * How the far end of a channel is reached, as Kamailio has told the node; of a call of ours once it is
 * answered.
 */
export const farEndIn = (channel: ChannelHeaders): FarEnd | undefined =>
  farEndOf(
    channel[(isOutbound(channel) ? OF_REPLY : OF_INVITE) + CALL_HEADERS.farEnd],
    dialogOf(channel),
    isOutbound(channel),
  );

export const isAnswered = (channel: ChannelHeaders): boolean => channel['Answer-State'] === 'answered';

/** A call that we have placed ourselves. */
export const isOutbound = (channel: ChannelHeaders): boolean => channel['Call-Direction'] === 'outbound';

/** The far end has rung, or sent early media. */
export const rangBefore = (channel: ChannelHeaders): boolean =>
  Number(channel['Caller-Channel-Progress-Time'] ?? 0) > 0 ||
  Number(channel['Caller-Channel-Progress-Media-Time'] ?? 0) > 0;

/**
 * The trunk that Kamailio has named in its replies to a call of ours: in the final one, or else in the last
 * provisional one.
 */
export const trunkOf = (channel: ChannelHeaders): string | undefined =>
  (channel[OF_REPLY + CALL_HEADERS.trunk] ?? channel[OF_PROGRESS + CALL_HEADERS.trunk])?.trim() || undefined;

/** When the node answered the channel, by its own clock (µs since the epoch; 0 while unanswered). */
export function answeredAt(channel: ChannelHeaders): Date | undefined {
  const micros = Number(channel['Caller-Channel-Answered-Time'] ?? 0);
  return micros > 0 ? new Date(micros / 1000) : undefined;
}

/**
 * An event that was made while the channel was already being torn down: what it says of an application is no
 * verdict on it.
 */
export const isHangingUp = (channel: ChannelHeaders): boolean =>
  channel['Answer-State'] === 'hangup' || channel['Channel-State'] === 'CS_HANGUP';

/**
 * What is being played at this moment. `current_application`, and `application` in `show channels` as well,
 * keep the last application after its end; but its response is cleared when one starts and set when a
 * playback ends.
 */
export function playingNow(channel: ChannelHeaders): string | undefined {
  if (channel.variable_current_application !== 'playback' || channel.variable_current_application_response)
    return undefined;
  return channel.variable_current_application_data;
}

/** The SIP code FreeSWITCH sends a caller whom it has not answered, by hangup cause (its RFC 3398 table). */
const REFUSED_WITH: Readonly<Record<string, number>> = {
  USER_BUSY: 486,
  CALL_REJECTED: 603,
  NO_ANSWER: 480,
  NORMAL_CLEARING: 480,
  UNALLOCATED_NUMBER: 404,
  NORMAL_TEMPORARY_FAILURE: 503,
  ORIGINATOR_CANCEL: 487,
};

/** Causes by which a node says that it ended a channel on its own account. */
const NODE_CAUSES = new Set(['SYSTEM_SHUTDOWN', 'CRASH', 'NORMAL_CIRCUIT_CONGESTION', 'SWITCH_CONGESTION']);

/**
 * How a channel ended, from its CHANNEL_HANGUP_COMPLETE.
 * @param refusedWith the SIP code we have refused it with, where we have.
 */
export function endOf(
  channel: ChannelHeaders,
  answered: boolean,
  ours: boolean,
  refusedWith?: number,
): ChannelEnd {
  const disposition = channel.variable_sip_hangup_disposition;
  const told = channel['Hangup-Cause'] ?? channel.variable_hangup_cause ?? 'UNKNOWN';
  const cause = answered && !ours && !disposition && SILENCE_CAUSES.has(told) ? PEER_SILENT : told;
  const byCaller = disposition
    ? disposition.startsWith('recv_')
    : !ours && !isOutbound(channel) && cause === 'ORIGINATOR_CANCEL';
  const by = byCaller ? 'caller' : NODE_CAUSES.has(cause) && !ours ? 'node' : 'platform';
  const micros = Number(channel['Caller-Channel-Hangup-Time']);
  const at = micros > 0 ? new Date(micros / 1000) : new Date();
  if (answered && cancelWasFaster(channel)) return { by, cause, sipCode: 487, at, answerTakenBack: true };
  const sipCode = answered
    ? 200
    : isOutbound(channel)
      ? codeOfCallee(channel)
      : codeToCaller(channel, { cause, byCaller, refusedWith });
  return { by, cause, sipCode, at };
}

/**
 * What FreeSWITCH's SIP stack reports when it ends an answered call by itself: a session that was not
 * refreshed, or a 200 without its ACK. Every other end of an answered call has a `sip_hangup_disposition`.
 */
const SILENCE_CAUSES = new Set(['NORMAL_CLEARING', 'NORMAL_UNSPECIFIED']);

/**
 * A CANCEL that crossed the answer: FreeSWITCH takes the channel for answered, while its SIP stack has said
 * 487 already and can say 200 no more.
 */
export const cancelWasFaster = (channel: ChannelHeaders): boolean =>
  !isOutbound(channel) && channel.variable_sip_hangup_disposition === 'recv_cancel';

/**
 * Whether the far end of a call of ours has said goodbye so quickly that the node never came to tell of its
 * answer.
 */
export const answeredAndGone = (channel: ChannelHeaders): boolean =>
  isOutbound(channel) && channel.variable_sip_hangup_disposition === 'recv_bye';

const statusOf = (channel: ChannelHeaders): number =>
  Number(
    channel.variable_sip_term_status ??
      /^sip:(\d{3})$/.exec(channel.variable_proto_specific_hangup_cause ?? '')?.[1],
  );

/**
 * What the far end of a call of ours answered, where Kamailio had to make another code of it: a redirection,
 * a challenge.
 */
export const answeredTo = (channel: ChannelHeaders): number | undefined => {
  const code = Number(channel[OF_REPLY + CALL_HEADERS.answered]);
  return code >= 300 && code < 700 ? code : undefined;
};

function codeOfCallee(channel: ChannelHeaders): number | undefined {
  if (channel.variable_sip_hangup_disposition !== 'recv_refuse' || statusOf(channel) < 300) return undefined;
  return answeredTo(channel) ?? statusOf(channel);
}

function codeToCaller(
  channel: ChannelHeaders,
  end: { cause: string; byCaller: boolean; refusedWith?: number | undefined },
): number | undefined {
  if (end.byCaller) return 487;
  const told = statusOf(channel);
  return end.refusedWith ?? (told >= 300 ? told : REFUSED_WITH[end.cause]);
}

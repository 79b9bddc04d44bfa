import { AUDIO_AWAY, destinationAnswered, failureOf, type Call, type FailureCode } from '../calls/call.ts';
import type { CallEnding } from '../calls/calls.ts';
import { MediaError, NO_AUDIO, PEER_SILENT, type ChannelEnd } from '../media/media.ts';
import { FlowFailure } from './action.ts';
import type { Intent } from './course.ts';

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** How a flow that has thrown ends its call, and the SIP code that refuses an unanswered one. */
export function failureBy(error: unknown): { code: FailureCode; message: string; sipCode: number } {
  const code =
    error instanceof FlowFailure
      ? error.code
      : error instanceof MediaError
        ? 'media_unavailable'
        : 'internal_error';
  return {
    code,
    message: code === 'internal_error' ? 'internal error' : messageOf(error),
    // Never 503, which would tell the carrier that we can take no call at all (RFC 3261 §21.5.4).
    sipCode: isOurs(code) ? 500 : 480,
  };
}

/** Whether the platform is at fault, not the customer's server or money. */
export const isOurs = (code: FailureCode): boolean =>
  code === 'media_unavailable' || code === 'internal_error';

/**
 * What the end of a call's channel means for its record.
 * @param call as it is when all that was known of it before the end has been noted
 * @param intent why the platform has ended the channel, where it has
 */
export function callEndingOf(call: Call, end: ChannelEnd, intent: Intent | undefined): CallEnding {
  const { at } = end;
  const hangup = { cause: end.cause, ...(end.sipCode !== undefined && { sip_code: end.sipCode }) };
  const unanswered = call.direction === 'outbound' && !call.answeredAt;
  if (end.by === 'node')
    return {
      at,
      hangup: { by: 'platform', ...hangup },
      failure: { code: 'media_unavailable', message: 'the media node was lost' },
    };
  if (end.by === 'caller') {
    if (unanswered && end.sipCode === NO_AUDIO)
      return { at, hangup: { by: 'platform', cause: end.cause }, failure: AUDIO_AWAY };
    const failure = unanswered
      ? { code: failureOf(end.sipCode ?? 0), message: destinationAnswered(end.sipCode ?? end.cause) }
      : undefined;
    const by = call.direction === 'outbound' ? 'callee' : 'caller';
    return { at, hangup: { by, ...hangup }, failure, answerTakenBack: end.answerTakenBack };
  }
  const { failure } = intent ?? unforeseen(end, unanswered, call.answeredAt !== undefined);
  const cause = intent?.cause ?? end.cause;
  return { at, hangup: { by: intent?.by ?? 'platform', ...hangup, cause }, failure };
}

/**
 * The media node has ended the call by itself: an outbound one that rang out, an answered one whose far end
 * was silent, or for no reason that is known here.
 */
function unforeseen({ cause }: ChannelEnd, unanswered: boolean, answered: boolean): Pick<Intent, 'failure'> {
  if (answered && cause === PEER_SILENT) return {};
  return {
    failure:
      unanswered && cause === 'NO_ANSWER'
        ? { code: 'no_answer', message: 'nobody answered within the ring timeout' }
        : { code: 'media_unavailable', message: `the media node ended the call (${cause})` },
  };
}

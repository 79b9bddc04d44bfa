import { nowMicros } from '../esl/events.ts';
import { causeNumber, sipToCause } from '../causes.ts';
import type { Call } from './call.ts';
import { setExtraHeaders, type CallerProfile } from './invite-variables.ts';
import type { RemoteEnd } from './leg.ts';
import type { CallingListener, OutboundLeg } from './outbound-leg.ts';
import { setFailure } from './endings.ts';
import type { Digit, DigitSource } from '../rtp/telephone-event.ts';
import { parseNameAddr } from '../sip/fields.ts';
import type { SipRequest, SipResponse } from '../sip/message.ts';

const CHANNEL = 'switch_channel.c';

/** The profile of a call that this node places. */
export function calledProfile(leg: OutboundLeg): CallerProfile {
  const { uri, peer, from } = leg.destination;
  const called = uri.replace(/^sips?:/i, '');
  return {
    name: from.name,
    number: from.number,
    destination: called.split('@')[0] ?? '',
    address: peer.address,
    channelName: `sofia/minivoice/${called}`,
  };
}

/** The calling side of a channel: what becomes of its INVITE. */
export class Calling implements CallingListener {
  readonly #channel: Call;
  readonly #leg: OutboundLeg;
  /** It rings or sends early media. At most once. */
  onRinging: () => void = () => {};
  onConnected: () => void = () => {};

  constructor(channel: Call, leg: OutboundLeg) {
    this.#channel = channel;
    this.#leg = leg;
    leg.listen(this);
  }

  async start(): Promise<void> {
    const channel = this.#channel;
    channel.state = 'CS_NONE';
    channel.emit('CHANNEL_OUTGOING', {
      file: CHANNEL,
      fn: 'switch_core_session_outgoing_channel',
      line: 584,
    });
    channel.move('CS_INIT');
    channel.emit('CHANNEL_CREATE', {
      file: 'switch_core_state_machine.c',
      fn: 'switch_core_session_run',
      line: 626,
    });
    channel.emit('CHANNEL_ORIGINATE', {
      file: 'switch_core_state_machine.c',
      fn: 'switch_core_session_run',
      line: 630,
    });
    channel.move('CS_ROUTING');
    channel.move('CS_CONSUME_MEDIA');
    try {
      await this.#leg.call();
      this.#tell();
    } catch (error) {
      channel.log.error({ err: error, uuid: channel.uuid }, 'no audio');
      channel.hangup('NORMAL_TEMPORARY_FAILURE');
    }
  }

  onResponse({ status, headers }: SipResponse): void {
    const { variables } = this.#channel;
    setExtraHeaders(variables, status < 200 ? 'sip_ph_' : 'sip_rh_', headers);
    if (status < 300) variables.set('sip_to_tag', parseNameAddr(headers.get('to') ?? '')?.params.tag);
  }

  onProgress(early: boolean): void {
    const channel = this.#channel;
    const { times } = channel;
    if (channel.down) return;
    const first = times.progress === 0 && times.progressMedia === 0;
    if (early && times.progressMedia === 0) {
      times.progressMedia = nowMicros();
      channel.variables.set('endpoint_disposition', 'EARLY MEDIA');
      channel.emit('CHANNEL_PROGRESS_MEDIA', {
        file: CHANNEL,
        fn: 'switch_channel_perform_mark_pre_answered',
        line: 3586,
      });
      channel.setCallState('EARLY');
    } else if (!early && times.progress === 0) {
      times.progress = nowMicros();
      channel.emit('CHANNEL_PROGRESS', {
        file: CHANNEL,
        fn: 'switch_channel_perform_mark_ring_ready_value',
        line: 3505,
      });
      if (first) channel.setCallState('RINGING');
    }
    if (first) this.onRinging();
  }

  onAnswered(): void {
    const channel = this.#channel;
    if (channel.down) return;
    channel.times.answered = nowMicros();
    channel.variables.set('endpoint_disposition', 'ANSWER');
    channel.runOnAnswer();
    channel.emit('CHANNEL_ANSWER', { file: CHANNEL, fn: 'switch_channel_perform_mark_answered', line: 3846 });
    channel.setCallState('ACTIVE');
    this.onConnected();
  }

  onRefused(status: number, reason: string): void {
    const channel = this.#channel;
    if (channel.down) return;
    const { variables } = channel;
    const cause = sipToCause(status);
    setFailure(variables, status, reason);
    variables.set('sip_term_status', status);
    variables.set('sip_term_cause', causeNumber(cause));
    variables.set('proto_specific_hangup_cause', `sip:${status}`);
    variables.set('sip_hangup_disposition', 'recv_refuse');
    channel.end(cause, false);
  }

  onRemoteEnd(how: RemoteEnd, request?: SipRequest): void {
    this.#channel.onRemoteEnd(how, request);
  }

  onDigit(digit: Digit, source: DigitSource): void {
    this.#channel.onDigit(digit, source);
  }

  onMediaChanged(): void {
    this.#channel.onMediaChanged();
  }

  /** What is known of the dialog. */
  #tell(): void {
    const { variables } = this.#channel;
    variables.set('sip_call_id', this.#leg.callId);
    variables.set('sip_from_tag', this.#leg.localTag);
    variables.set('sip_cseq', this.#leg.cseq);
  }
}

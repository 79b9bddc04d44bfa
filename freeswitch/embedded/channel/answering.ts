import { nowMicros } from '../esl/events.ts';
import type { Call } from './call.ts';
import type { InboundLeg } from './inbound-leg.ts';
import { NoCommonCodec } from './leg.ts';
import { park } from './park.ts';

/** A parked call nobody answers or frees ends by itself. */
const GUARD_MS = 30_000;

/** The called side of a channel: the dialplan, ringing, early media, the answer. */
export class Answering {
  readonly #channel: Call;
  readonly #leg: InboundLeg;
  #preAnswering: Promise<boolean> | undefined;

  constructor(channel: Call, leg: InboundLeg) {
    this.#channel = channel;
    this.#leg = leg;
    leg.listen(channel);
  }

  /**
   * What the dialplan does with a call: one for a room of this node enters it, one that belongs to the
   * control plane rings and parks, any other is refused.
   */
  async start(): Promise<void> {
    const channel = this.#channel;
    const { variables, executor } = channel;
    channel.move('CS_INIT');
    channel.emit('CHANNEL_CREATE', {
      file: 'switch_core_state_machine.c',
      fn: 'switch_core_session_run',
      line: 626,
    });
    channel.setCallState('RINGING');
    channel.move('CS_ROUTING');
    channel.move('CS_EXECUTE');
    const room = variables.get('sip_h_X-MV-Room') ?? '';
    const flags = variables.get('sip_h_X-MV-Room-Flags') ?? '';
    if (/^[A-Za-z0-9._-]+$/.test(room) && /^(?:mute|endconf|\|)*$/.test(flags)) {
      await executor.apply('set', 'exclude_outgoing_extra_header=^sip_h_');
      await executor.apply('answer', undefined);
      await executor.apply('conference', `${room}@default+flags{${flags}}`);
      await executor.apply('hangup', 'NORMAL_CLEARING');
      return;
    }
    if (!/^\S+$/.test(variables.get('sip_h_X-MV-Call-ID') ?? '')) {
      await executor.apply('respond', '403');
      return;
    }
    const settings = 'hangup_after_bridge=false;continue_on_fail=true;exclude_outgoing_extra_header=^sip_h_';
    await executor.apply('multiset', `^^;${settings};api_on_answer=sched_del ${channel.uuid}`);
    channel.guard.set(GUARD_MS, 'NORMAL_TEMPORARY_FAILURE');
    await executor.apply('ring_ready', undefined);
    if (!channel.down) park(channel);
  }

  ringReady(): void {
    const channel = this.#channel;
    if (channel.down || channel.answered || channel.times.progress > 0) return;
    channel.times.progress = nowMicros();
    this.#leg.ringing();
    channel.emit('CHANNEL_PROGRESS', {
      file: 'switch_channel.c',
      fn: 'switch_channel_perform_mark_ring_ready_value',
      line: 3505,
    });
  }

  preAnswer(): Promise<boolean> {
    const channel = this.#channel;
    const { times } = channel;
    if (channel.down) return Promise.resolve(false);
    if (this.#leg.rtp) return Promise.resolve(true);
    this.#preAnswering ??= this.#openAudio(() => this.#leg.progress()).then((open) => {
      this.#preAnswering = undefined;
      if (!open || channel.answered || times.progressMedia > 0) return open;
      times.progressMedia = nowMicros();
      channel.variables.set('endpoint_disposition', 'EARLY MEDIA');
      channel.setCallState('EARLY');
      channel.emit('CHANNEL_PROGRESS_MEDIA', {
        file: 'switch_channel.c',
        fn: 'switch_channel_perform_mark_pre_answered',
        line: 3586,
      });
      return true;
    });
    return this.#preAnswering;
  }

  async answer(): Promise<boolean> {
    const channel = this.#channel;
    const { times } = channel;
    if (channel.down) return false;
    if (channel.answered) return true;
    await this.#preAnswering;
    if (!(await this.#openAudio(() => this.#leg.answer()))) return false;
    if (channel.answered) return true;
    times.answered = nowMicros();
    times.progressMedia ||= times.answered;
    channel.guard.release();
    channel.variables.set('endpoint_disposition', 'ANSWER');
    channel.callState = 'EARLY';
    channel.emit('CHANNEL_ANSWER', {
      file: 'switch_channel.c',
      fn: 'switch_channel_perform_mark_answered',
      line: 3850,
    });
    channel.setCallState('ACTIVE');
    return true;
  }

  async #openAudio(open: () => Promise<void>): Promise<boolean> {
    const channel = this.#channel;
    try {
      await open();
    } catch (error) {
      if (!(error instanceof NoCommonCodec))
        channel.log.error({ err: error, uuid: channel.uuid }, 'no audio');
      channel.hangup(
        error instanceof NoCommonCodec ? 'INCOMPATIBLE_DESTINATION' : 'NORMAL_TEMPORARY_FAILURE',
      );
      return false;
    }
    if (channel.down || !this.#leg.rtp) return false;
    channel.onMediaChanged();
    return true;
  }
}

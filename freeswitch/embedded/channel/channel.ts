import { randomUUID } from 'node:crypto';
import type { Logger } from '../../../control/lib/logger.ts';
import { causeToSip, q850, reasonHeader, sipToCause } from '../causes.ts';
import type { EventHeaders } from '../esl/event.ts';
import { nowMicros, type EventHub, type Origin } from '../esl/events.ts';
import type { MediaLibrary } from '../media/library.ts';
import type { G711 } from '../rtp/g711.ts';
import type { Digit } from '../rtp/telephone-event.ts';
import type { SipRequest } from '../sip/message.ts';
import { DigitQueue, type DigitSource } from './digits.ts';
import { addChannelHeaders, addVariables, STATE_NUMBERS, VERBOSE_EVENTS, type CallState, type ChannelState } from './event-headers.ts';
import { Executor } from './executor.ts';
import { NoCommonCodec, type InboundLeg, type LegListener, type RemoteEnd } from './inbound-leg.ts';
import { callerProfile, setInviteVariables, type CallerProfile } from './invite-variables.ts';
import { setMediaVariables, setStatsVariables } from './media-variables.ts';
import { Player } from './player.ts';
import { setRemoteEnd } from './remote-end.ts';
import { setTimeVariables, type ChannelTimes } from './times.ts';
import { Variables } from './variables.ts';

/** What a channel needs of the node around it. */
export interface ChannelContext {
  hub: EventHub;
  library: MediaLibrary;
  log: Logger;
  local: { ip: string; port: number };
  sessionId: number;
  /** The channel is over. */
  onGone: (channel: Channel) => void;
}

/** A parked call nobody answers or frees ends by itself. */
const GUARD_MS = 30_000;

/** One call: its states, its variables, what runs on it, the events it tells. */
export class Channel implements LegListener {
  readonly uuid: string = randomUUID();
  readonly variables: Variables = new Variables();
  readonly profile: CallerProfile;
  readonly times: ChannelTimes = { created: nowMicros(), answered: 0, progress: 0, progressMedia: 0, hungup: 0 };
  readonly executor: Executor = new Executor(this);
  readonly player: Player = new Player();
  readonly digits: DigitQueue = new DigitQueue(this);
  readonly log: Logger;
  readonly library: MediaLibrary;
  readonly #leg: InboundLeg;
  readonly #context: ChannelContext;
  #guard: NodeJS.Timeout | undefined;
  /** What tells of the park application, once it runs. */
  #park: EventHeaders | undefined;
  #refusal: { status: number; reason: string } | undefined;
  #preAnswering: Promise<boolean> | undefined;
  state: ChannelState = 'CS_NEW';
  stateNumber: number = STATE_NUMBERS.CS_NEW;
  callState: CallState = 'DOWN';
  hangupCause = '';
  /** The end came from this side: a command, a guard, the shutdown. */
  hungUpByUs = false;
  lastApplication: { name: string; data: string } = { name: '', data: '' };

  constructor(leg: InboundLeg, context: ChannelContext) {
    this.#leg = leg;
    this.#context = context;
    this.log = context.log;
    this.library = context.library;
    this.profile = callerProfile(leg.invite);
    this.variables.set('direction', 'inbound');
    this.variables.set('uuid', this.uuid);
    this.variables.set('call_uuid', this.uuid);
    this.variables.set('session_id', context.sessionId);
    setInviteVariables(this.variables, leg.invite, context.local, leg.dialog.localTag);
    leg.listen(this);
  }

  get down(): boolean {
    return this.hangupCause !== '';
  }

  get answered(): boolean {
    return this.times.answered > 0;
  }

  get answerState(): string {
    if (this.down) return 'hangup';
    if (this.answered) return 'answered';
    return this.times.progressMedia > 0 ? 'early' : 'ringing';
  }

  /** The codec in use, once there is audio. */
  get codec(): G711 | undefined {
    return this.#leg.rtp?.agreement?.codec;
  }

  /** What the dialplan does with a call: one that belongs to the control plane rings and parks, any other is refused. */
  async start(): Promise<void> {
    this.#move('CS_INIT');
    this.emit('CHANNEL_CREATE', { file: 'switch_core_state_machine.c', fn: 'switch_core_session_run', line: 626 });
    this.#setCallState('RINGING');
    this.#move('CS_ROUTING');
    this.#move('CS_EXECUTE');
    if (!/^\S+$/.test(this.variables.get('sip_h_X-MV-Call-ID') ?? '')) {
      await this.executor.apply('respond', '403');
      return;
    }
    const settings = 'playback_terminators=none;hangup_after_bridge=false;park_after_bridge=true;continue_on_fail=true;exclude_outgoing_extra_header=^sip_h_';
    await this.executor.apply('multiset', `^^;${settings};api_on_answer=sched_del ${this.uuid}`);
    this.#guard = setTimeout(() => this.hangup('NORMAL_TEMPORARY_FAILURE'), GUARD_MS);
    await this.executor.apply('ring_ready', undefined);
    if (this.down) return;
    this.variables.set('current_application', 'park');
    this.variables.set('current_application_data', undefined);
    this.lastApplication = { name: 'park', data: '' };
    const origin = { file: 'switch_core_session.c', fn: 'switch_core_session_exec', line: 2929 };
    const park = { Application: 'park', 'Application-UUID': randomUUID() };
    this.emit('CHANNEL_EXECUTE', origin, park);
    this.emit('CHANNEL_PARK', { file: 'switch_ivr.c', fn: 'switch_ivr_park', line: 1002 });
    this.#park = park;
    this.executor.park();
  }

  /** Takes back the guard that would end a call nobody answers. @returns whether it was set */
  releaseGuard(): boolean {
    const was = this.#guard !== undefined;
    clearTimeout(this.#guard);
    this.#guard = undefined;
    return was;
  }

  emit(name: string, origin?: Origin, extra?: EventHeaders): void {
    const { hub } = this.#context;
    if (!hub.wanted(name)) return;
    hub.fire(name, this.#headers(name, origin, extra));
  }

  #headers(name: string, origin?: Origin, extra?: EventHeaders): EventHeaders {
    const headers = this.#context.hub.begin(name, origin);
    addChannelHeaders(headers, this);
    if (VERBOSE_EVENTS.has(name)) addVariables(headers, this);
    return extra ? Object.assign(headers, extra) : headers;
  }

  /** All there is to know about the channel, as `uuid_dump` tells it. */
  dump(): EventHeaders {
    return this.#headers('CHANNEL_DATA', { file: 'mod_commands.c', fn: 'uuid_dump_function', line: 6468 });
  }

  #move(state: ChannelState): void {
    this.state = state;
    this.stateNumber = STATE_NUMBERS[state];
    this.emit('CHANNEL_STATE', { file: 'switch_channel.c', fn: 'switch_channel_perform_set_running_state', line: 2512 });
  }

  #setCallState(callState: CallState): void {
    const before = this.callState;
    this.callState = callState;
    const origin = { file: 'switch_channel.c', fn: 'switch_channel_perform_set_callstate', line: 314 };
    this.emit('CHANNEL_CALLSTATE', origin, { 'Original-Channel-Call-State': before });
  }

  ringReady(): void {
    if (this.down || this.answered || this.times.progress > 0) return;
    this.times.progress = nowMicros();
    this.#leg.ringing();
    this.emit('CHANNEL_PROGRESS', { file: 'switch_channel.c', fn: 'switch_channel_perform_mark_ring_ready_value', line: 3505 });
  }

  /** Early media, unless there is media already. @returns false when it cannot be had; the channel is then over */
  preAnswer(): Promise<boolean> {
    if (this.down) return Promise.resolve(false);
    if (this.#leg.rtp) return Promise.resolve(true);
    this.#preAnswering ??= this.#openAudio(() => this.#leg.progress()).then((open) => {
      this.#preAnswering = undefined;
      if (!open || this.answered || this.times.progressMedia > 0) return open;
      this.times.progressMedia = nowMicros();
      this.variables.set('endpoint_disposition', 'EARLY MEDIA');
      this.#setCallState('EARLY');
      this.emit('CHANNEL_PROGRESS_MEDIA', { file: 'switch_channel.c', fn: 'switch_channel_perform_mark_pre_answered', line: 3586 });
      return true;
    });
    return this.#preAnswering;
  }

  /** @returns false when the call is over */
  async answer(): Promise<boolean> {
    if (this.down) return false;
    if (this.answered) return true;
    await this.#preAnswering;
    if (!(await this.#openAudio(() => this.#leg.answer()))) return false;
    if (this.answered) return true;
    this.times.answered = nowMicros();
    this.times.progressMedia ||= this.times.answered;
    this.releaseGuard();
    this.variables.set('endpoint_disposition', 'ANSWER');
    this.callState = 'EARLY';
    this.emit('CHANNEL_ANSWER', { file: 'switch_channel.c', fn: 'switch_channel_perform_mark_answered', line: 3850 });
    this.#setCallState('ACTIVE');
    return true;
  }

  /** The codec to play in, waiting for it if it is still being agreed on. */
  async mediaCodec(): Promise<G711 | undefined> {
    if (!this.codec && !this.down) await this.#leg.mediaSettled;
    return this.down ? undefined : this.codec;
  }

  async #openAudio(open: () => Promise<void>): Promise<boolean> {
    try {
      await open();
    } catch (error) {
      if (!(error instanceof NoCommonCodec)) this.log.error({ err: error, uuid: this.uuid }, 'no audio');
      this.hangup(error instanceof NoCommonCodec ? 'INCOMPATIBLE_DESTINATION' : 'NORMAL_TEMPORARY_FAILURE');
      return false;
    }
    const { rtp } = this.#leg;
    if (this.down || !rtp) return false;
    this.player.attach(rtp);
    setMediaVariables(this.variables, rtp, this.#leg.localSdp);
    return true;
  }

  onMediaChanged(): void {
    const { rtp } = this.#leg;
    if (rtp) setMediaVariables(this.variables, rtp, this.#leg.localSdp);
  }

  onDigit(digit: Digit, source: DigitSource): void {
    if (!this.down) this.digits.push(digit, source);
  }

  /** Keys to the caller, `123@100` with 100 ms each. @returns false when there is nobody to send them to */
  sendDigits(text: string): boolean {
    const [keys = '', ms] = text.split('@');
    const events = this.#leg.rtp?.events;
    if (!events || this.#leg.rtp?.agreement?.eventPayload === undefined) return false;
    const duration = ms ? (parseInt(ms, 10) || 0) * 8 : undefined;
    let sent = 0;
    for (const key of keys) if (events.add(key, duration)) sent++;
    return sent > 0;
  }

  /** Ends the call with this very SIP code where it is not answered yet. */
  refuse(status: number, reason: string): void {
    this.#refusal = { status, reason };
    this.hangup(sipToCause(status));
  }

  onRemoteEnd(how: RemoteEnd, request?: SipRequest): void {
    if (this.down) return;
    if (how === 'bye' || how === 'cancel') this.#end(setRemoteEnd(this.variables, how, request), false);
    else this.hangup(how === 'no-codec' ? 'INCOMPATIBLE_DESTINATION' : 'RECOVERY_ON_TIMER_EXPIRE');
  }

  hangup(cause: string): void {
    this.#end(cause, true);
  }

  #end(cause: string, byUs: boolean): void {
    if (this.down) return;
    this.hangupCause = cause;
    this.hungUpByUs = byUs;
    this.stateNumber = STATE_NUMBERS.CS_HANGUP;
    this.releaseGuard();
    this.emit('CHANNEL_HANGUP', { file: 'switch_channel.c', fn: 'switch_channel_perform_hangup', line: 3397 });
    void this.#finish().catch((error: unknown) => this.log.error({ err: error, uuid: this.uuid }, 'channel did not end cleanly'));
  }

  async #finish(): Promise<void> {
    const { variables } = this;
    try {
      await this.executor.stop();
      if (this.#park) {
        this.emit('CHANNEL_UNPARK', { file: 'switch_ivr.c', fn: 'switch_ivr_park', line: 1226 });
        const response = variables.get('current_application_response') ?? '_none_';
        const origin = { file: 'switch_core_session.c', fn: 'switch_core_session_exec', line: 2967 };
        this.emit('CHANNEL_EXECUTE_COMPLETE', origin, { ...this.#park, 'Application-Response': response });
      }
      this.times.hungup = nowMicros();
      const { rtp } = this.#leg;
      if (this.hungUpByUs) {
        variables.set('sip_hangup_disposition', this.answered ? 'send_bye' : 'send_refuse');
        const reason = reasonHeader(this.hangupCause);
        if (this.answered) this.#leg.bye();
        else this.#leg.refuse(this.#refusal?.status ?? causeToSip(this.hangupCause), this.#refusal?.reason || undefined, reason);
      }
      this.#move('CS_HANGUP');
      this.#setCallState('HANGUP');
      variables.set('hangup_cause', this.hangupCause);
      variables.set('hangup_cause_q850', q850(this.hangupCause));
      variables.set('digits_dialed', this.digits.dialed || 'none');
      setTimeVariables(variables, this.times, `"${this.profile.name}" <${this.profile.number}>`);
      if (rtp) setStatsVariables(variables, rtp.stats);
      this.#move('CS_REPORTING');
      this.emit('CHANNEL_HANGUP_COMPLETE', { file: 'switch_core_state_machine.c', fn: 'switch_core_session_reporting_state', line: 947 });
      this.emit('CHANNEL_DESTROY', { file: 'switch_core_session.c', fn: 'switch_core_session_perform_destroy', line: 1613 });
    } finally {
      this.#context.onGone(this);
    }
    this.#move('CS_DESTROY');
  }
}

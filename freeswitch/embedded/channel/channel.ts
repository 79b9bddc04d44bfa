import { randomUUID } from 'node:crypto';
import type { Logger } from '../../../control/lib/logger.ts';
import { q850, sipToCause } from '../causes.ts';
import type { Rooms } from '../conference/room.ts';
import type { EventHeaders } from '../esl/event.ts';
import { nowMicros, type EventHub, type Origin } from '../esl/events.ts';
import type { MediaLibrary } from '../media/library.ts';
import { POLICY } from '../policy.ts';
import type { G711 } from '../rtp/g711.ts';
import type { Digit, DigitSource } from '../rtp/telephone-event.ts';
import type { SipRequest } from '../sip/message.ts';
import type { Answering } from './answering.ts';
import { ChannelAudio } from './audio.ts';
import type { Call } from './call.ts';
import type { Calling } from './calling.ts';
import type { DialString } from './dial-string.ts';
import { DigitQueue } from './digits.ts';
import { addChannelHeaders, addOtherLegHeaders, addVariables, VERBOSE_EVENTS } from './event-headers.ts';
import { Executor } from './executor.ts';
import { Guard } from './guard.ts';
import type { CallerProfile } from './invite-variables.ts';
import type { Leg, LegListener, RemoteEnd } from './leg.ts';
import { setMediaVariables, setStatsVariables } from './media-variables.ts';
import type { Player } from './player.ts';
import { Recordings } from './recordings.ts';
import { setOwnEnd, setRemoteEnd } from './endings.ts';
import { STATE_NUMBERS, type CallState, type ChannelState } from './states.ts';
import { setTimeVariables, type ChannelTimes } from './times.ts';
import { Variables } from './variables.ts';

/** What a channel needs of the node around it. */
export interface ChannelContext {
  hub: EventHub;
  library: MediaLibrary;
  rooms: Rooms;
  log: Logger;
  local: { ip: string; port: number };
  sessionId: number;
  /** The channel is over. */
  onGone: (channel: Channel) => void;
  /** Makes a channel that calls somebody for another one; the hangup cause where it cannot be made. */
  place: (dial: DialString, by: Channel) => Placed | string;
  /** Runs an API command, as `api_on_answer` has one. */
  api: (command: string) => void;
}

/** A channel that is about to call somebody. */
export interface Placed {
  channel: Channel;
  calling: Calling;
}

/** One call: its states, its variables, what runs on it, the events it tells. */
export class Channel implements Call, LegListener {
  readonly uuid: string;
  readonly direction: 'inbound' | 'outbound';
  readonly variables: Variables = new Variables();
  readonly profile: CallerProfile;
  readonly times: ChannelTimes = {
    created: nowMicros(),
    answered: 0,
    progress: 0,
    progressMedia: 0,
    bridged: 0,
    hungup: 0,
  };
  readonly executor: Executor = new Executor(this);
  readonly audio: ChannelAudio = new ChannelAudio();
  readonly recordings: Recordings = new Recordings(this);
  readonly digits: DigitQueue = new DigitQueue(this);
  /** Ends a call that nobody takes. */
  readonly guard: Guard = new Guard((cause) => this.hangup(cause));
  readonly log: Logger;
  readonly library: MediaLibrary;
  readonly rooms: Rooms;
  readonly leg: Leg;
  readonly #context: ChannelContext;
  /** How a call that came in is answered; absent on one that this node has placed. */
  answering: Answering | undefined;
  /** The other leg, from the moment one is called for this channel or by it. */
  other: Call | undefined;
  /** This channel was called for the other one. */
  originated = false;
  /** Audio passes between the two legs. */
  connected = false;
  /** What tells of the park application, once it runs. */
  park: EventHeaders | undefined;
  #refusal: { status: number; reason: string } | undefined;
  #ended: (() => void)[] = [];
  #setFinished: () => void = () => {};
  /** Resolves when the end has been told. */
  readonly finished: Promise<void> = new Promise((resolve) => (this.#setFinished = resolve));
  state: ChannelState = 'CS_NEW';
  stateNumber: number = STATE_NUMBERS.CS_NEW;
  callState: CallState = 'DOWN';
  hangupCause = '';
  /** The end came from this side: a command, a guard, the shutdown. */
  hungUpByUs = false;
  lastApplication: { name: string; data: string } = { name: '', data: '' };

  constructor(
    leg: Leg,
    profile: CallerProfile,
    direction: 'inbound' | 'outbound',
    context: ChannelContext,
    uuid: string = randomUUID(),
  ) {
    this.uuid = uuid;
    this.leg = leg;
    this.direction = direction;
    this.#context = context;
    this.log = context.log;
    this.library = context.library;
    this.rooms = context.rooms;
    this.profile = profile;
    this.variables.set('direction', direction);
    if (direction === 'outbound') this.variables.set('is_outbound', 'true');
    this.variables.set('uuid', this.uuid);
    this.variables.set('call_uuid', this.uuid);
    this.variables.set('session_id', context.sessionId);
  }

  get player(): Player {
    return this.audio.player;
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

  /** A variable of the channel, or else what holds for all. */
  variable(name: string): string | undefined {
    return this.variables.get(name) ?? POLICY.get(name);
  }

  /** The codec in use, once there is audio. */
  get codec(): G711 | undefined {
    return this.leg.rtp?.agreement?.codec;
  }

  emit(name: string, origin?: Origin, extra?: EventHeaders): void {
    const { hub } = this.#context;
    if (!hub.wanted(name)) return;
    hub.fire(name, this.#headers(name, origin, extra));
  }

  #headers(name: string, origin?: Origin, extra?: EventHeaders): EventHeaders {
    const headers = this.#context.hub.begin(name, origin);
    addChannelHeaders(headers, this);
    if (this.other) addOtherLegHeaders(headers, this.other, this.originated ? 'originator' : 'originatee');
    if (VERBOSE_EVENTS.has(name)) addVariables(headers, this);
    return extra ? Object.assign(headers, extra) : headers;
  }

  /** All there is to know about the channel, as `uuid_dump` tells it. */
  dump(): EventHeaders {
    return this.#headers('CHANNEL_DATA', { file: 'mod_commands.c', fn: 'uuid_dump_function', line: 6468 });
  }

  move(state: ChannelState): void {
    this.state = state;
    this.stateNumber = STATE_NUMBERS[state];
    this.emit('CHANNEL_STATE', {
      file: 'switch_channel.c',
      fn: 'switch_channel_perform_set_running_state',
      line: 2512,
    });
  }

  setCallState(callState: CallState): void {
    const before = this.callState;
    if (before === callState) return;
    this.callState = callState;
    const origin = { file: 'switch_channel.c', fn: 'switch_channel_perform_set_callstate', line: 314 };
    this.emit('CHANNEL_CALLSTATE', origin, { 'Original-Channel-Call-State': before });
  }

  ringReady(): void {
    this.answering?.ringReady();
  }

  /**
   * Early media, unless there is media already.
   * @returns false when it cannot be had; the channel is then over
   */
  async preAnswer(): Promise<boolean> {
    return this.answering ? this.answering.preAnswer() : !this.down && this.leg.rtp?.agreement !== undefined;
  }

  /** @returns false when the call is over, or is not ours to answer */
  async answer(): Promise<boolean> {
    return this.answering ? this.answering.answer() : !this.down && this.answered;
  }

  /** The codec to play in, waiting for it if it is still being agreed on; none when the call ends before. */
  async mediaCodec(): Promise<G711 | undefined> {
    if (!this.codec && !this.down) {
      let forget = (): void => undefined;
      await Promise.race([
        this.leg.mediaSettled,
        new Promise<void>((resolve) => {
          forget = this.onDown(resolve);
        }),
      ]);
      forget();
    }
    return this.down ? undefined : this.codec;
  }

  /** There is audio, or another than before. */
  onMediaChanged(): void {
    const { rtp } = this.leg;
    if (!rtp || this.down) return;
    if (this.audio.rtp !== rtp) this.audio.attach(rtp);
    setMediaVariables(this.variables, rtp, this.leg.localSdp);
  }

  onDigit(digit: Digit, source: DigitSource): void {
    if (!this.down) this.digits.push(digit, source);
  }

  /** Keys to the caller, `123@100` with 100 ms each. @returns false when there is nobody to send them to */
  sendDigits(text: string): boolean {
    const [keys = '', ms] = text.split('@');
    const events = this.leg.rtp?.events;
    if (!events || this.leg.rtp?.agreement?.eventPayload === undefined) return false;
    const duration = ms ? (parseInt(ms, 10) || 0) * 8 : undefined;
    let sent = 0;
    for (const key of keys) if (events.add(key, duration)) sent++;
    return sent > 0;
  }

  /** One key to the far end, as long as it was pressed. */
  sendDigit({ digit, duration }: Digit): void {
    if (this.leg.rtp?.agreement?.eventPayload !== undefined) this.leg.rtp.events.add(digit, duration);
  }

  /** Makes the channel that calls somebody for this one. @returns the hangup cause where it cannot be made */
  place(dial: DialString): Placed | string {
    return this.#context.place(dial, this);
  }

  /** Runs what is to be run when the call is answered. */
  runOnAnswer(): void {
    const command = this.variables.get('api_on_answer');
    if (command) this.#context.api(command);
  }

  /** Ends the call with this very SIP code where it is not answered yet. */
  refuse(status: number, reason: string): void {
    this.#refusal = { status, reason };
    this.hangup(sipToCause(status));
  }

  onRemoteEnd(how: RemoteEnd, request?: SipRequest): void {
    if (this.down) return;
    if (how === 'bye' || how === 'cancel') this.end(setRemoteEnd(this.variables, how, request), false);
    else this.hangup(how === 'no-codec' ? 'INCOMPATIBLE_DESTINATION' : 'RECOVERY_ON_TIMER_EXPIRE');
  }

  hangup(cause: string): void {
    this.end(cause, true);
  }

  /** Calls back when the channel is down, at once if it is. @returns the way to take it back */
  onDown(listener: () => void): () => void {
    if (this.down) listener();
    else this.#ended.push(listener);
    return () => (this.#ended = this.#ended.filter((one) => one !== listener));
  }

  end(cause: string, byUs: boolean): void {
    if (this.down) return;
    this.hangupCause = cause;
    this.hungUpByUs = byUs;
    this.stateNumber = STATE_NUMBERS.CS_HANGUP;
    this.guard.release();
    this.emit('CHANNEL_HANGUP', {
      file: 'switch_channel.c',
      fn: 'switch_channel_perform_hangup',
      line: 3397,
    });
    for (const listener of this.#ended.splice(0)) listener();
    void this.#finish().catch((error: unknown) =>
      this.log.error({ err: error, uuid: this.uuid }, 'channel did not end cleanly'),
    );
  }

  async #finish(): Promise<void> {
    const { variables } = this;
    try {
      await this.executor.stop();
      if (this.park) this.endPark();
      this.times.hungup = nowMicros();
      const { rtp } = this.leg;
      if (this.hungUpByUs) setOwnEnd(variables, this.leg.end({ cause: this.hangupCause, ...this.#refusal }));
      this.move('CS_HANGUP');
      await this.recordings.stopAll();
      variables.set('hangup_cause', this.hangupCause);
      variables.set('hangup_cause_q850', q850(this.hangupCause));
      variables.set('digits_dialed', this.digits.dialed || 'none');
      setTimeVariables(variables, this.times, `"${this.profile.name}" <${this.profile.number}>`);
      this.setCallState('HANGUP');
      if (rtp) setStatsVariables(variables, rtp.stats);
      this.move('CS_REPORTING');
      this.emit('CHANNEL_HANGUP_COMPLETE', {
        file: 'switch_core_state_machine.c',
        fn: 'switch_core_session_reporting_state',
        line: 947,
      });
      this.emit('CHANNEL_DESTROY', {
        file: 'switch_core_session.c',
        fn: 'switch_core_session_perform_destroy',
        line: 1613,
      });
    } finally {
      this.#context.onGone(this);
      this.#setFinished();
    }
    this.move('CS_DESTROY');
  }

  /** Tells that the park application has ended. */
  endPark(): void {
    const { park } = this;
    this.park = undefined;
    this.emit('CHANNEL_UNPARK', { file: 'switch_ivr.c', fn: 'switch_ivr_park', line: 1226 });
    const response = this.variables.get('current_application_response') ?? '_none_';
    const origin = { file: 'switch_core_session.c', fn: 'switch_core_session_exec', line: 2967 };
    this.emit('CHANNEL_EXECUTE_COMPLETE', origin, { ...park, 'Application-Response': response });
  }
}

import type { FarEnd } from '../lib/far-end.ts';
import { randomUUID } from 'node:crypto';
import { deferred } from '../lib/deferred.ts';
import { Bridge } from './bridge.ts';
import {
  asMediaError,
  CARRIED_OUT_MS,
  ChannelCommands,
  isLost,
  within,
  type ChannelNode,
} from './channel-commands.ts';
import { ChannelSound } from './channel-sound.ts';
import {
  answeredAndGone,
  answeredAt,
  dialogOf,
  endOf,
  farEndIn,
  isAnswered,
  trunkOf,
  type ChannelHeaders,
} from './channel-state.ts';
import { Conference } from './conference.ts';
import type { Progress } from './dialing.ts';
import type { Doing } from './doing.ts';
import type { EslConnection } from './esl/connection.ts';
import {
  MediaError,
  NODE_LOST,
  type Adopted,
  type Channel,
  type ChannelEnd,
  type ConferenceEnd,
  type ConferenceOptions,
  type Digit,
  type HangupCause,
  type LegRequest,
  type LegResult,
  type MuteDirection,
} from './media.ts';
import { Playbacks } from './playbacks.ts';
import { placeOf } from './relay.ts';
import { SentKeys } from './sent-keys.ts';

/**
 * A channel of a FreeSWITCH node: turns the calls of the media interface into commands, and events into their
 * results.
 */
export class FreeSwitchChannel implements Channel {
  readonly uuid: string;
  readonly node: string;
  readonly ended: Promise<ChannelEnd>;
  /** Of an outbound call that was not answered when it became known. */
  readonly progress: Progress | undefined;
  readonly #commands: ChannelCommands;
  readonly #playbacks: Playbacks;
  readonly #sound: ChannelSound;
  readonly #keys: SentKeys;
  readonly #bridge: Bridge;
  readonly #conference: Conference;
  readonly #listeners = new Set<(digit: Digit) => void>();
  /** Resolves when it is known whether the channel is ever answered. */
  readonly #decided = deferred<void>();
  /** The last that the node has told of it. */
  #told: ChannelHeaders;
  #answeredAt: Date | undefined;
  #hangup: HangupCause | undefined;
  #refusal: number | undefined;

  /** @param progress given for an outbound call that is still being placed. */
  constructor(node: ChannelNode, headers: ChannelHeaders, progress?: Progress) {
    this.uuid = headers['Unique-ID'] ?? '';
    this.node = node.name;
    this.#told = headers;
    this.#commands = new ChannelCommands(node, this.uuid);
    this.#playbacks = new Playbacks(this.#commands);
    this.#sound = new ChannelSound(this.#commands);
    this.#keys = new SentKeys(this.#commands);
    this.#bridge = new Bridge(node, this.#commands);
    this.#conference = new Conference(node, this.#commands, this.#bridge);
    this.ended = this.#commands.ended;
    if (isAnswered(headers)) this.answeredByNode(headers);
    this.progress = progress;
    progress?.told(headers);
  }

  /** The SIP dialog, as far as the node has told. */
  get dialog(): { callId: string; fromTag: string; toTag: string } {
    return dialogOf(this.#told);
  }

  get farEnd(): FarEnd | undefined {
    return farEndIn(this.#told);
  }

  get trunkId(): string | undefined {
    return this.progress?.trunkId() ?? trunkOf(this.#told);
  }

  get answered(): boolean {
    return this.#answeredAt !== undefined;
  }

  get answeredAt(): Date | undefined {
    return this.#answeredAt;
  }

  async answer(): Promise<void> {
    this.#commands.check();
    for (let attempt = 1; !this.answered; attempt++) {
      try {
        await this.#commands.run((connection) =>
          connection.bgapi(`uuid_answer ${this.uuid}`, randomUUID(), CARRIED_OUT_MS),
        );
        await within(CARRIED_OUT_MS, this.#decided.promise, 'the node did not answer the call');
        if (!this.answered) this.#commands.check();
      } catch (error) {
        // Whether the node has heard us is known when it is ready again; answering is then asked for anew,
        // not repeated blindly.
        if (!isLost(error) || attempt === 2) throw asMediaError(error);
        await this.#commands.ready();
      }
    }
  }

  play(source: string): Promise<'finished' | 'stopped'> {
    return this.#playbacks.play(source);
  }

  stopPlaying(): Promise<void> {
    return this.#playbacks.stop();
  }

  async refuse(sipCode: number): Promise<void> {
    this.#commands.check();
    if (!Number.isInteger(sipCode) || sipCode < 400 || sipCode > 699)
      throw new MediaError(`${sipCode} refuses nothing`);
    if (this.answered) throw new MediaError('an answered call cannot be refused');
    this.#refusal = sipCode;
    await this.#insist((connection) => this.#respond(connection, sipCode));
    await within(CARRIED_OUT_MS, this.ended, 'the node did not refuse the call');
  }

  async hangup(cause: HangupCause): Promise<void> {
    this.#commands.check();
    this.#hangup = cause;
    await this.#insist((connection) => this.#kill(connection, cause));
  }

  onDigit(listener: (digit: Digit) => void): () => void {
    this.#commands.check();
    const own = (digit: Digit): void => listener(digit); // The same listener twice is two listeners.
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  async sendDigits(digits: string): Promise<void> {
    this.#needAnswered();
    await this.#keys.send(digits);
  }

  async mute(direction: MuteDirection): Promise<void> {
    this.#needAnswered();
    await this.#sound.mute(direction, true);
  }

  async unmute(direction: MuteDirection): Promise<void> {
    this.#needAnswered();
    await this.#sound.mute(direction, false);
  }

  async hold(): Promise<void> {
    this.#needAnswered();
    await this.#sound.hold(true);
  }

  async resume(): Promise<void> {
    this.#needAnswered();
    await this.#sound.hold(false);
  }

  async bridge(leg: LegRequest): Promise<LegResult> {
    this.#needAnswered();
    return this.#bridge.run(leg);
  }

  async conference(room: string, options: ConferenceOptions): Promise<ConferenceEnd> {
    this.#needAnswered();
    return this.#conference.run(room, options);
  }

  async startRecording(file: string): Promise<void> {
    this.#needAnswered();
    await this.#sound.startRecording(file);
  }

  async stopRecording(file: string): Promise<void> {
    this.#commands.check();
    await this.#sound.stopRecording(file);
  }

  async renegotiate(): Promise<void> {
    this.#needAnswered();
    const legs = [this.uuid, this.#bridge.connectedLeg].filter((uuid) => uuid !== undefined);
    await Promise.all(
      legs.map((uuid) => this.#commands.run((connection) => connection.api(`uuid_media_reneg ${uuid}`))),
    );
  }

  async interrupt(): Promise<void> {
    this.#commands.check();
    // Playbacks last: what they put into the channel's queue would wait behind the others.
    const keys = this.#keys.stop();
    await this.#conference.stop();
    await this.#bridge.stop();
    await this.#playbacks.stop();
    await keys;
  }

  /** An event of the channel's with all of its variables. */
  tell(headers: ChannelHeaders): void {
    if (!this.progress?.pending) return;
    this.#told = headers;
    if (isAnswered(headers)) this.answeredByNode(headers);
    this.progress.told(headers);
  }

  /** CHANNEL_ANSWER, or what the node says of a channel that it answered while we were away. */
  answeredByNode(headers: ChannelHeaders): void {
    this.#answeredAt ??= answeredAt(headers) ?? new Date();
    this.#decided.resolve();
  }

  /** DTMF. */
  digit(digit: Digit): void {
    for (const listener of [...this.#listeners]) listener(digit);
  }

  /** CHANNEL_EXECUTE_COMPLETE. */
  completed(event: ChannelHeaders): void {
    this.#playbacks.completed(event);
    this.#bridge.completed(event);
    this.#conference.completed(event);
  }

  /** CHANNEL_HANGUP_COMPLETE. */
  hungUp(event: ChannelHeaders): void {
    this.progress?.ended(event);
    const answered = this.answered || answeredAndGone(event);
    const end = endOf(
      event,
      answered,
      this.#hangup !== undefined || this.#refusal !== undefined,
      this.#refusal,
    );
    if (end.answerTakenBack) this.#answeredAt = undefined;
    else if (answered) this.#answeredAt ??= end.at;
    this.#end(end);
  }

  /** The node has died, or has no such channel any more and never told its end. */
  lost(): void {
    this.#end({ by: 'node', cause: NODE_LOST, at: new Date() });
  }

  /** Takes over what an earlier control process has started. */
  adopt(doing: Doing): Adopted {
    switch (doing.application) {
      case 'playback':
        return { playing: { source: doing.argument, finished: this.#playbacks.adopt(doing.argument) } };
      case 'bridge':
        if (placeOf(doing.argument))
          return { conferencing: this.#conference.adoptRelay(doing.argument, doing.leg) };
        return { bridging: this.#bridge.adopt(doing.argument, doing.leg) };
      case 'conference':
        return { conferencing: this.#conference.adopt(doing.argument) };
    }
  }

  /**
   * Makes up for what was missed while there was no connection, from what the node says of the channel now.
   * What was asked for and has not happened is asked for again here, where it is known that it has not.
   */
  refresh(channel: ChannelHeaders, connection: EslConnection): void {
    this.tell(channel);
    if (isAnswered(channel)) this.answeredByNode(channel);
    this.#playbacks.refresh(channel, connection);
    void this.#bridge.refresh(channel, connection);
    void this.#conference.refresh(channel, connection);
    this.endIfAsked(connection);
  }

  /**
   * Gives the command that ends the channel again where one was given: it came before the channel was there,
   * or was lost.
   */
  endIfAsked(connection: EslConnection): void {
    const late = this.#hangup
      ? this.#kill(connection, this.#hangup)
      : this.#refusal && !this.answered && this.#respond(connection, this.#refusal);
    if (late) late.catch(() => undefined); // If this is lost as well, there is the next time.
  }

  /** A command that, when it is lost on the way, is made up for in `refresh`. */
  async #insist(command: (connection: EslConnection) => Promise<unknown>): Promise<void> {
    try {
      await this.#commands.run(command);
    } catch (error) {
      if (!isLost(error)) throw error;
    }
  }

  /** Always names the cause: without one the node would use whatever it remembers of another leg. */
  #kill(connection: EslConnection, cause: HangupCause): Promise<unknown> {
    return connection.api(`uuid_kill ${this.uuid} ${cause}`);
  }

  #respond(connection: EslConnection, sipCode: number): Promise<void> {
    return this.#commands.execute(connection, 'respond', String(sipCode), randomUUID());
  }

  #end(end: ChannelEnd): void {
    this.progress?.ended();
    this.#commands.end(end);
    this.#decided.resolve();
    this.#listeners.clear();
    this.#playbacks.abandon();
    this.#bridge.abandon();
    this.#conference.abandon();
  }

  /** The node would send early media to a caller who has no answer yet. */
  #needAnswered(): void {
    this.#commands.check();
    if (!this.answered) throw new MediaError('the call is not answered yet');
  }
}

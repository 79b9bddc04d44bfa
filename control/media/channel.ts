import { randomUUID } from 'node:crypto';
import { deferred, type Deferred } from '../lib/deferred.ts';
import type { EslConnection } from './esl/connection.ts';
import { EslError } from './esl/errors.ts';
import { endOf, isAnswered, isHangingUp, playingNow, type ChannelHeaders } from './channel-state.ts';
import { ChannelGone, MediaError, type Channel, type ChannelEnd, type Digit, type HangupCause } from './media.ts';

/** What a channel needs of its node. */
export interface ChannelNode {
  readonly name: string;
  /** Resolves with the connection, once there is one and the node's channels are known. @throws when the node is given up. */
  ready(): Promise<EslConnection>;
}

/** A playback that we, or the control process before us, have asked for. */
interface Playback {
  /** Our name for it, which its completion carries; undefined for one that an earlier process has started. */
  id: string | undefined;
  source: string;
  /** Where it is on its way: with us, on the node, or both, when the connection ended before the node had confirmed it. */
  state: 'waiting' | 'sent' | 'unsure';
  /** It is to be stopped. */
  stopped: boolean;
  done: Deferred<'finished' | 'stopped'>;
}

/** How long a node that has accepted an answer, a refusal or a stop may take to carry it out, in ms. */
const CARRIED_OUT_MS = 5000;
/** How long the end of a channel may follow the refusal of a command on it, in ms. */
const END_FOLLOWS_MS = 500;
const STOP_TRIES = 3;
const STOP_MS = 1000;

/** A channel of a FreeSWITCH node: turns the calls of the media interface into commands, and events into their results. */
export class FreeSwitchChannel implements Channel {
  readonly uuid: string;
  readonly node: string;
  readonly ended: Promise<ChannelEnd>;
  readonly #node: ChannelNode;
  readonly #end = deferred<ChannelEnd>();
  readonly #listeners = new Set<(digit: Digit) => void>();
  /** In the order the node runs them. */
  #playbacks: Playback[] = [];
  /** Waiting for what the node reports when it comes past a marker of ours in a channel's queue, by the marker's id. */
  readonly #markers = new Map<string, () => void>();
  readonly #answering = new Set<() => void>();
  #stopping: Promise<void> | undefined;
  #answered: boolean;
  #gone = false;
  #hangup: HangupCause | undefined;
  #refusal: number | undefined;

  constructor(node: ChannelNode, headers: ChannelHeaders) {
    this.#node = node;
    this.uuid = headers['Unique-ID'] ?? '';
    this.node = node.name;
    this.#answered = isAnswered(headers);
    this.ended = this.#end.promise;
  }

  get answered(): boolean {
    return this.#answered;
  }

  async answer(): Promise<void> {
    if (this.#gone) throw new ChannelGone(this.uuid);
    for (let attempt = 1; !this.#answered; attempt++) {
      try {
        await this.#command((connection) => connection.bgapi(`uuid_answer ${this.uuid}`, randomUUID(), CARRIED_OUT_MS));
        await this.#until(() => this.#answered, this.#answering, 'the node did not answer the call');
      } catch (error) {
        // Whether the node has heard us is known once it is connected again; answering is then asked for anew, not repeated blindly.
        if (!(error instanceof EslError && error.kind === 'lost') || attempt === 2) throw asMediaError(error);
        await this.#ready();
      }
    }
  }

  async play(source: string): Promise<'finished' | 'stopped'> {
    if (!/^(\/[^\r\n\0$]+|silence_stream:\/\/\d+)$/.test(source) || source.includes('@@')) throw new MediaError(`not something a node can play: ${source}`);
    if (this.#gone) throw new ChannelGone(this.uuid);
    const playback = this.#add(randomUUID(), source, 'waiting');
    await this.#stopping?.catch(() => undefined);
    const connection = await this.#ready();
    if (playback.stopped) return playback.done.promise;
    playback.state = 'sent';
    try {
      await this.#execute(connection, 'playback', source, playback.id ?? '');
    } catch (error) {
      // When the connection ended first, the node may play it nevertheless: that is found out on the next one, in `refresh`.
      if (error instanceof EslError && error.kind === 'lost') playback.state = 'unsure';
      else {
        this.#remove(playback);
        throw await this.#explain(error);
      }
    }
    return playback.done.promise;
  }

  stopPlaying(): Promise<void> {
    if (this.#gone) return Promise.reject(new ChannelGone(this.uuid));
    for (const playback of this.#playbacks.filter((one) => one.state === 'waiting')) {
      playback.stopped = true;
      this.#remove(playback)?.done.resolve('stopped');
    }
    if (this.#playbacks.length === 0) return Promise.resolve();
    this.#stopping ??= this.#stop().finally(() => (this.#stopping = undefined));
    return this.#stopping;
  }

  async refuse(sipCode: number): Promise<void> {
    if (!Number.isInteger(sipCode) || sipCode < 400 || sipCode > 699) throw new MediaError(`${sipCode} refuses nothing`);
    if (this.#answered && !this.#gone) throw new MediaError('an answered call cannot be refused');
    this.#refusal = sipCode;
    try {
      await this.#command((connection) => this.#execute(connection, 'respond', String(sipCode), randomUUID()));
    } catch (error) {
      // Lost on the way: `refresh` sees to it when the node is back.
      if (!(error instanceof EslError && error.kind === 'lost')) throw error;
    }
    await this.#within(CARRIED_OUT_MS, this.ended, 'the node did not refuse the call');
  }

  async hangup(cause: HangupCause): Promise<void> {
    this.#hangup = cause;
    try {
      await this.#command((connection) => connection.api(`uuid_kill ${this.uuid} ${cause}`));
    } catch (error) {
      // Lost on the way: `refresh` sees to it when the node is back.
      if (!(error instanceof EslError && error.kind === 'lost')) throw error;
    }
  }

  onDigit(listener: (digit: Digit) => void): () => void {
    if (this.#gone) throw new ChannelGone(this.uuid);
    const own = (digit: Digit): void => listener(digit);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  // What the node reports.

  answeredByNode(): void {
    this.#answered = true;
    for (const waiting of [...this.#answering]) waiting();
  }

  digit(digit: Digit): void {
    for (const listener of [...this.#listeners]) listener(digit);
  }

  /** CHANNEL_EXECUTE_COMPLETE. */
  completed(event: ChannelHeaders): void {
    const id = event['Application-UUID'];
    const marker = id && this.#markers.get(id);
    if (marker) return marker();
    if (event.Application !== 'playback' || isHangingUp(event)) return;
    const playback = this.#playbacks.find((one) => one.id === id) ?? this.#playbacks.find((one) => one.id === undefined);
    if (!playback) return;
    this.#remove(playback);
    const response = event['Application-Response'] ?? '';
    if (playback.stopped) playback.done.resolve('stopped');
    else if (response === 'FILE NOT FOUND' || response === 'PLAYBACK ERROR') playback.done.reject(new MediaError(`${response}: ${playback.source}`));
    else playback.done.resolve('finished');
  }

  /** CHANNEL_HANGUP_COMPLETE. */
  hungUp(event: ChannelHeaders): void {
    this.#settle(endOf(event, this.#answered, this.#hangup !== undefined || this.#refusal !== undefined, this.#refusal));
  }

  /** The node has died, or has no such channel any more and never told its end. */
  lost(): void {
    this.#settle({ by: 'node', cause: 'MEDIA_NODE_LOST', at: new Date() });
  }

  /**
   * Makes up for what was missed while there was no connection, from what the node says of the channel now. What was
   * asked for and has not happened is asked for again here, where it is known that it has not.
   */
  refresh(channel: ChannelHeaders, connection: EslConnection): void {
    if (isAnswered(channel) && !this.#answered) this.answeredByNode();
    const playing = playingNow(channel);
    const sent = this.#sent();
    const current = playing === undefined ? -1 : sent.findIndex((one) => one.source === playing);
    for (const one of sent.slice(0, current === -1 ? sent.length : current)) {
      if (one.state === 'unsure' && !one.stopped && channel.variable_current_application_data !== one.source) this.#playAgain(one, connection);
      else this.#remove(one)?.done.resolve(one.stopped ? 'stopped' : 'finished');
    }
    const late = this.#hangup
      ? connection.api(`uuid_kill ${this.uuid} ${this.#hangup}`)
      : this.#refusal && !this.#answered && this.#execute(connection, 'respond', String(this.#refusal), randomUUID());
    if (late) late.catch(() => undefined); // If this is lost as well, there is the next time.
  }

  /** Takes over a playback that an earlier control process has started. */
  adopt(source: string): Promise<'finished' | 'stopped'> {
    return this.#add(undefined, source, 'sent').done.promise;
  }

  #playAgain(playback: Playback, connection: EslConnection): void {
    playback.state = 'sent';
    this.#execute(connection, 'playback', playback.source, playback.id ?? '').catch((error: unknown) => {
      if (this.#remove(playback)) playback.done.reject(asMediaError(error));
    });
  }

  async #stop(): Promise<void> {
    for (let attempt = 1; attempt <= STOP_TRIES && this.#sent().length > 0; attempt++) {
      const stopping = this.#sent();
      const marker = randomUUID();
      const passed = deferred<void>();
      for (const playback of stopping) playback.stopped = true;
      this.#markers.set(marker, passed.resolve);
      let timer: NodeJS.Timeout | undefined;
      try {
        // `all` empties the channel's queue as well, without a word about what was in it. Whatever has not reported its end
        // when the node comes to the marker was among that. Both go out together, so that nothing gets between them.
        await this.#command((connection) => Promise.all([
          connection.api(`uuid_break ${this.uuid} all`),
          this.#execute(connection, 'set', 'mv_stopped=true', marker),
        ]));
        // A stop that comes in the instant in which a playback begins is lost on the node, so it may take another.
        const late = new Promise<boolean>((resolve) => (timer = setTimeout(resolve, STOP_MS, false)));
        if (await Promise.race([passed.promise.then(() => true), this.ended.then(() => true), late])) {
          for (const playback of stopping) this.#remove(playback)?.done.resolve('stopped');
        }
      } catch (error) {
        if (!(error instanceof EslError && error.kind === 'lost')) throw asMediaError(error);
      } finally {
        clearTimeout(timer);
        this.#markers.delete(marker);
      }
    }
    if (this.#gone) throw new ChannelGone(this.uuid);
    if (this.#playbacks.some((one) => one.stopped)) throw new MediaError('the node did not stop playing');
  }

  #sent(): Playback[] {
    return this.#playbacks.filter((one) => one.state !== 'waiting');
  }

  #add(id: string | undefined, source: string, state: Playback['state']): Playback {
    const playback: Playback = { id, source, state, stopped: false, done: deferred() };
    // Whoever plays waits for this promise; a channel's end must not fail it where nobody does.
    playback.done.promise.catch(() => undefined);
    this.#playbacks.push(playback);
    return playback;
  }

  #remove(playback: Playback): Playback | undefined {
    const index = this.#playbacks.indexOf(playback);
    return index === -1 ? undefined : this.#playbacks.splice(index, 1)[0];
  }

  #execute(connection: EslConnection, application: string, argument: string, id: string): Promise<void> {
    return connection.sendmsg(this.uuid, {
      'call-command': 'execute',
      'execute-app-name': application,
      'execute-app-arg': argument,
      'event-lock': 'true',
      'Event-UUID': id,
    });
  }

  async #ready(): Promise<EslConnection> {
    if (this.#gone) throw new ChannelGone(this.uuid);
    const connection = await this.#node.ready().catch(() => undefined);
    if (this.#gone || !connection) throw new ChannelGone(this.uuid);
    return connection;
  }

  /** @throws EslError `lost` as it is, for whoever can make up for it. */
  async #command<T>(run: (connection: EslConnection) => Promise<T>): Promise<T> {
    const connection = await this.#ready();
    try {
      return await run(connection);
    } catch (error) {
      if (error instanceof EslError && error.kind === 'lost') throw error;
      throw await this.#explain(error);
    }
  }

  /** A node refuses commands on a channel that has just ended before it tells us of the end. */
  async #explain(error: unknown): Promise<Error> {
    if (!this.#gone && error instanceof EslError && error.kind === 'refused') {
      if (/No such channel|invalid session/i.test(error.message)) return new ChannelGone(this.uuid);
      await this.#within(END_FOLLOWS_MS, this.ended, '').catch(() => undefined);
    }
    return this.#gone ? new ChannelGone(this.uuid) : asMediaError(error);
  }

  /** Waits for a condition that is looked at whenever the set is called. */
  async #until(met: () => boolean, watchers: Set<() => void>, otherwise: string): Promise<void> {
    if (met()) return;
    const done = deferred<void>();
    const watcher = (): void => {
      if (met() || this.#gone) done.resolve();
    };
    watchers.add(watcher);
    try {
      await this.#within(CARRIED_OUT_MS, done.promise, otherwise);
    } finally {
      watchers.delete(watcher);
    }
    if (!met()) throw new ChannelGone(this.uuid);
  }

  async #within(ms: number, promise: Promise<unknown>, otherwise: string): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new MediaError(otherwise)), ms)));
    try {
      await Promise.race([promise, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #settle(end: ChannelEnd): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#end.resolve(end);
    this.#listeners.clear();
    for (const playback of this.#playbacks.splice(0)) playback.done.reject(new ChannelGone(this.uuid));
    for (const marker of this.#markers.values()) marker();
    this.#markers.clear();
    for (const waiting of [...this.#answering]) waiting();
  }
}

const asMediaError = (error: unknown): Error =>
  error instanceof MediaError || error instanceof ChannelGone ? error : new MediaError(error instanceof Error ? error.message : String(error));

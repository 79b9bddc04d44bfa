import { randomUUID } from 'node:crypto';
import { deferred, type Deferred } from '../lib/deferred.ts';
import { asMediaError, isLost, within, type ChannelCommands } from './channel-commands.ts';
import { isHangingUp, playingNow, type ChannelHeaders } from './channel-state.ts';
import type { EslConnection } from './esl/connection.ts';
import { ChannelGone, MediaError } from './media.ts';

/** A playback that we, or the control process before us, have asked for. */
interface Playback {
  /** Our name for it, which its completion carries; undefined for one that an earlier process has started. */
  id: string | undefined;
  source: string;
  /**
   * Where it is on its way: with us, on the node, or perhaps there, when the connection ended before the node
   * had confirmed it.
   */
  state: 'waiting' | 'sent' | 'unsure';
  /** It is to be stopped. */
  stopped: boolean;
  done: Deferred<'finished' | 'stopped'>;
}

/**
 * How long a node takes at most to come to the end of an emptied queue, in ms, and how often it is asked to
 * empty it.
 */
const STOP_MS = 500;
const STOP_TRIES = 5;

/** What plays on a channel and what is to play after it. */
export class Playbacks {
  readonly #commands: ChannelCommands;
  /** In the order the node runs them. */
  readonly #all: Playback[] = [];
  /** Waiting for the node to come past a mark of ours in the channel's queue, by the mark's id. */
  readonly #marks = new Map<string, () => void>();
  #stopping: Promise<void> | undefined;

  constructor(commands: ChannelCommands) {
    this.#commands = commands;
  }

  async play(source: string): Promise<'finished' | 'stopped'> {
    if (!/^(\/[^\r\n\0$]+|silence_stream:\/\/\d+)$/.test(source) || source.includes('@@'))
      throw new MediaError(`not something a node can play: ${source}`);
    this.#commands.check();
    const playback = this.#add(randomUUID(), source, 'waiting');
    await this.#stopping?.catch(() => undefined);
    try {
      await this.#commands.run((connection) => {
        if (playback.stopped) return Promise.resolve();
        playback.state = 'sent';
        return this.#send(connection, playback);
      });
    } catch (error) {
      // When the connection ended first, the node may play it nevertheless: that is found out on the next
      // one, in `refresh`.
      if (isLost(error)) playback.state = 'unsure';
      else {
        this.#remove(playback);
        throw error;
      }
    }
    return playback.done.promise;
  }

  /** Takes over a playback that an earlier control process has started. */
  adopt(source: string): Promise<'finished' | 'stopped'> {
    return this.#add(undefined, source, 'sent').done.promise;
  }

  async stop(): Promise<void> {
    this.#commands.check();
    for (const playback of this.#all.filter((one) => one.state === 'waiting')) {
      playback.stopped = true;
      this.#remove(playback)?.done.resolve('stopped');
    }
    if (this.#all.length === 0) return;
    this.#stopping ??= this.#stop().finally(() => (this.#stopping = undefined));
    await this.#stopping;
  }

  /**
   * CHANNEL_EXECUTE_COMPLETE. Its Application-Response is a verdict only where nobody has stopped anything.
   */
  completed(event: ChannelHeaders): void {
    const id = event['Application-UUID'];
    const mark = id && this.#marks.get(id);
    if (mark) return mark();
    if (event.Application !== 'playback' || isHangingUp(event)) return;
    const playback = this.#all.find((one) => one.id === id) ?? this.#all.find((one) => one.id === undefined);
    if (!playback) return;
    this.#remove(playback);
    const response = event['Application-Response'] ?? '';
    if (playback.stopped) playback.done.resolve('stopped');
    else if (response === 'FILE NOT FOUND' || response === 'PLAYBACK ERROR')
      playback.done.reject(new MediaError(`${response}: ${playback.source}`));
    else playback.done.resolve('finished');
  }

  /**
   * Settles what came to its end while there was no connection, and sends what the node turns out not to have
   * heard of.
   */
  refresh(channel: ChannelHeaders, connection: EslConnection): void {
    const playing = playingNow(channel);
    const sent = this.#sent();
    const current = playing === undefined ? -1 : sent.findIndex((one) => one.source === playing);
    for (const one of sent.slice(0, current === -1 ? sent.length : current)) {
      if (
        one.state === 'unsure' &&
        !one.stopped &&
        channel.variable_current_application_data !== one.source
      ) {
        one.state = 'sent';
        this.#send(connection, one).catch((error: unknown) =>
          this.#remove(one)?.done.reject(asMediaError(error)),
        );
      } else this.#remove(one)?.done.resolve(one.stopped ? 'stopped' : 'finished');
    }
  }

  /** The channel has ended. */
  abandon(): void {
    for (const playback of this.#all.splice(0)) playback.done.reject(new ChannelGone(this.#commands.uuid));
    for (const mark of this.#marks.values()) mark();
    this.#marks.clear();
  }

  async #stop(): Promise<void> {
    for (let attempt = 1; attempt <= STOP_TRIES && this.#sent().length > 0; attempt++) {
      const stopping = this.#sent();
      for (const playback of stopping) playback.stopped = true;
      try {
        // A stop that comes in the instant in which a playback begins is lost on the node, so it may take
        // another.
        if (!(await this.#emptyQueue())) continue;
        for (const playback of stopping) this.#remove(playback)?.done.resolve('stopped');
      } catch (error) {
        if (!isLost(error)) throw error;
      }
    }
    this.#commands.check();
    if (this.#all.some((one) => one.stopped)) throw new MediaError('the node did not stop playing');
  }

  /**
   * `uuid_break all` ends what plays and drops what is queued behind it, of which there is never another
   * word. So a mark is queued right after it: whatever has not reported its end when the node comes to the
   * mark was dropped. Both go out together, so that nothing gets between them. Resolves with whether the node
   * came to the mark.
   */
  async #emptyQueue(): Promise<boolean> {
    const mark = randomUUID();
    const passed = deferred<void>();
    this.#marks.set(mark, passed.resolve);
    try {
      await this.#commands.run((connection) =>
        Promise.all([
          connection.api(`uuid_break ${this.#commands.uuid} all`),
          this.#commands.execute(connection, 'set', 'mv_stopped=true', mark),
        ]),
      );
      return await within(STOP_MS, passed.promise, '').then(
        () => true,
        () => false,
      );
    } finally {
      this.#marks.delete(mark);
    }
  }

  #send(connection: EslConnection, { source, id = '' }: Playback): Promise<void> {
    return this.#commands.execute(connection, 'playback', source, id);
  }

  #sent(): Playback[] {
    return this.#all.filter((one) => one.state !== 'waiting');
  }

  #add(id: string | undefined, source: string, state: Playback['state']): Playback {
    const playback: Playback = { id, source, state, stopped: false, done: deferred() };
    // Whoever plays waits for this promise; a channel's end must not fail it where nobody does.
    playback.done.promise.catch(() => undefined);
    this.#all.push(playback);
    return playback;
  }

  #remove(playback: Playback): Playback | undefined {
    const index = this.#all.indexOf(playback);
    return index === -1 ? undefined : this.#all.splice(index, 1)[0];
  }
}

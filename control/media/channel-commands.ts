import { deferred } from '../lib/deferred.ts';
import { TookTooLong, within as inTime } from '../lib/within.ts';
import type { ChannelHeaders } from './channel-state.ts';
import type { EslConnection } from './esl/connection.ts';
import { EslError } from './esl/errors.ts';
import { ChannelGone, MediaError, type ChannelEnd } from './media.ts';

/** What a node tells of a second leg. */
export type LegNews = 'ringing' | 'answered' | 'ended';
export type LegListener = (news: LegNews, leg: ChannelHeaders) => void;

/** What a channel needs of its node. */
export interface ChannelNode {
  readonly name: string;
  /** Where the node sends second legs: `host:port` of a Kamailio. */
  readonly kamailio: string;
  /**
   * Resolves with the connection, once there is one and the node's channels are known.
   * @throws when the node is given up.
   */
  ready(): Promise<EslConnection>;
  /** Calls the listener with the news of a second leg, by its uuid; returns the way to stop that. */
  followLeg(uuid: string, listener: LegListener): () => void;
  /** Another media node, or this one, by name; undefined for one there is not. */
  peer(name: string): Peer | undefined;
}

/** What a channel needs of another node, whose room its caller is in. */
export interface Peer {
  /** It has been out of reach for so long that nothing on it counts any more. */
  readonly givenUp: boolean;
  ready(): Promise<EslConnection>;
  /**
   * Calls the listener whenever the node has come back from being out of reach, or is given up; returns the
   * way to stop that.
   */
  watch(listener: () => void): () => void;
}

/** How long a node that has accepted an answer or a refusal may take to carry it out, in ms. */
export const CARRIED_OUT_MS = 5000;
/** How long the end of a channel may follow the refusal of a command on it, in ms. */
const END_FOLLOWS_MS = 500;

/**
 * Sends commands to one channel for as long as it is there, and says in the media interface's words why one
 * failed.
 */
export class ChannelCommands {
  readonly uuid: string;
  readonly ended: Promise<ChannelEnd>;
  readonly #node: ChannelNode;
  readonly #end = deferred<ChannelEnd>();
  #gone = false;

  constructor(node: ChannelNode, uuid: string) {
    this.#node = node;
    this.uuid = uuid;
    this.ended = this.#end.promise;
  }

  get gone(): boolean {
    return this.#gone;
  }

  /** The channel has ended. */
  end(end: ChannelEnd): void {
    this.#gone = true;
    this.#end.resolve(end);
  }

  /** @throws ChannelGone */
  check(): void {
    if (this.#gone) throw new ChannelGone(this.uuid);
  }

  /** @throws ChannelGone */
  async ready(): Promise<EslConnection> {
    this.check();
    const connection = await this.#node.ready().catch(() => undefined);
    if (this.#gone || !connection) throw new ChannelGone(this.uuid);
    return connection;
  }

  /** @throws ChannelGone, MediaError; and EslError `lost` as it is, for whoever can make up for it. */
  async run<T>(command: (connection: EslConnection) => Promise<T>): Promise<T> {
    const connection = await this.ready();
    try {
      return await command(connection);
    } catch (error) {
      throw isLost(error) ? error : await this.#explain(error);
    }
  }

  /**
   * Puts an application into the channel's queue; `id` comes back as Application-UUID in its
   * CHANNEL_EXECUTE_COMPLETE.
   */
  execute(connection: EslConnection, application: string, argument: string, id: string): Promise<void> {
    return connection.sendmsg(this.uuid, {
      'call-command': 'execute',
      'execute-app-name': application,
      'execute-app-arg': argument,
      'event-lock': 'true',
      'Event-UUID': id,
    });
  }

  /** A node refuses commands on a channel that has just ended before it tells us of the end. */
  async #explain(error: unknown): Promise<Error> {
    if (!this.#gone && error instanceof EslError && error.kind === 'refused') {
      if (/No such channel|invalid session|Cannot locate session/i.test(error.message))
        return new ChannelGone(this.uuid);
      await within(END_FOLLOWS_MS, this.ended, '').catch(() => undefined);
    }
    return this.#gone ? new ChannelGone(this.uuid) : asMediaError(error);
  }
}

/** The connection ended before the reply: the node may or may not have done it. */
export const isLost = (error: unknown): boolean => error instanceof EslError && error.kind === 'lost';

export const asMediaError = (error: unknown): Error =>
  error instanceof MediaError || error instanceof ChannelGone
    ? error
    : new MediaError(error instanceof Error ? error.message : String(error));

/** @throws MediaError saying `otherwise` when it takes longer than `ms`. */
export const within = <T>(ms: number, promise: Promise<T>, otherwise: string): Promise<T> =>
  inTime(ms, promise, otherwise).catch((error: unknown) =>
    Promise.reject(error instanceof TookTooLong ? new MediaError(otherwise) : error),
  );

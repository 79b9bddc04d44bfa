import { createHash } from 'node:crypto';
import type { Call } from '../calls/call.ts';
import type { Calls } from '../calls/calls.ts';
import type { Logger } from '../lib/logger.ts';
import type { Adopted, Channel, ConferenceEnd, Media } from '../media/media.ts';
import type { Rooms } from './rooms.ts';

interface Options {
  rooms: Pick<Rooms, 'enter' | 'claim' | 'leave' | 'abandon'>;
  media: Pick<Media, 'nodes' | 'roomAt'>;
  calls: Pick<Calls, 'note'>;
  logger: Logger;
  beatMs?: number;
}

/** What a caller is in for. */
interface Wish {
  room: string;
  mute: boolean;
  endOnExit: boolean;
  /** Aborted when he is not to enter any more. */
  signal: AbortSignal;
  /** Called each time he is on the way in. */
  began(): void;
  /** The stay that an earlier life of this process has begun. */
  adopted?: Adopted['conferencing'];
}

/** Where a caller is. */
interface Stay {
  room: string;
  channel: string;
  node: string;
}

/** A third of the time that a member counts for. */
const BEAT_MS = 10_000;
/** How often a caller whose room's node has died is taken to the room's next one. */
const MOVES = 3;

/**
 * Conferences: a room belongs to an application, and all its members are on one media node. Who comes in on
 * another node is connected to that one. Where Redis does not know a room the media nodes are asked, so that
 * one in use is found again after Redis has lost it, and rooms work without Redis: who comes first then gets
 * the node that the room's name picks, which is the same for everybody.
 */
export class ConferenceService {
  readonly #options: Options;
  readonly #stays = new Set<Stay>();
  #beat: NodeJS.Timeout | undefined;

  constructor(options: Options) {
    this.#options = options;
  }

  /** Members that this process drives. */
  get members(): number {
    return this.#stays.size;
  }

  start(): void {
    this.#beat = setInterval(() => this.announce(), this.#options.beatMs ?? BEAT_MS);
  }

  stop(): void {
    clearInterval(this.#beat);
  }

  /** Tells Redis of everybody again; also to be called when it has been away. */
  announce(): void {
    for (const stay of this.#stays) void this.#announce(stay);
  }

  /**
   * Takes the caller into the room and resolves when he is out of it. When the room's node dies, those who
   * were connected to it from other nodes meet again on the next one.
   * @throws ChannelGone, MediaError
   */
  async stay(
    call: Call,
    channel: Channel,
    { room: name, mute, endOnExit, signal, began, adopted }: Wish,
  ): Promise<ConferenceEnd> {
    const { calls, rooms } = this.#options;
    // No id has a hyphen, so no two pairs make the same room.
    const room = `${call.applicationId ?? call.customerId}-${name}`;
    let current = adopted;
    for (let move = 0; ; move++) {
      const stay: Stay = {
        room,
        channel: channel.uuid,
        node: current?.node ?? (await this.#nodeFor(room, channel)),
      };
      let end: ConferenceEnd;
      this.#stays.add(stay);
      try {
        if (current) void this.#announce(stay);
        else {
          if (signal.aborted) return 'left';
          began();
          calls.note(call, move === 0 ? 'conference.entered' : 'conference.moved', {
            room: name,
            relayed: stay.node !== channel.node,
          });
        }
        end = await (current?.finished ?? channel.conference(room, { mute, endOnExit, node: stay.node }));
      } finally {
        this.#stays.delete(stay);
        await rooms.leave(room, channel.uuid).catch(() => undefined); // It frees itself, then.
      }
      current = undefined;
      const dead = end === 'lost' || (end === 'unreachable' && !this.#isConnected(stay.node));
      if (!dead || move === MOVES) return end;
      await rooms.abandon(room, stay.node).catch(() => undefined);
    }
  }

  async #nodeFor(room: string, channel: Channel): Promise<string> {
    const { rooms, media, logger } = this.#options;
    const connected = media
      .nodes()
      .filter((node) => node.connected)
      .map((node) => node.name);
    try {
      return (
        (await rooms.enter(room, channel.uuid)) ??
        (await rooms.claim(room, channel.uuid, (await this.#found(room, connected)) ?? channel.node))
      );
    } catch (error) {
      logger.warn({ err: error, room }, 'a conference is entered without redis');
      return (await this.#found(room, connected)) ?? picked(room, connected) ?? channel.node;
    }
  }

  /** With one node there is nothing to be asked. */
  async #found(room: string, connected: string[]): Promise<string | undefined> {
    return connected.length > 1 ? this.#options.media.roomAt(room) : undefined;
  }

  async #announce({ room, channel, node }: Stay): Promise<void> {
    const { rooms, logger } = this.#options;
    try {
      const known = await rooms.claim(room, channel, node);
      if (known !== node) logger.error({ room, node, known }, 'a conference room is on two media nodes');
    } catch (error) {
      logger.debug({ err: error, room }, 'a conference member could not be announced');
    }
  }

  #isConnected(name: string): boolean {
    return this.#options.media.nodes().some((node) => node.name === name && node.connected);
  }
}

/**
 * The same node for everybody who knows the same nodes, and as few rooms as can be on another one when a node
 * comes or goes.
 */
function picked(room: string, nodes: string[]): string | undefined {
  const weight = (node: string): string => createHash('sha1').update(`${room}\n${node}`).digest('hex');
  return [...nodes].sort((a, b) => weight(a).localeCompare(weight(b)))[0];
}

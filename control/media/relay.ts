import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { CALL_HEADERS } from '../lib/call-headers.ts';
import type { Bridge } from './bridge.ts';
import type { ChannelCommands, ChannelNode, Peer } from './channel-commands.ts';
import type { ChannelHeaders } from './channel-state.ts';
import { roomString } from './dial-string.ts';
import type { EslConnection } from './esl/connection.ts';
import { hangUpMember, members, roomName } from './room-commands.ts';
import {
  ChannelGone,
  type Adopted,
  type ConferenceEnd,
  type ConferenceOptions,
  type LegResult,
} from './media.ts';

/** How long the other node may take to let the caller in, in s. */
const ENTER_SECONDS = 10;
/**
 * A leg that has just been answered may not be in the room's list yet: so long after the first look comes the
 * second, in ms.
 */
const SECOND_LOOK_MS = 500;

/**
 * A caller in a room of another node: a leg from this node through Kamailio to that one, whose dialplan puts
 * whatever comes with X-MV-Room into the room, and ends it when the room has ended. The leg shows the
 * channel's uuid as its caller, which is how it is found in the room.
 */
export class Relay {
  readonly #node: ChannelNode;
  readonly #commands: ChannelCommands;
  readonly #bridge: Bridge;

  constructor(node: ChannelNode, commands: ChannelCommands, bridge: Bridge) {
    this.#node = node;
    this.#commands = commands;
    this.#bridge = bridge;
  }

  async run(room: string, node: string, { mute, endOnExit }: ConferenceOptions): Promise<ConferenceEnd> {
    const { uuid } = this.#commands;
    const flags = [...(mute ? ['mute'] : []), ...(endOnExit ? ['endconf'] : [])].join('|');
    const argument = roomString({
      uuid: randomUUID(),
      of: uuid,
      from: uuid,
      kamailio: this.#node.kamailio,
      timeoutSeconds: ENTER_SECONDS,
      headers: {
        [CALL_HEADERS.node]: node,
        [CALL_HEADERS.room]: roomName(room),
        ...(flags && { [CALL_HEADERS.roomFlags]: flags }),
      },
    });
    return this.#follow(argument, this.#bridge.dial(argument));
  }

  /**
   * Takes over a leg that an earlier control process has asked for.
   * @param leg what the node says of it.
   */
  adopt(argument: string, leg: ChannelHeaders): NonNullable<Adopted['conferencing']> {
    const finished = this.#follow(argument, this.#bridge.adopt(argument, leg).finished);
    finished.catch(() => undefined); // Nobody may be waiting for it when the channel ends.
    return { node: placeOf(argument)?.node ?? '', finished };
  }

  async #follow(argument: string, result: Promise<LegResult>): Promise<ConferenceEnd> {
    const { node = '', room = '' } = placeOf(argument) ?? {};
    const peer = this.#node.peer(node);
    let lost = false;
    const look = async (): Promise<void> => {
      if (lost || (peer && !(await this.#isGone(peer, room)))) return;
      lost = true;
      await this.#bridge.stop();
    };
    // What fails now is looked at once more when the node comes back.
    const unwatch = peer?.watch(() => void look().catch(() => undefined));
    if (!peer || peer.givenUp) look().catch(() => undefined);
    try {
      const { reached, endedBy, cause } = await result;
      if (lost) return 'lost';
      if (reached) return endedBy === 'platform' ? 'left' : 'over';
      return cause === 'ORIGINATOR_CANCEL' ? 'left' : 'unreachable';
    } catch (error) {
      if (error instanceof ChannelGone && peer) void this.#dismiss(peer, room).catch(() => undefined);
      throw error;
    } finally {
      unwatch?.();
    }
  }

  /**
   * Whether the other node has come back without the caller in its room: then its end of the leg has died.
   */
  async #isGone(peer: Peer, room: string): Promise<boolean> {
    if (peer.givenUp) return true;
    const connection = await peer.ready();
    if (!this.#bridge.connected || (await this.#member(connection, room))) return false;
    await pause(SECOND_LOOK_MS);
    return !(await this.#member(connection, room));
  }

  /** A node that dies says no BYE: its callers would stay in the room, and nobody in there would be alone. */
  async #dismiss(peer: Peer, room: string): Promise<void> {
    if ((await this.#commands.ended).by !== 'node') return;
    const connection = await peer.ready();
    const member = await this.#member(connection, room);
    if (member) await hangUpMember(connection, room, member);
  }

  async #member(connection: EslConnection, room: string): Promise<string | undefined> {
    return (await members(connection, room)).find(({ name }) => name === this.#commands.uuid)?.id;
  }
}

const NODE_IN = new RegExp(`~sip_h_${CALL_HEADERS.node}=([^~}]+)`);
const ROOM_IN = new RegExp(`~sip_h_${CALL_HEADERS.room}=([^~}]+)`);

/** The node and the room that a dial string of ours leads to, or undefined for one of another leg. */
export function placeOf(argument: string): { node: string; room: string } | undefined {
  const [, node] = NODE_IN.exec(argument) ?? [];
  const [, room] = ROOM_IN.exec(argument) ?? [];
  return node !== undefined && room !== undefined ? { node, room } : undefined;
}

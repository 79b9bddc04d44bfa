import type { Bridge } from './bridge.ts';
import type { ChannelCommands, ChannelNode } from './channel-commands.ts';
import type { ChannelHeaders } from './channel-state.ts';
import type { EslConnection } from './esl/connection.ts';
import { LastingApplication } from './lasting-application.ts';
import type { Adopted, ConferenceEnd, ConferenceOptions } from './media.ts';
import { Relay } from './relay.ts';
import { hangUpMember, members, roomName } from './room-commands.ts';

/** A caller in a room, of the channel's own node or, by a relay, of another. */
export class Conference {
  readonly #node: ChannelNode;
  readonly #application: LastingApplication;
  readonly #relay: Relay;
  #interrupted = false;

  constructor(node: ChannelNode, commands: ChannelCommands, bridge: Bridge) {
    this.#node = node;
    this.#relay = new Relay(node, commands, bridge);
    this.#application = new LastingApplication({
      commands,
      name: 'conference',
      runs: async (connection, argument) =>
        (await memberId(connection, argument, commands.uuid)) !== undefined,
      end: async (connection, argument) => {
        const id = await memberId(connection, argument, commands.uuid);
        if (id !== undefined) await hangUpMember(connection, roomOf(argument), id);
      },
    });
  }

  async run(room: string, options: ConferenceOptions): Promise<ConferenceEnd> {
    this.#application.check();
    const { mute, endOnExit, node = this.#node.name } = options;
    if (node !== this.#node.name) return this.#relay.run(room, node, options);
    const flags = [...(mute ? ['mute'] : []), ...(endOnExit ? ['endconf'] : [])];
    return this.#follow(
      this.#application.run(
        `${roomName(room)}@default${flags.length > 0 ? `+flags{${flags.join('|')}}` : ''}`,
      ),
    );
  }

  /** Takes over a conference that an earlier control process has begun. */
  adopt(argument: string): NonNullable<Adopted['conferencing']> {
    const finished = this.#follow(this.#application.adopt(argument));
    finished.catch(() => undefined); // Nobody may be waiting for it when the channel ends.
    return { node: this.#node.name, finished };
  }

  /** The same where the room is on another node. @param leg what the node says of the leg to it. */
  adoptRelay(argument: string, leg: ChannelHeaders): NonNullable<Adopted['conferencing']> {
    return this.#relay.adopt(argument, leg);
  }

  /** A relay is a bridge, and stopped as one. */
  stop(): Promise<void> {
    this.#interrupted = true;
    return this.#application.stop();
  }

  completed(event: ChannelHeaders): void {
    this.#application.completed(event);
  }

  refresh(channel: ChannelHeaders, connection: EslConnection): Promise<void> {
    return this.#application.refresh(channel, connection);
  }

  abandon(): void {
    this.#application.abandon();
  }

  async #follow(application: Promise<unknown>): Promise<ConferenceEnd> {
    this.#interrupted = false;
    await application;
    return this.#interrupted ? 'left' : 'over';
  }
}

/**
 * The number a channel has in the room, or undefined when it is not in there. The channel's own variable
 * keeps an old one.
 */
export const memberId = async (
  connection: EslConnection,
  argument: string,
  uuid: string,
): Promise<string | undefined> =>
  (await members(connection, roomOf(argument))).find((member) => member.uuid === uuid)?.id;

const roomOf = (argument: string): string => argument.split('@', 1)[0] ?? '';

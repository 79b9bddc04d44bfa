import { createHash } from 'node:crypto';
import type { ChannelCommands } from './channel-commands.ts';
import type { ChannelHeaders } from './channel-state.ts';
import type { EslConnection } from './esl/connection.ts';
import { EslError } from './esl/errors.ts';
import { LastingApplication } from './lasting-application.ts';
import type { ConferenceOptions } from './media.ts';

/** A caller in a room of the node. */
export class Conference {
  readonly #application: LastingApplication;

  constructor(commands: ChannelCommands) {
    this.#application = new LastingApplication({
      commands,
      name: 'conference',
      runs: async (connection, argument) => (await memberId(connection, argument, commands.uuid)) !== undefined,
      end: async (connection, argument) => {
        const id = await memberId(connection, argument, commands.uuid);
        if (id !== undefined) await unlessRefused(connection.api(`conference ${roomOf(argument)} hup ${id}`));
      },
    });
  }

  async run(room: string, { mute, endOnExit }: ConferenceOptions): Promise<void> {
    const flags = [...(mute ? ['mute'] : []), ...(endOnExit ? ['endconf'] : [])];
    await this.#application.run(`${roomName(room)}@default${flags.length > 0 ? `+flags{${flags.join('|')}}` : ''}`);
  }

  /** Takes over a conference that an earlier control process has begun. */
  adopt(argument: string): Promise<void> {
    const finished = this.#application.adopt(argument).then(() => undefined);
    finished.catch(() => undefined); // Nobody may be waiting for it when the channel ends.
    return finished;
  }

  stop(): Promise<void> {
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
}

/** The number a channel has in the room, or undefined when it is not in there. The channel's own variable keeps an old one. */
export async function memberId(connection: EslConnection, argument: string, uuid: string): Promise<string | undefined> {
  const list = await unlessRefused(connection.api(`conference ${roomOf(argument)} list`));
  return list?.split('\n').map((line) => line.split(';')).find((fields) => fields[2] === uuid)?.[0];
}

/** A name as the node's commands take it. */
export const roomName = (room: string): string => (/^[A-Za-z0-9._-]{1,160}$/.test(room) ? room : createHash('sha256').update(room).digest('hex'));

const roomOf = (argument: string): string => argument.split('@', 1)[0] ?? '';

/** The room, or the member, is not there any more. */
async function unlessRefused(reply: Promise<string>): Promise<string | undefined> {
  try {
    return await reply;
  } catch (error) {
    if (error instanceof EslError && error.kind === 'refused') return undefined;
    throw error;
  }
}

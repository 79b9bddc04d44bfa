import { asMediaError, isLost, type ChannelCommands } from './channel-commands.ts';
import type { EslConnection } from './esl/connection.ts';
import { EslError } from './esl/errors.ts';
import { MediaError, type MuteDirection } from './media.ts';

/**
 * `RECORD_PRE_BUFFER_FRAMES`: FreeSWITCH holds back so many frames of 20 ms to align both directions, at the
 * begin and after a bridge or a conference, and drops them when it is stopped meanwhile. Its own 25 are half
 * a second.
 */
const HELD_BACK_FRAMES = 5;
/** How often a command is given again when the connection ended before its reply. */
const TRIES = 3;

/**
 * What is laid over the sound of a channel, whatever runs on it: mute, hold, recordings. The node keeps all
 * of it as the channel's state, and every command names a state instead of a change, so that each may be
 * given twice.
 */
export class ChannelSound {
  readonly #commands: ChannelCommands;

  constructor(commands: ChannelCommands) {
    this.#commands = commands;
  }

  /**
   * FreeSWITCH's directions are the node's: it reads what the caller says, and writes what the caller hears.
   */
  async mute(direction: MuteDirection, muted: boolean): Promise<void> {
    for (const side of direction === 'both' ? (['write', 'read'] as const) : [direction]) {
      await this.#insist((connection) =>
        connection.api(
          `uuid_audio ${this.#commands.uuid} start ${side === 'write' ? 'read' : 'write'} mute ${muted ? 1 : 0}`,
        ),
      );
    }
  }

  /** The music is laid over what is sent to the caller, and silence over what comes from there. */
  async hold(held: boolean): Promise<void> {
    await this.#insist(async (connection) => {
      const { uuid } = this.#commands;
      const music = (await connection.api(`uuid_getvar ${uuid} hold_music`)).trim();
      if (!/^\S+$/.test(music) || music === '_undef_')
        throw new MediaError('the node has no hold_music that can be played');
      try {
        await connection.api(`uuid_displace ${uuid} ${held ? `start ${music} 0 l` : `stop ${music}`}`);
      } catch (error) {
        // Refused as well when it is so already.
        if (!isRefused(error) || (await this.#isHeld(connection)) !== held) throw error;
      }
    });
  }

  async startRecording(file: string): Promise<void> {
    if (!/^\/[^\s\0$]+\.wav$/.test(file)) throw new MediaError(`not a file a node can record into: ${file}`);
    await this.#insist(async (connection) => {
      const { uuid } = this.#commands;
      await Promise.all([
        connection.api(`uuid_setvar ${uuid} RECORD_STEREO true`),
        connection.api(`uuid_setvar ${uuid} RECORD_PRE_BUFFER_FRAMES ${HELD_BACK_FRAMES}`),
        connection.api(`uuid_record ${uuid} start ${file}`),
      ]);
    });
  }

  /** The node replies when the file is complete. */
  async stopRecording(file: string): Promise<void> {
    await this.#insist((connection) =>
      connection.api(`uuid_record ${this.#commands.uuid} stop ${file}`).catch((error: unknown) => {
        if (!isRefused(error) || !/Cannot stop/i.test(String(error))) throw error;
        return '';
      }),
    );
  }

  async #isHeld(connection: EslConnection): Promise<boolean> {
    return (await connection.api(`uuid_buglist ${this.#commands.uuid}`)).includes(
      '<function>displace</function>',
    );
  }

  async #insist(command: (connection: EslConnection) => Promise<unknown>): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#commands.run(command);
        return;
      } catch (error) {
        if (!isLost(error) || attempt === TRIES) throw asMediaError(error);
      }
    }
  }
}

const isRefused = (error: unknown): boolean => error instanceof EslError && error.kind === 'refused';

import { z } from 'zod';
import type { ChannelHeaders } from './channel-state.ts';
import type { EslConnection } from './esl/connection.ts';
import { EslError } from './esl/errors.ts';
import { readJsonHeaders } from './esl/events.ts';

/** FreeSWITCH leaves `rows` out when there are none. */
const shownChannels = z.object({ rows: z.array(z.object({ uuid: z.string() })).default([]) });

/**
 * The channels a node lists, by uuid. The list lags behind: a channel of this moment may be missing, one just
 * ended still be there.
 */
export async function listChannels(connection: EslConnection): Promise<string[]> {
  const shown = shownChannels.parse(JSON.parse(await connection.api('show channels as json')));
  return shown.rows.map((row) => row.uuid);
}

/**
 * Everything the node knows of a channel, or undefined when it has no such channel, or one that is being torn
 * down.
 */
export async function dumpChannel(
  connection: EslConnection,
  uuid: string,
): Promise<ChannelHeaders | undefined> {
  try {
    return readJsonHeaders(await connection.api(`uuid_dump ${uuid} json`));
  } catch (error) {
    if (error instanceof EslError && error.kind === 'refused' && /No such channel/i.test(error.message))
      return undefined;
    throw error;
  }
}

/** Whether there is still anything of a channel: true until its CHANNEL_HANGUP_COMPLETE has been made. */
export async function channelExists(connection: EslConnection, uuid: string): Promise<boolean> {
  return (await connection.api(`uuid_exists ${uuid}`)).trim() === 'true';
}

export async function nodeVersion(connection: EslConnection): Promise<string | undefined> {
  return /Version (\S+)/.exec(await connection.api('version'))?.[1];
}

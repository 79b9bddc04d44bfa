import { playingNow, type ChannelHeaders } from './channel-state.ts';
import { memberId } from './conference.ts';
import { legOf } from './dial-string.ts';
import type { EslConnection } from './esl/connection.ts';
import { dumpChannel } from './node-commands.ts';

/** What goes on on a channel; with a bridge also what the node says of its second leg. */
export type Doing =
  | { application: 'playback'; argument: string }
  | { application: 'conference'; argument: string }
  | { application: 'bridge'; argument: string; leg: ChannelHeaders };

/**
 * What a channel that was found on a node is doing, or undefined when it waits for instructions. A channel
 * goes on naming its last application after the end of that, so the node is asked for what would be there.
 */
export async function doingNow(
  connection: EslConnection,
  channel: ChannelHeaders,
): Promise<Doing | undefined> {
  const argument = channel.variable_current_application_data ?? '';
  switch (channel.variable_current_application) {
    case 'playback': {
      const source = playingNow(channel);
      return source === undefined ? undefined : { application: 'playback', argument: source };
    }
    case 'bridge': {
      const leg = legOf(argument) && (await dumpChannel(connection, legOf(argument) ?? ''));
      return leg ? { application: 'bridge', argument, leg } : undefined;
    }
    case 'conference':
      return (await memberId(connection, argument, channel['Unique-ID'] ?? '')) === undefined
        ? undefined
        : { application: 'conference', argument };
    default:
      return undefined;
  }
}

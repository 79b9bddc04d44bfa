import { SourceNotFound } from '../media/library.ts';
import type { AudioSource } from '../rtp/session.ts';
import type { Call } from './call.ts';
import { Wait } from './wait.ts';

/**
 * The application `conference`, `ROOM@default+flags{mute|endconf}`: keeps the channel in a room until it is
 * put out of it.
 */
export async function conference(channel: Call, argument: string): Promise<void> {
  const [, name, list = ''] = /^([^@+\s]+)(?:@[\w-]+)?(?:\+flags\{([^{}]*)\})?$/.exec(argument) ?? [];
  if (name === undefined) {
    channel.log.warn({ uuid: channel.uuid, argument }, 'no conference room');
    return;
  }
  const flags = list.split('|').map((flag) => flag.trim().toLowerCase());
  const { variables } = channel;
  if (!(await channel.answer()) || !(await channel.mediaCodec())) return;
  const music = await holdMusic(channel);
  if (channel.down) return;
  const out = new Wait('leave');
  const room = channel.rooms.open(name);
  const member = room.enter(channel, {
    mute: flags.includes('mute'),
    endsRoom: flags.includes('endconf'),
    music,
    onOut: () => out.settle('end'),
  });
  variables.set('conference_name', name);
  variables.set('conference_member_id', member.id);
  variables.set('conference_moderator', 'false');
  variables.set('conference_ghost', 'false');
  variables.set('conference_uuid', room.uuid);
  channel.player.start(member, () => {});
  // Nobody takes keys in a room: they are only told.
  channel.digits.passTo(() => {});
  await channel.executor.wait(out);
  room.leave(member);
  channel.digits.passTo(undefined);
  channel.player.stop(member);
}

async function holdMusic(channel: Call): Promise<AudioSource | undefined> {
  const { codec } = channel;
  const name = channel.variable('hold_music');
  if (!codec || !name) return undefined;
  try {
    return await channel.library.open(name, codec);
  } catch (error) {
    if (error instanceof SourceNotFound) return undefined;
    throw error;
  }
}

import type { Member, Room } from '../conference/room.ts';
import { words, type Command } from './command.ts';

function line(member: Member): string {
  const { profile, uuid } = member.channel;
  const flags = ['hear', ...(member.options.mute ? [] : ['speak']), ...(member.talking ? ['talking'] : [])];
  return `${member.id};${profile.channelName};${uuid};${profile.name};${profile.number};${flags.join('|')};0;0;100\n`;
}

const list = (room: Room): string => room.members.map(line).join('');

/** Takes one member out, or all. */
function putOut(room: Room, who: string, done: string): string {
  const targets =
    who.toLowerCase() === 'all'
      ? room.members
      : who.toLowerCase() === 'last'
        ? room.members.slice(0, 1)
        : undefined;
  if (targets) {
    for (const member of targets) room.leave(member);
    return targets.map((member) => `+OK ${done} ${member.id}\n`).join('');
  }
  const id = parseInt(who, 10) || 0;
  const member = room.member(id);
  if (!member) return `-ERR Non-Existant ID ${id}\n`;
  room.leave(member);
  return `+OK ${done} ${id}\n`;
}

/** `conference list`, `conference ROOM list`, `conference ROOM hup|kick ID`. */
export const conferenceCommand: Command = (node, argument) => {
  const [name = '', command = '', who] = words(argument, 3);
  if (name.toLowerCase() === 'list' && !command) {
    const rooms = [...node.rooms.all];
    if (rooms.length === 0) return '+OK No active conferences.\n';
    return rooms
      .map(
        (room) =>
          `+OK Conference ${room.name} (${room.size} member${room.size === 1 ? '' : 's'} rate: 8000 flags: running|answered|dynamic)\n${list(room)}`,
      )
      .join('');
  }
  const room = node.rooms.get(name);
  if (!room) return `-ERR Conference ${name} not found\n`;
  switch (command.toLowerCase()) {
    case 'list':
      return list(room);
    case 'hup':
      return who === undefined
        ? '-USAGE: conference <confname> hup <[member_id|all|last|non_moderator]>\n'
        : putOut(room, who, 'hup');
    case 'kick':
      return who === undefined
        ? '-USAGE: conference <confname> kick <[member_id|all|last|non_moderator]> [<optional sound file>]\n'
        : putOut(room, who, 'kicked');
    default:
      return `-ERR Conference command '${command}' not found.\n`;
  }
};

import { randomUUID } from 'node:crypto';
import { parseCause } from '../causes.ts';
import { jsonText, plainText } from '../esl/event.ts';
import type { Node } from './node.ts';
import { AUDIO_COMMANDS, bugList } from './audio-commands.ts';
import { conferenceCommand } from './conference-command.ts';
import { NO_CHANNEL, NO_SESSION, words, type Command } from './command.ts';
import { originate } from './originate.ts';
import { show } from './show.ts';
import { statusText, uptime, VERSION_FULL, VERSION_SHORT } from './status.ts';

const COMMANDS: Readonly<Record<string, Command>> = {
  status: (node) => statusText(node),
  version: (_, argument) => (argument.trim() === 'short' ? `${VERSION_SHORT}\n` : `${VERSION_FULL}\n`),
  uptime: (node, argument) => uptime(node, argument.trim()),
  show: (node, argument) => show(node, argument),
  echo: (_, argument) => argument,
  create_uuid: () => randomUUID(),
  strepoch: () => String(Math.floor(Date.now() / 1000)),
  global_getvar: (node, argument) => node.globals.get(argument.trim()) ?? '',
  module_exists: (_, argument) =>
    String(
      /^(mod_sofia|mod_event_socket|mod_commands|mod_dptools|mod_tone_stream|mod_local_stream|mod_sndfile|mod_conference)$/.test(
        argument.trim(),
      ),
    ),
  fsctl,
  hupall(node, argument) {
    const [cause, ...pairs] = words(argument, 100);
    const name = cause ? parseCause(cause) : 'MANAGER_REQUEST';
    const wanted: [string, string][] = [];
    for (let i = 0; i + 1 < pairs.length; i += 2) wanted.push([pairs[i] ?? '', pairs[i + 1] ?? '']);
    for (const channel of [...node.channels.values()]) {
      if (wanted.every(([variable, value]) => channel.variables.get(variable) === value))
        channel.hangup(name);
    }
    const [first] = wanted;
    if (!first) return `+OK hangup all channels with cause ${name}\n`;
    return `+OK hangup all channels matching [${first[0]}]=[${first[1]}]${wanted.length > 1 ? '...' : ''} with cause: ${name}\n`;
  },
  sched_del(node, argument) {
    return `+OK Deleted: ${node.channels.get(argument.trim())?.guard.release() ? 1 : 0}\n`;
  },
  sched_hangup(node, argument) {
    const [seconds = '', uuid, cause] = words(argument, 3);
    if (!/^\+\d+$/.test(seconds) || !uuid) return '-USAGE: [+]<time> <uuid> [<cause>]\n';
    node.channels.get(uuid)?.guard.set(Number(seconds) * 1000, parseCause(cause ?? 'ALLOTTED_TIMEOUT'));
    return '+OK\n';
  },
  originate,

  uuid_exists: (node, argument) => String(node.channels.has(argument.trim())),
  async uuid_answer(node, argument) {
    return (await node.channels.get(argument.trim())?.answer()) ? '+OK\n' : '-ERROR\n';
  },
  async uuid_pre_answer(node, argument) {
    return (await node.channels.get(argument.trim())?.preAnswer()) ? '+OK\n' : '-ERROR\n';
  },
  uuid_ring_ready(node, argument) {
    const [uuid, queued] = words(argument, 3);
    if (!uuid || (queued !== undefined && queued !== 'queued')) return '-USAGE: <uuid> [queued]\n';
    const channel = node.channels.get(uuid);
    channel?.ringReady();
    return channel ? '+OK\n' : '-ERROR\n';
  },
  uuid_kill(node, argument) {
    const [uuid, cause] = words(argument, 2);
    if (!uuid) return '-USAGE: <uuid> [cause]\n';
    const channel = node.channels.get(uuid);
    if (!channel) return NO_CHANNEL;
    channel.hangup(parseCause(cause ?? 'NORMAL_CLEARING'));
    return '+OK\n';
  },
  uuid_media_reneg(node, argument) {
    const [uuid] = words(argument, 2);
    if (!uuid) return '-USAGE: <uuid>[ <codec_string>]\n';
    const channel = node.channels.get(uuid);
    if (!channel) return '-ERR Operation Failed\n';
    return channel.leg.renegotiate() ? '+OK Success\n' : '-ERR Operation Failed\n';
  },
  uuid_break(node, argument) {
    const [uuid, flag = ''] = words(argument, 2);
    if (!uuid) return '-USAGE: <uuid> [all]\n';
    const channel = node.channels.get(uuid);
    if (!channel) return NO_CHANNEL;
    if (flag.includes('all')) channel.executor.flush();
    channel.executor.break();
    return '+OK\n';
  },
  uuid_setvar(node, argument) {
    const [uuid, name, value] = words(argument, 3);
    if (!uuid || !name) return '-USAGE: <uuid> <var> [value]\n';
    const channel = node.channels.get(uuid);
    if (!channel) return NO_CHANNEL;
    channel.variables.set(name, value);
    return '+OK\n';
  },
  uuid_setvar_multi(node, argument) {
    const usage = '-USAGE: <uuid> <var>=<value>;<var>=<value>...\n';
    const [uuid, pairs] = words(argument, 2);
    if (!uuid || pairs === undefined) return usage;
    const channel = node.channels.get(uuid);
    if (!channel) return NO_CHANNEL + usage;
    let output = '';
    let done = 0;
    for (const pair of pairs.split(';').slice(0, 64)) {
      const equals = pair.indexOf('=');
      const name = equals < 0 ? pair : pair.slice(0, equals);
      if (!name) output += '-ERR No variable specified\n';
      else {
        channel.variables.set(name, equals < 0 ? undefined : pair.slice(equals + 1));
        done++;
      }
    }
    return output + (done > 0 ? '+OK\n' : usage);
  },
  uuid_getvar(node, argument) {
    const [uuid, name] = words(argument, 4);
    if (!uuid || !name) return '-USAGE: <uuid> <var>\n';
    const channel = node.channels.get(uuid);
    return channel ? (channel.variables.get(name) ?? node.globals.get(name) ?? '_undef_') : NO_CHANNEL;
  },
  uuid_dump(node, argument) {
    const [uuid, format = 'txt'] = words(argument, 2);
    if (!uuid) return '-USAGE: <uuid> [format]\n';
    const channel = node.channels.get(uuid);
    if (!channel) return NO_CHANNEL;
    if (format.toLowerCase() === 'json') return jsonText(channel.dump(), undefined);
    return plainText(channel.dump(), undefined, format.toLowerCase() !== 'plain');
  },
  uuid_send_dtmf(node, argument) {
    const [uuid, keys] = words(argument, 2);
    if (!uuid || !keys) return '-USAGE: <uuid> <dtmf_data>\n';
    const channel = node.channels.get(uuid);
    if (!channel) return NO_SESSION;
    return channel.sendDigits(keys) ? `+OK ${uuid} sent DTMF ${keys}.\n` : '-ERR Operation failed\n';
  },
  uuid_recv_dtmf(node, argument) {
    const [uuid, keys] = words(argument, 2);
    if (!uuid || !keys) return '-USAGE: <uuid> <dtmf_data>\n';
    const channel = node.channels.get(uuid);
    if (!channel) return NO_SESSION;
    return channel.digits.inject(keys) ? `+OK ${uuid} received DTMF ${keys}.\n` : '-ERR Operation failed\n';
  },
  uuid_flush_dtmf(node, argument) {
    const channel = node.channels.get(argument.trim());
    channel?.digits.flush();
    return channel ? '+OK\n' : '-ERR No such session\n';
  },
  uuid_buglist(node, argument) {
    if (!argument.trim()) return '-USAGE: <uuid>\n';
    const channel = node.channels.get(argument.trim());
    return channel ? bugList(channel) : '';
  },
  conference: conferenceCommand,
  ...AUDIO_COMMANDS,
};

const DIRECTIONS = ['inbound', 'outbound'] as const;

function fsctl(node: Node, argument: string): string {
  const [command, value] = words(argument, 2);
  switch (command) {
    case 'max_sessions':
      return `+OK max sessions: ${node.maxSessions}\n`;
    case 'pause':
    case 'resume':
      // "inbound", "outbound", or nothing for both.
      for (const direction of DIRECTIONS)
        if (value === undefined || value === direction) node.paused[direction] = command === 'pause';
      return '+OK\n';
    case 'pause_check':
      return String(
        DIRECTIONS.every(
          (direction) => node.paused[direction] || (value !== undefined && value !== direction),
        ),
      );
    case 'hupall':
      return COMMANDS.hupall?.(node, value ?? '') as string;
    case 'shutdown':
      node.onShutdownRequested();
      return '+OK\n';
    default:
      return '-USAGE: [hupall|max_sessions|pause [inbound|outbound]|pause_check [inbound|outbound]|resume [inbound|outbound]|shutdown]\n';
  }
}

/** Runs an API command; the output of FreeSWITCH for one it does not know, too. */
export function runCommand(node: Node, name: string, argument: string): string | Promise<string> {
  const key = name.toLowerCase();
  const command = Object.hasOwn(COMMANDS, key) ? COMMANDS[key] : undefined;
  return command ? command(node, argument) : `-ERR ${name} Command not found!\n`;
}

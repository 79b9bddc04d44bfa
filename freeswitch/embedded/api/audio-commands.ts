import type { Channel } from '../channel/channel.ts';
import { SourceNotFound } from '../media/library.ts';
import { RepeatedSource } from '../media/sources.ts';
import type { AudioSource } from '../rtp/session.ts';
import { NO_CHANNEL, NO_SESSION, words, type Command } from './command.ts';

const AUDIO_USAGE = '-USAGE: <uuid> [start [read|write] [mute|level <level>]|stop]\n';
const DISPLACE_USAGE = '-USAGE: <uuid> [start|stop] <path> [<limit>] [mux]\n';
const RECORD_USAGE = '-USAGE: <uuid> [start|stop|mask|unmask] <path> [<limit>] [<recording_vars>]\n';
/** Displacements of one channel at a time. */
const MAX_DISPLACEMENTS = 16;

/** Commands on what a channel says and hears. */
export const AUDIO_COMMANDS: Readonly<Record<string, Command>> = {
  async uuid_audio(node, argument) {
    const [uuid, action = '', direction, what, level] = words(argument, 5);
    if (!uuid || !action) return AUDIO_USAGE;
    const channel = node.channels.get(uuid);
    if (!channel) return NO_CHANNEL;
    if (action.toLowerCase() === 'stop') {
      channel.audio.unmute();
      return '+OK\n';
    }
    const side = direction?.toLowerCase();
    // Mute only: changing the volume is a thing nobody asks this node for.
    if (
      action.toLowerCase() !== 'start' ||
      (side !== 'read' && side !== 'write') ||
      what?.toLowerCase() !== 'mute' ||
      level === undefined
    )
      return AUDIO_USAGE;
    if (await channel.preAnswer()) channel.audio.mute(side, (parseInt(level, 10) || 0) !== 0);
    return '+OK\n';
  },
  async uuid_displace(node, argument) {
    const [uuid, action = '', path, limit, flags = ''] = words(argument, 5);
    if (!uuid || !action || !path) return DISPLACE_USAGE;
    const channel = node.channels.get(uuid);
    if (!channel) return NO_SESSION;
    switch (action.toLowerCase()) {
      case 'start':
        return (await displace(channel, path, parseInt(limit ?? '', 10) || 0, flags))
          ? '+OK Success\n'
          : '-ERR Cannot displace session!\n';
      case 'stop':
        return stopDisplacing(channel, path) ? '+OK Success\n' : '-ERR Cannot stop displace session!\n';
      default:
        return DISPLACE_USAGE;
    }
  },
  async uuid_record(node, argument) {
    const [uuid, action = '', path] = words(argument, 4);
    if (!uuid || !action || !path) return RECORD_USAGE;
    const channel = node.channels.get(uuid);
    if (!channel) return NO_SESSION;
    switch (action.toLowerCase()) {
      case 'start':
        return (await channel.recordings.start(path)) ? '+OK Success\n' : '-ERR Cannot record session!\n';
      case 'stop': {
        const stopped =
          path.toLowerCase() === 'all'
            ? await channel.recordings.stopAll()
            : await channel.recordings.stop(path);
        return stopped ? '+OK Success\n' : '-ERR Cannot stop record session!\n';
      }
      default:
        return RECORD_USAGE;
    }
  },
};

/** Plays something in place of what the channel would hear; flag `l` again and again, `limit` in s. */
async function displace(channel: Channel, path: string, limit: number, flags: string): Promise<boolean> {
  if (!(await channel.preAnswer())) return false;
  const codec = await channel.mediaCodec();
  const running = [...channel.audio.displaced];
  if (!codec || running.includes(path) || running.length >= MAX_DISPLACEMENTS) return false;
  let source: AudioSource;
  try {
    const once = await channel.library.open(path, codec);
    source = flags.includes('l') ? new RepeatedSource(once) : once;
  } catch (error) {
    if (error instanceof SourceNotFound) return false;
    throw error;
  }
  if (channel.down || [...channel.audio.displaced].includes(path)) return false;
  channel.audio.displace(path, source, () => bugEvent(channel, 'MEDIA_BUG_STOP', path));
  bugEvent(channel, 'MEDIA_BUG_START', path);
  if (limit > 0) {
    const timer = setTimeout(() => stopDisplacing(channel, path), limit * 1000);
    timer.unref();
    channel.onDown(() => clearTimeout(timer));
  }
  return true;
}

function stopDisplacing(channel: Channel, path: string): boolean {
  const stopped = channel.audio.replace(path);
  if (stopped) bugEvent(channel, 'MEDIA_BUG_STOP', path);
  return stopped;
}

function bugEvent(channel: Channel, name: string, path: string): void {
  const origin = { file: 'switch_core_media_bug.c', fn: 'switch_core_media_bug_add', line: 1 };
  channel.emit(name, origin, { 'Media-Bug-Function': 'displace', 'Media-Bug-Target': path });
}

const XML: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
};

/** What listens to a channel's audio or changes it, as `uuid_buglist` shows it. */
export function bugList(channel: Channel): string {
  const bugs = [
    ...(channel.audio.muted ? [['audio', 'mute']] : []),
    ...[...channel.audio.displaced].map((path) => ['displace', path]),
    ...[...channel.recordings.files].map((path) => ['session_record', path]),
  ];
  if (bugs.length === 0) return '<media-bugs/>\n';
  const items = bugs.map(([name = '', target = '']) => {
    const text = target.replace(/[&<>"']/g, (c) => XML[c] ?? c);
    return ` <media-bug>\n  <function>${name}</function>\n  <target>${text}</target>\n  <thread-locked>0</thread-locked>\n </media-bug>\n`;
  });
  return `<media-bugs>\n${items.join('')}</media-bugs>\n`;
}

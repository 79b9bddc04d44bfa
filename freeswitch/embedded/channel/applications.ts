import { parseCause } from '../causes.ts';
import { SourceNotFound } from '../media/library.ts';
import { CountedSource } from '../media/sources.ts';
import { bridge } from './bridge.ts';
import type { Call } from './call.ts';
import { conference } from './conference.ts';
import { Wait } from './wait.ts';

/** A dialplan application: what `sendmsg` with `call-command: execute` runs. */
export interface Application {
  name: string;
  run(channel: Call, argument: string): void | Promise<void>;
}

async function playback(channel: Call, argument: string): Promise<void> {
  const { variables } = channel;
  variables.set('playback_terminator_used', undefined);
  const status = await play(channel, argument);
  const responses = {
    done: 'FILE PLAYED',
    break: 'FILE PLAYED',
    notfound: 'FILE NOT FOUND',
    error: 'PLAYBACK ERROR',
  } as const;
  variables.set('current_application_response', responses[status]);
}

async function play(channel: Call, name: string): Promise<'done' | 'break' | 'notfound' | 'error'> {
  if (!name || !(await channel.preAnswer())) return 'error';
  const codec = await channel.mediaCodec();
  if (!codec) return 'error';
  let source: CountedSource;
  try {
    source = new CountedSource(await channel.library.open(name, codec));
  } catch (error) {
    if (!(error instanceof SourceNotFound)) throw error;
    channel.log.warn({ uuid: channel.uuid, file: name }, 'file not found');
    return 'notfound';
  }
  if (channel.down) return 'error';

  const kind = /^(local_stream|tone_stream):/.exec(name)?.[1];
  const extra: Record<string, string> = {
    ...(kind ? { 'Playback-File-Type': kind } : {}),
    'Playback-File-Path': name,
  };
  const origin = { file: 'switch_ivr_play_say.c', fn: 'switch_ivr_play_file', line: 1681 };
  channel.emit('PLAYBACK_START', origin, extra);
  const wait = new Wait((digit) => {
    if (!isTerminator(channel, digit)) return false;
    channel.variables.set('playback_terminator_used', digit);
    return true;
  });
  channel.player.start(source, () => wait.settle('end'));
  const end = await channel.executor.wait(wait);
  channel.player.stop(source);

  const { variables } = channel;
  variables.set('playback_last_offset_pos', source.samples);
  variables.set('playback_seconds', Math.floor(source.samples / 8000));
  variables.set('playback_ms', Math.floor(source.samples / 8));
  variables.set('playback_samples', source.samples);
  channel.emit(
    'PLAYBACK_STOP',
    { ...origin, line: 2039 },
    { ...extra, 'Playback-Status': end === 'break' ? 'break' : 'done' },
  );
  if (end === 'hangup') return channel.hungUpByUs ? 'done' : 'error';
  return end === 'break' ? 'break' : 'done';
}

function isTerminator(channel: Call, digit: string): boolean {
  const terminators = channel.variable('playback_terminators') ?? '*';
  if (/^none$/i.test(terminators)) return false;
  return (/^any$/i.test(terminators) ? '1234567890*#' : terminators).includes(digit);
}

async function sleep(channel: Call, argument: string): Promise<void> {
  const ms = parseInt(argument, 10);
  if (!(ms > 0)) return;
  // With media FreeSWITCH stops at a pending key and leaves it queued, unless it is told to eat keys.
  const wait = new Wait(
    channel.variables.isTrue('sleep_eat_digits') ? (digit) => isTerminator(channel, digit) : undefined,
  );
  const timer = setTimeout(() => wait.settle('end'), Math.min(ms, 86_400_000));
  await channel.executor.wait(wait);
  clearTimeout(timer);
}

function set(channel: Call, argument: string): void {
  const at = argument.includes('=') ? argument.indexOf('=') : argument.indexOf(',');
  if (at < 0) channel.variables.set(argument, undefined);
  else channel.variables.set(argument.slice(0, at), argument.slice(at + 1));
}

/** `^^;a=1;b=2`, or pairs separated by spaces. */
function multiset(channel: Call, argument: string): void {
  const custom = /^\^\^(.)/s.exec(argument)?.[1];
  for (const pair of custom ? argument.slice(3).split(custom) : argument.split(' '))
    if (pair) set(channel, pair);
}

async function respond(channel: Call, argument: string): Promise<void> {
  const code = parseInt(argument, 10) || 488;
  if (code === 180) channel.ringReady();
  else if (code === 183) await channel.preAnswer();
  else if (code < 400) channel.log.warn({ uuid: channel.uuid, code }, 'cannot respond with this code');
  else if (code !== 488 || !channel.answered) channel.refuse(code, argument.replace(/^\S+\s*/, ''));
}

function breakApplication(channel: Call, argument: string): void {
  // FreeSWITCH flushes for every argument but "all", and so does this.
  if (argument && argument.toLowerCase() !== 'all') channel.executor.flush();
  channel.executor.break();
}

const LIST: Application[] = [
  { name: 'answer', run: async (channel) => void (await channel.answer()) },
  { name: 'pre_answer', run: async (channel) => void (await channel.preAnswer()) },
  { name: 'ring_ready', run: (channel) => channel.ringReady() },
  { name: 'playback', run: playback },
  { name: 'sleep', run: sleep },
  { name: 'set', run: set },
  { name: 'multiset', run: multiset },
  { name: 'unset', run: (channel, argument) => channel.variables.set(argument, undefined) },
  { name: 'hangup', run: (channel, argument) => channel.hangup(parseCause(argument || 'NORMAL_CLEARING')) },
  { name: 'respond', run: respond },
  { name: 'bridge', run: bridge },
  { name: 'conference', run: conference },
  // The dialplan has parked it already, and a channel is parked only once.
  { name: 'park', run: () => {} },
  { name: 'send_dtmf', run: (channel, argument) => void channel.sendDigits(argument) },
  { name: 'flush_dtmf', run: (channel) => channel.digits.flush() },
  { name: 'break', run: breakApplication },
  { name: 'eval', run: () => {} },
];

export const APPLICATIONS: ReadonlyMap<string, Application> = new Map(
  LIST.map((application) => [application.name, application]),
);

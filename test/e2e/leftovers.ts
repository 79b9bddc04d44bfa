import { randomUUID } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { Redis } from 'ioredis';
import { coordinatesOf, type Coordinates, type Settings } from '../../cli/settings.ts';
import { instance, until } from './platform.ts';

/** What there is of calls in every part of an instance, as the part itself says. */
export interface Leftovers {
  /** Of the control process's own gauges, those that count what a call is made of. */
  control: Record<string, number>;
  /** Channels on media nodes, by what the nodes say. */
  channels: number;
  /** Calls rtpengine relays audio for. */
  rtpengine: number;
  /** Dialogs of Kamailio. */
  dialogs: number;
  /** Keys in Redis that name a call or a room. */
  redis: string[];
}

const GAUGES = [
  'calls',
  'flows',
  'decisions_unclaimed',
  'journal_depth',
  'media_channels',
  'media_commands_pending',
  'recordings_running',
  'recordings_waiting',
];

/** Where the parts of the running instance are. */
export const coordinates = (): Coordinates =>
  coordinatesOf(JSON.parse(readFileSync(instance.home.config, 'utf8')) as Settings);

/** Every series of /metrics by its name with labels. */
export async function metrics(
  { edge }: Pick<Coordinates, 'edge'> = coordinates(),
): Promise<Map<string, number>> {
  const text = await (await fetch(`${edge}/metrics`)).text();
  return new Map(
    text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  );
}

/** Asks one media node over its event socket for the number of its channels. */
function channelsOf(node: string, password: string): Promise<number> {
  const [host = '', port] = node.split(':');
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), host);
    let text = '';
    socket.setTimeout(5000, () => socket.destroy(new Error(`${node} says nothing`)));
    socket.on('error', reject);
    socket.write(`auth ${password}\n\napi show channels as json\n\n`);
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const count = /"row_count":\s*(\d+)/.exec(text)?.[1];
      if (count === undefined) return;
      socket.destroy();
      resolve(Number(count));
    });
  });
}

/** Asks rtpengine by its ng protocol for the calls it has. */
function rtpengineCalls(address: string): Promise<number> {
  const [host, port] = address.split(':');
  const socket = createSocket('udp4');
  return new Promise<number>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('rtpengine says nothing')), 5000);
    socket.on('message', (message) => {
      clearTimeout(timer);
      let rest = /5:callsl(.*)$/s.exec(message.toString('latin1'))?.[1] ?? '';
      let count = 0;
      for (let length = /^(\d+):/.exec(rest); length; length = /^(\d+):/.exec(rest)) {
        rest = rest.slice(length[0].length + Number(length[1]));
        count++;
      }
      resolve(count);
    });
    // A cookie of its own: rtpengine answers a known one from memory.
    socket.send(`${randomUUID()} d7:command4:list5:limiti10000ee`, Number(port), host);
  }).finally(() => socket.close());
}

async function dialogs(rpc: string): Promise<number> {
  const response = await fetch(rpc, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'dlg.stats_active' }),
  });
  const { result } = (await response.json()) as { result: { all: number } };
  return result.all;
}

async function redisKeys(url: string): Promise<string[]> {
  const redis = new Redis(url);
  try {
    return (await redis.keys('*')).filter((key) => /call_|room/.test(key)).sort();
  } finally {
    redis.disconnect();
  }
}

export async function leftovers(): Promise<Leftovers> {
  const at = coordinates();
  const all = await metrics(at);
  return {
    control: Object.fromEntries(GAUGES.map((name) => [name, all.get(`minivoice_${name}`) ?? NaN])),
    channels: (await Promise.all(at.media_nodes.map((node) => channelsOf(node, at.esl.password)))).reduce(
      (sum, count) => sum + count,
      0,
    ),
    rtpengine: await rtpengineCalls(at.rtpengine_ng),
    dialogs: await dialogs(at.rpc),
    redis: await redisKeys(at.redis_url),
  };
}

/** What of it should not be there, in words; empty when nothing is left. */
export function left({ control, channels, rtpengine, dialogs, redis }: Leftovers): string[] {
  const counts = { ...control, channels, rtpengine, dialogs, 'keys in redis': redis.length };
  return Object.entries(counts)
    .filter(([, count]) => count !== 0)
    .map(([what, count]) => `${what}: ${count}`)
    .concat(redis.slice(0, 5));
}

/**
 * Resolves when nothing is left of any call anywhere.
 * @param how.rtpengine false: not looked at, as it keeps each call for two seconds (`delete-delay`); look
 *   once at the end of many.
 * @throws Error that says what is left
 */
export async function nothingLeft({
  rtpengine = true,
  timeoutMs = 10_000,
}: { rtpengine?: boolean; timeoutMs?: number } = {}): Promise<void> {
  let found: string[] = [];
  await until(
    async () => {
      const all = await leftovers();
      found = left(rtpengine ? all : { ...all, rtpengine: 0 });
      return found.length === 0;
    },
    'nothing to be left',
    timeoutMs,
  ).catch(() => {
    throw new Error(`left behind: ${found.join(', ')}`);
  });
}

import { createSocket } from 'node:dgram';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { Failure } from './failure.ts';

/** Every port of an instance. All of them are on loopback. */
export interface Ports {
  api: number;
  sip: number;
  edge: number;
  rpc: number;
  rtpengine: number;
  database: number;
  redis: number;
  mediaSip: number;
  mediaEsl: number;
  /** For the demo's application. */
  spare: number;
  rtp: { first: number; last: number };
  /** Audio of media streams, from rtpengine to the control plane. */
  streams: { first: number; last: number };
  mediaRtp: { first: number; last: number };
}

export const DEFAULT_BASE = 20000;
/** How many ports from its base on an instance may use. */
export const SPAN = 3000;

/** @param base undefined: the well-known 8080 and 5060, and the rest from 20000 on. */
export function portsFrom(base: number | undefined): Ports {
  const b = base ?? DEFAULT_BASE;
  return {
    api: base ?? 8080,
    sip: base === undefined ? 5060 : b + 1,
    edge: b + 2,
    rpc: b + 3,
    rtpengine: b + 4,
    database: b + 5,
    redis: b + 6,
    mediaSip: b + 8,
    mediaEsl: b + 9,
    spare: b + 20,
    streams: { first: b + 100, last: b + 399 },
    // Four for each call, which keeps them for some seconds beyond its end: so many that 50 new calls a
    // second find theirs.
    rtp: { first: b + 400, last: b + 1999 },
    mediaRtp: { first: b + 2000, last: b + 2998 },
  };
}

/**
 * The ports of each media node of an instance: the first one's are those named above, and all share the ports
 * for audio.
 */
export function mediaPorts(
  { mediaSip, mediaEsl, mediaRtp }: Ports,
  count = 1,
): { sip: number; esl: number; rtp: { first: number; last: number } }[] {
  const share = Math.floor((mediaRtp.last - mediaRtp.first) / count / 2) * 2;
  return Array.from({ length: count }, (_, i) => {
    const first = mediaRtp.first + i * share;
    return {
      sip: mediaSip + 2 * i,
      esl: mediaEsl + 2 * i,
      rtp: { first, last: i === count - 1 ? mediaRtp.last : first + share - 2 },
    };
  });
}

/** @throws Failure for what is no usable base. */
export function parseBase(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined;
  const base = Number(text);
  if (!Number.isInteger(base) || base < 1024 || base + SPAN > 65536 || base % 2 !== 0) {
    throw new Failure(
      `MINIVOICE_PORT_BASE must be an even number from 1024 to ${65536 - SPAN}, and is ${JSON.stringify(text)}.`,
    );
  }
  return base;
}

function tcpFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });
}

function udpFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.once('error', () => resolve(false));
    socket.bind({ port, address: '127.0.0.1', exclusive: true }, () => socket.close(() => resolve(true)));
  });
}

const TCP: [keyof Ports, string][] = [
  ['api', 'the API'],
  ['sip', 'SIP'],
  ['edge', 'route decisions'],
  ['rpc', "Kamailio's JSON-RPC"],
  ['database', 'the database'],
  ['redis', 'Redis'],
  ['mediaSip', "the media node's SIP"],
  ['mediaEsl', "the media node's event socket"],
  ['spare', "the demo's application"],
];
const UDP: [keyof Ports, string][] = [
  ['sip', 'SIP'],
  ['rtpengine', "rtpengine's control"],
  ['mediaSip', "the media node's SIP"],
];

/** The first port that somebody else has, or undefined. `only` restricts the look to some of them. */
export async function takenPort(
  ports: Ports,
  only?: (keyof Ports)[],
): Promise<{ port: number; protocol: 'tcp' | 'udp'; use: string } | undefined> {
  for (const [list, protocol, free] of [
    [TCP, 'tcp', tcpFree],
    [UDP, 'udp', udpFree],
  ] as const) {
    for (const [name, use] of list) {
      const port = ports[name];
      if (typeof port !== 'number' || (only && !only.includes(name))) continue;
      if (!(await free(port))) return { port, protocol, use };
    }
  }
  return undefined;
}

/** @throws Failure naming the port, what it is for and, where it can be found, the process that has it. */
export async function assertFree(ports: Ports, only?: (keyof Ports)[]): Promise<void> {
  const taken = await takenPort(ports, only);
  if (!taken) return;
  const owner = await ownerOf(taken.port, taken.protocol);
  const by = owner ? `by ${owner.name} (pid ${owner.pid})` : 'by another process';
  throw new Failure(
    `Port ${taken.port}/${taken.protocol}, for ${taken.use}, is taken ${by}: stop that, or set MINIVOICE_PORT_BASE to use other ports.`,
  );
}

/** Who listens on a port, from /proc/net and the open files of every process we may look into. */
export async function ownerOf(
  port: number,
  protocol: 'tcp' | 'udp',
): Promise<{ pid: number; name: string } | undefined> {
  const inodes = new Set<string>();
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  for (const file of [`/proc/net/${protocol}`, `/proc/net/${protocol}6`]) {
    const table = await readFile(file, 'utf8').catch(() => '');
    for (const line of table.split('\n').slice(1)) {
      const [, local, , , , , , , , inode] = line.trim().split(/\s+/);
      if (local?.endsWith(`:${hex}`) && inode) inodes.add(`socket:[${inode}]`);
    }
  }
  if (inodes.size === 0) return undefined;
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      if (!inodes.has(await readlink(`/proc/${pid}/fd/${fd}`).catch(() => ''))) continue;
      return {
        pid: Number(pid),
        name: (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '?')).trim(),
      };
    }
  }
  return undefined;
}

/**
 * A base whose named ports and ranges look free, for an instance beside others.
 * @throws Failure when there is none.
 */
export async function freeBase(candidates: number[]): Promise<number> {
  for (const base of candidates) {
    const ports = portsFrom(base);
    if (
      !(await takenPort(ports)) &&
      (await udpFree(ports.rtp.first)) &&
      (await udpFree(ports.mediaRtp.first))
    )
      return base;
  }
  throw new Failure(`No free range of ${SPAN} ports was found, starting at any of ${candidates.join(', ')}.`);
}

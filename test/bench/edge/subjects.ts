import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Program } from './processes.ts';
import { SOURCES } from './generators.ts';

const REPOSITORY = path.resolve(import.meta.dirname, '../../..');
const WORKERS = '2';
const EDGE_TOKEN = 'edge-token-of-the-benchmark';
const ADMIN_TOKEN = 'admin-token-of-the-benchmark';

export const NUMBERS = { unknown: '+493099999999', reject: '+493012345604', webhook: '+493012345601' };

/** @throws Error naming what is missing. */
export function required(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run this with ./minivoice bench edge`);
  return value;
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const bound = server.address();
  server.close();
  return typeof bound === 'object' && bound ? bound.port : 0;
}

/** A Kamailio that answers stateless with this code and does nothing else. */
export async function startBare(port: number, code: number, reason: string): Promise<Program> {
  const folder = await mkdtemp(path.join(tmpdir(), 'minivoice-bare-'));
  const command = [
    required('KAMAILIO_BIN'),
    '-DD',
    '-E',
    '-f',
    path.join(import.meta.dirname, 'bare.cfg'),
    '-Y',
    folder,
    '-x',
    'fm',
    '-X',
    'fm',
    '-m',
    '512',
    '-M',
    '8',
    '-L',
    required('KAMAILIO_MODULES'),
  ];
  try {
    return await Program.start(
      'bare Kamailio',
      command,
      {
        BARE_LISTEN: `udp:127.0.0.1:${port}`,
        BARE_CODE: String(code),
        BARE_REASON: reason,
        KAMAILIO_WORKERS: WORKERS,
      },
      () => pingSip(port),
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export interface Subjects {
  kamailio: Program;
  control: Program;
  sipPort: number;
  /** How many calls the control plane has on record, up to a page. */
  recorded: () => Promise<number>;
  stop: () => Promise<void>;
}

/**
 * The edge and the control plane as they run in production, but for two things: they are alone, and the media
 * node they are told of is not there, so that a decision creates a call which is then refused.
 */
export async function startSubjects(): Promise<Subjects> {
  const folder = await mkdtemp(path.join(tmpdir(), 'minivoice-bench-'));
  const [sipPort, rpcPort, httpPort, edgePort, ngPort, esl, nodeSip] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ];
  await mkdir(path.join(folder, 'media'));
  const programs: Program[] = [];
  const stop = async (): Promise<void> => {
    for (const program of programs.reverse()) await program.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const rpcUrl = `http://127.0.0.1:${rpcPort}/RPC`;
    const kamailio = await Program.start(
      'Kamailio',
      [path.join(REPOSITORY, 'kamailio/start.sh')],
      {
        SIP_IP: '127.0.0.1',
        SIP_PORT: String(sipPort),
        RPC_IP: '127.0.0.1',
        RPC_PORT: String(rpcPort),
        CONTROL_URL: `http://127.0.0.1:${edgePort}`,
        CONTROL_IPS: '127.0.0.1',
        EDGE_TOKEN,
        RTPENGINE_SOCK: `udp:127.0.0.1:${ngPort}`,
        MEDIA_NODES: `127.0.0.1:${nodeSip}`,
        KAMAILIO_RUN_DIR: folder,
        KAMAILIO_WORKERS: WORKERS,
      },
      () => rpc(rpcUrl, 'core.version', []),
    );
    programs.push(kamailio);
    const api = `http://127.0.0.1:${httpPort}`;
    const control = await Program.start(
      'control plane',
      [process.execPath, '--import', 'tsx', path.join(REPOSITORY, 'control/main.ts')],
      {
        MINIVOICE_PROFILE: 'development',
        LOG_LEVEL: 'error',
        HTTP_HOST: '127.0.0.1',
        HTTP_PORT: String(httpPort),
        EDGE_HOST: '127.0.0.1',
        EDGE_PORT: String(edgePort),
        EDGE_TOKEN,
        ADMIN_TOKEN,
        SECRET_KEY: '0'.repeat(64),
        DATABASE_URL: required('MINIVOICE_TEST_DATABASE_URL'),
        REDIS_URL: required('MINIVOICE_TEST_REDIS_URL'),
        KAMAILIO_RPC_URLS: rpcUrl,
        FREESWITCH_NODES: `127.0.0.1:${esl}:${nodeSip}`,
        FREESWITCH_ESL_PASSWORD: 'not-there-at-all',
        MEDIA_FILES_DIR: path.join(folder, 'media'),
      },
      async () => {
        if (!(await fetch(`${api}/healthz`)).ok) throw new Error('not alive');
      },
    );
    programs.push(control);
    await seed(api);
    await settled(rpcUrl);
    const recorded = async (): Promise<number> =>
      ((await call(api, 'GET', '/admin/v1/calls?limit=200')) as { data: unknown[] }).data.length;
    return { kamailio, control, sipPort, recorded, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A customer with an application, a number of each kind, and a trunk for every generator. */
async function seed(api: string): Promise<void> {
  const { id: customer } = (await call(api, 'POST', '/admin/v1/customers', { name: 'Benchmark' })) as {
    id: string;
  };
  const { id: application } = (await call(api, 'POST', `/admin/v1/customers/${customer}/applications`, {
    name: 'Benchmark',
    answer_url: 'http://127.0.0.1:8099/answer',
  })) as { id: string };
  for (const source of SOURCES)
    await call(api, 'POST', '/admin/v1/trunks', { name: source, proxy: source, inbound_ip: source });
  await call(api, 'POST', '/admin/v1/dids', {
    number_e164: NUMBERS.webhook,
    customer_id: customer,
    application_id: application,
    provider: 'bench',
    route_mode: 'webhook',
  });
  await call(api, 'POST', '/admin/v1/dids', {
    number_e164: NUMBERS.reject,
    customer_id: customer,
    application_id: application,
    provider: 'bench',
    route_mode: 'reject',
    route_target: { sip_code: 480 },
  });
}

async function call(api: string, method: string, target: string, body?: object): Promise<unknown> {
  const response = await fetch(api + target, {
    method,
    headers: { authorization: `Bearer ${ADMIN_TOKEN}`, 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${target}: ${response.status} ${text}`);
  return JSON.parse(text);
}

async function rpc(url: string, method: string, params: string[]): Promise<void> {
  const response = await fetch(url, {
    method: 'POST',
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
    signal: AbortSignal.timeout(2000),
  });
  await response.text();
  if (!response.ok) throw new Error(`${method}: ${response.status}`);
}

/** Waits until the control plane has pushed what was seeded. */
async function settled(rpcUrl: string): Promise<void> {
  const wanted: [string, string][] = [
    ['edge', 'synced'],
    ['dids', NUMBERS.webhook],
    ['dids', NUMBERS.reject],
    ...SOURCES.map((source): [string, string] => ['trunks', source]),
  ];
  for (const deadline = Date.now() + 30_000; ;) {
    const there = await Promise.all(
      wanted.map((key) =>
        rpc(rpcUrl, 'htable.get', key).then(
          () => true,
          () => false,
        ),
      ),
    );
    if (there.every(Boolean)) return;
    if (Date.now() > deadline) throw new Error('the control plane does not push to Kamailio');
  }
}

/** Any answer to an OPTIONS. */
export async function pingSip(port: number): Promise<void> {
  const socket = createSocket('udp4');
  try {
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    socket.send(
      `OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:${socket.address().port};branch=z9hG4bKping\r\nFrom: <sip:p@p>;tag=p\r\nTo: <sip:p@p>\r\nCall-ID: ping\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n`,
      port,
      '127.0.0.1',
    );
    await once(socket, 'message', { signal: AbortSignal.timeout(500) });
  } finally {
    socket.close();
  }
}

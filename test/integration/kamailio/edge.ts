import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { HostPort } from '../../../cli/phone/sip-message.ts';
import { StubControl } from './stub-control.ts';

const REPOSITORY = path.resolve(import.meta.dirname, '../../..');
export const TOKEN = 'edge-token-of-the-tests';

/**
 * Who is who on loopback. Every side has an address of its own, so that one can be searched for where it must
 * not be.
 */
export const ADDRESS = {
  edge: '127.0.0.1',
  operator: '127.0.0.2',
  owner: '127.0.0.3',
  stranger: '127.0.0.4',
  media: '127.0.0.5',
  media2: '127.0.0.6',
  customer: '127.0.0.7',
  customer2: '127.0.0.8',
  rtp: '127.0.0.9',
  other: '127.0.0.10',
};

export interface EdgeOptions {
  /** `host:port` of the media nodes. */
  media?: string[];
  environment?: Record<string, string>;
  /**
   * A name server to be asked instead of the machine's: wants root, and `unshare` for a file system of
   * Kamailio's own.
   */
  nameServer?: string;
  /** False: nothing is pushed, as after a start of Kamailio alone. */
  synced?: boolean;
}

/** A real Kamailio and a real rtpengine, and a stub where the control plane would be. */
export class Edge {
  readonly sip: HostPort;
  readonly rpcUrl: string;
  readonly control: StubControl;
  readonly #folder: string;
  readonly #environment: Record<string, string>;
  readonly #nameServer: string | undefined;
  #kamailio: ChildProcess | undefined;
  #rtpengine: ChildProcess | undefined;
  #log = '';

  private constructor(
    control: StubControl,
    folder: string,
    environment: Record<string, string>,
    sip: HostPort,
    rpcPort: number,
    nameServer?: string,
  ) {
    this.#nameServer = nameServer;
    this.control = control;
    this.#folder = folder;
    this.#environment = environment;
    this.sip = sip;
    this.rpcUrl = `http://127.0.0.1:${rpcPort}/RPC`;
  }

  static async start(options: EdgeOptions = {}): Promise<Edge> {
    for (const name of ['KAMAILIO_BIN', 'KAMAILIO_MODULES', 'RTPENGINE_BIN']) {
      if (!process.env[name])
        throw new Error(`${name} is not set: run these tests with ./minivoice test integration`);
    }
    const control = await StubControl.start();
    const folder = await mkdtemp(path.join(tmpdir(), 'minivoice-edge-'));
    const [sip, rpc, ng] = [await freePort(), await freePort(), await freePort()];
    const edge = new Edge(
      control,
      folder,
      {
        SIP_IP: ADDRESS.edge,
        SIP_PORT: String(sip),
        RPC_IP: '127.0.0.1',
        RPC_PORT: String(rpc),
        CONTROL_IPS: '127.0.0.1',
        CONTROL_URL: control.url,
        EDGE_TOKEN: TOKEN,
        MEDIA_NODES: (options.media ?? []).join(','),
        KAMAILIO_RUN_DIR: folder,
        KAMAILIO_WORKERS: '2',
        RTPENGINE_SOCK: `udp:127.0.0.1:${ng}`,
        RTPENGINE_LISTEN_NG: `127.0.0.1:${ng}`,
        RTPENGINE_INTERFACE: ADDRESS.rtp,
        RTP_MIN: '33000',
        RTP_MAX: '33998',
        ...options.environment,
      },
      { host: ADDRESS.edge, port: sip },
      rpc,
      options.nameServer,
    );
    try {
      await edge.startRtpengine();
      await edge.startKamailio();
      if (options.synced !== false) await edge.push();
    } catch (error) {
      await edge.stop();
      throw error;
    }
    return edge;
  }

  /** What Kamailio and rtpengine have logged. */
  get log(): string {
    return this.#log;
  }

  /** Where rtpengine is asked. */
  get ng(): HostPort {
    const [host = '', port] = (this.#environment['RTPENGINE_LISTEN_NG'] ?? '').split(':');
    return { host, port: Number(port) };
  }

  async startKamailio(): Promise<void> {
    if (this.#nameServer !== undefined)
      await writeFile(path.join(this.#folder, 'resolv.conf'), `nameserver ${this.#nameServer}\n`);
    this.#kamailio = this.#spawn(
      'kamailio/start.sh',
      this.#nameServer === undefined
        ? []
        : [
            'unshare',
            '--mount',
            'sh',
            '-c',
            `mount --bind ${this.#folder}/resolv.conf /etc/resolv.conf && exec "$0"`,
          ],
    );
    await this.#ready(this.#kamailio, 'Kamailio', async () => void (await this.rpc('core.version')));
  }

  async startRtpengine(): Promise<void> {
    const child = this.#spawn('rtpengine/start.sh');
    this.#rtpengine = child;
    await this.#ready(child, 'rtpengine', () => pingRtpengine(this.ng));
  }

  async stopKamailio(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await end(this.#kamailio, signal);
    this.#kamailio = undefined;
  }

  async stopRtpengine(): Promise<void> {
    await end(this.#rtpengine, 'SIGKILL');
    this.#rtpengine = undefined;
  }

  async stop(): Promise<void> {
    await Promise.all([this.stopKamailio(), this.stopRtpengine()]);
    await this.control.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Whether the process that was started is still the one that runs. */
  get alive(): boolean {
    return (
      this.#kamailio !== undefined && this.#kamailio.exitCode === null && this.#kamailio.signalCode === null
    );
  }

  /** One JSON-RPC request. @throws Error with Kamailio's own words when it refuses. */
  async rpc(method: string, params: (string | number)[] = []): Promise<unknown> {
    const response = await fetch(this.rpcUrl, {
      method: 'POST',
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
      headers: { 'content-type': 'application/json' },
      signal: AbortSignal.timeout(3000),
    });
    const reply = (await response.json()) as { result?: unknown; error?: { message: string } };
    if (reply.error) throw new Error(`${method}: ${reply.error.message}`);
    return reply.result;
  }

  async set(
    table:
      | 'dids'
      | 'sip_targets'
      | 'trunks'
      | 'carriers'
      | 'credentials'
      | 'logins'
      | 'contacts'
      | 'probes'
      | 'registrations'
      | 'edge',
    key: string,
    value: string,
  ): Promise<void> {
    await this.rpc('htable.sets', [table, key, value]);
  }

  /**
   * What the control plane pushes: two trunks, a number for each mode, and last the mark that all is there.
   */
  async push(): Promise<void> {
    for (const [key, value] of Object.entries(TRUNKS)) await this.set('trunks', key, value);
    for (const [key, value] of Object.entries(DIDS)) await this.set('dids', key, value);
    await this.set('edge', 'synced', '1');
  }

  /** A trunk calls go out to, as the control plane pushes it. */
  async carrier(
    id: string,
    {
      fromDomain = '',
      maxConcurrent = '',
      maxCps = '',
      retryOn404 = false,
      ofCustomer = false,
      ...credentials
    }: Carrier,
  ): Promise<void> {
    await this.set(
      'carriers',
      id,
      `${fromDomain};${maxConcurrent};${maxCps};${retryOn404 ? 1 : ''};${ofCustomer ? 1 : ''}`,
    );
    for (const [name, value] of Object.entries(credentials))
      await this.set('credentials', `${id}::${name}`, Buffer.from(value).toString('base64'));
  }

  /** What Kamailio has put into its folder. */
  async runFiles(): Promise<string[]> {
    return (await readdir(this.#folder)).sort();
  }

  /**
   * How many calls Kamailio takes to be up, or about to be: an ended one may wait for the answer to its BYE.
   */
  async dialogs(): Promise<number> {
    const dialogs = await this.rpc('dlg.list');
    return Array.isArray(dialogs)
      ? dialogs.filter((dialog: { state: number }) => dialog.state < 5).length
      : 0;
  }

  /**
   * Asks again and again, for what cannot be waited for: state inside Kamailio or rtpengine.
   * @throws Error after the time.
   */
  async until<T>(look: () => Promise<T | undefined>, what: string, timeoutMs = 15_000): Promise<T> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const value = await look();
      if (value !== undefined) return value;
      if (Date.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
      await delay(50);
    }
  }

  /** The calls that rtpengine relays, by Call-ID; an ended one stays a few seconds. */
  async relayed(): Promise<string[]> {
    return listRtpengine(this.ng);
  }

  #spawn(script: string, through: string[] = []): ChildProcess {
    const [program = '', ...args] = [...through, path.join(REPOSITORY, script)];
    const child = spawn(program, args, {
      env: { ...process.env, ...this.#environment },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    // A test run that is interrupted takes its processes with it.
    const follow = (): void =>
      void (
        child.pid &&
        child.exitCode === null &&
        child.signalCode === null &&
        process.kill(-child.pid, 'SIGKILL')
      );
    process.once('exit', follow);
    child.once('close', () => process.off('exit', follow));
    const keep = (chunk: Buffer): void => void (this.#log += chunk.toString());
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    return child;
  }

  async #ready(child: ChildProcess, name: string, probe: () => Promise<void>): Promise<void> {
    const deadline = Date.now() + 15_000;
    for (;;) {
      if (child.exitCode !== null) throw new Error(`${name} ended at once:\n${this.#log}`);
      const failed = await probe().then(
        () => false,
        () => true,
      );
      if (!failed) return;
      if (Date.now() > deadline) throw new Error(`${name} does not get ready:\n${this.#log}`);
      await delay(50);
    }
  }
}

interface Carrier {
  fromDomain?: string;
  maxConcurrent?: number | '';
  maxCps?: number | '';
  retryOn404?: boolean;
  ofCustomer?: boolean;
  username?: string;
  password?: string;
  realm?: string;
}

export const TRUNKS = {
  [ADDRESS.operator]: 'trunk_operator;*;49',
  [ADDRESS.owner]: 'trunk_owner;cust_a;1',
  [ADDRESS.other]: 'trunk_other;cust_b;',
};

export const NUMBER = {
  webhook: '+493012345601',
  sip: '+493012345602',
  suspended: '+493012345603',
  reject: '+493012345604',
  american: '+12125550100',
  unknown: '+493099999999',
};

const DIDS: Record<string, string> = {
  [NUMBER.webhook]: 'w;cust_a;',
  [NUMBER.sip]: 's;cust_a;',
  [NUMBER.suspended]: 'x;cust_a;',
  [NUMBER.reject]: 'r;cust_a;480',
  [NUMBER.american]: 'w;cust_a;',
};

async function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'close');
  // Kamailio's workers outlive a killed parent: the whole group goes.
  const kill = (how: NodeJS.Signals): void => void (child.pid && process.kill(-child.pid, how));
  kill(signal);
  const late = setTimeout(() => kill('SIGKILL'), 5000);
  await gone;
  clearTimeout(late);
}

/** A port that is free for UDP and TCP on loopback now. */
export async function freePort(): Promise<number> {
  for (;;) {
    const server = createServer().listen(0, ADDRESS.edge);
    await once(server, 'listening');
    const bound = server.address();
    const port = typeof bound === 'object' && bound ? bound.port : 0;
    const socket = createSocket('udp4');
    try {
      socket.bind(port, ADDRESS.edge);
      await once(socket, 'listening');
      return port;
    } catch {
      continue;
    } finally {
      socket.close();
      server.close();
    }
  }
}

/** One command of the ng protocol; the answer is bencoded too. */
async function ng(at: HostPort, bencoded: string): Promise<string> {
  const socket = createSocket('udp4');
  try {
    // An answer to a cookie that was seen before comes from memory.
    socket.send(`${randomBytes(8).toString('hex')} ${bencoded}`, at.port, at.host);
    const [answer] = (await once(socket, 'message', { signal: AbortSignal.timeout(500) })) as [Buffer];
    return answer.toString();
  } finally {
    socket.close();
  }
}

async function pingRtpengine(at: HostPort): Promise<void> {
  if (!(await ng(at, 'd7:command4:pinge')).includes('pong')) throw new Error('rtpengine does not answer');
}

async function listRtpengine(at: HostPort): Promise<string[]> {
  let list = /5:callsl([^]*)e6:result/.exec(await ng(at, 'd7:command4:liste'))?.[1] ?? '';
  const ids: string[] = [];
  while (list !== '') {
    const [prefix = '', length = ''] = /^(\d+):/.exec(list) ?? [];
    ids.push(list.slice(prefix.length, prefix.length + Number(length)));
    list = list.slice(prefix.length + Number(length));
  }
  return ids;
}

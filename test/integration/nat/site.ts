import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createConnection } from 'mysql2/promise';
import { Instance } from '../../../cli/instance.ts';
import type { Coordinates, Settings } from '../../../cli/settings.ts';
import { control } from '../../../cli/supervisor/parts.ts';
import { Phone } from '../../support/phone.ts';
import type { HostPort } from '../../../cli/phone/sip-message.ts';
import { CONTROL, HOST, Network } from './network.ts';

const REPOSITORY = path.resolve(import.meta.dirname, '../../..');

export type Json = Record<string, unknown>;

/** The kinds of media node this machine can run. */
export const KINDS: ('embedded' | 'freeswitch')[] = process.env.FREESWITCH_BIN
  ? ['embedded', 'freeswitch']
  : ['embedded'];

/** What the router lets in goes here. */
export const SIP: HostPort = { host: HOST.world, port: 5060 };

/** A whole platform behind a NAT, each part on its host; and a carrier and a customer in front of it. */
export class Site {
  readonly carrier: Phone;
  /** What the customer's answer_url replies. */
  actions: unknown[] = [];
  /** The queries it was asked with. */
  readonly asked: URLSearchParams[] = [];
  key = '';
  readonly number = '+15557770001';
  readonly #network: Network;
  readonly #folder: string;
  readonly #customer = createServer((request, response) => this.#answer(request, response));
  readonly #database: string;
  #control: ChildProcess | undefined;
  answerUrl = '';
  #api = '';
  #admin = '';
  #rpc = '';
  #log = '';

  private constructor(network: Network, carrier: Phone, folder: string) {
    this.#network = network;
    this.carrier = carrier;
    this.#folder = folder;
    this.#database = `minivoice_nat_${process.pid}`;
  }

  /** @param edge more of Kamailio's environment */
  static async open(kind: 'embedded' | 'freeswitch', edge: Record<string, string> = {}): Promise<Site> {
    const network = await Network.make();
    const site = new Site(
      network,
      await Phone.open({ address: HOST.carrier, port: 5060 }),
      await mkdtemp(path.join(tmpdir(), 'minivoice-nat-')),
    );
    try {
      await site.#start(kind, edge);
      await site.#furnish();
    } catch (error) {
      await site.close();
      throw error instanceof Error
        ? new Error(`${error.message}\n${site.#log.slice(-6000)}`, { cause: error })
        : error;
    }
    return site;
  }

  async close(): Promise<void> {
    await this.carrier.close();
    this.#customer.close();
    if (this.#control && this.#control.exitCode === null) {
      const gone = once(this.#control, 'exit');
      this.#control.kill('SIGKILL');
      await gone;
    }
    await this.#network.close();
    await this.#sql(`DROP DATABASE IF EXISTS ${this.#database}`);
    await rm(this.#folder, { recursive: true, force: true });
  }

  /**
   * A request to the API, with the customer's key or the operator's token.
   * @throws Error for anything but success
   */
  async api(method: string, at: string, body?: unknown, key = this.key): Promise<Json> {
    const response = await fetch(this.#api + at, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    if (response.status > 299) throw new Error(`${method} ${at}: ${response.status} ${text}`);
    return text === '' ? {} : (JSON.parse(text) as Json);
  }

  /** Resolves with the call once it has this status. */
  async status(id: string, status: string): Promise<Json> {
    let last: Json = {};
    return this.until(
      async () => ((last = await this.api('GET', `/v1/calls/${id}`)).status === status ? last : undefined),
      () => `${status}; it is ${JSON.stringify(last)}`,
    );
  }

  /** The newest call. */
  async newest(): Promise<string> {
    return this.until(
      async () => {
        const [call] = (await this.api('GET', '/v1/calls')).data as Json[];
        return call ? String(call.id) : undefined;
      },
      () => 'a call',
    );
  }

  /** Resolves when Kamailio knows of no call. */
  async noDialogs(): Promise<void> {
    await this.until(
      async () => {
        const dialogs = (await this.#ask('dlg.list')) as { state: number }[] | undefined;
        return (dialogs ?? []).every(({ state }) => state === 5) || undefined;
      },
      () => 'the end of all dialogs',
    );
  }

  async until<T>(look: () => Promise<T | undefined>, what: () => string, timeoutMs = 15_000): Promise<T> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const found = await look();
      if (found !== undefined) return found;
      if (Date.now() > deadline) throw new Error(`waited in vain for ${what()}`);
      await delay(50);
    }
  }

  async #ask(method: string): Promise<unknown> {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method });
    const response = await fetch(this.#rpc, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json' },
    });
    return ((await response.json()) as { result?: unknown }).result;
  }

  async #start(kind: 'embedded' | 'freeswitch', edge: Record<string, string>): Promise<void> {
    const { home } = JSON.parse(await readFile(process.env.MINIVOICE_STATUS ?? '', 'utf8')) as Coordinates;
    const settings = JSON.parse(await readFile(Instance.at(home).home.config, 'utf8')) as Settings;
    const { command: [program = '', ...args] = [], env = {} } = control(settings);
    await this.#sql(`CREATE DATABASE ${this.#database} CHARACTER SET utf8mb4`);
    this.#customer.listen(0, '127.0.0.1');
    await once(this.#customer, 'listening');

    const token = env['EDGE_TOKEN'] ?? '';
    const password = env['FREESWITCH_ESL_PASSWORD'] ?? '';
    const files = path.join(this.#folder, 'media-files');
    await mkdir(files, { mode: 0o777 });
    this.#rpc = `http://${CONTROL.edge}:9060/RPC`;
    this.#api = 'http://127.0.0.1:18980';
    this.#admin = env['ADMIN_TOKEN'] ?? '';

    this.#keep(
      this.#network.spawn('edge', [path.join(REPOSITORY, 'rtpengine/start.sh')], {
        RTPENGINE_LISTEN_NG: `${CONTROL.edge}:2223`,
        RTPENGINE_INTERFACE: `${HOST.edge}!${HOST.world}`,
        RTP_MIN: '30000',
        RTP_MAX: '30998',
      }),
    );
    this.#keep(
      this.#network.spawn('edge', [path.join(REPOSITORY, 'kamailio/start.sh')], {
        KAMAILIO_RUN_DIR: path.join(this.#folder, 'kamailio'),
        KAMAILIO_WORKERS: '2',
        SIP_IP: HOST.edge,
        SIP_PORT: '5060',
        SIP_ADVERTISE: HOST.world,
        RPC_IP: CONTROL.edge,
        RPC_PORT: '9060',
        CONTROL_IPS: CONTROL.here,
        CONTROL_URL: `http://${CONTROL.here}:18981`,
        EDGE_TOKEN: token,
        RTPENGINE_SOCK: `udp:${CONTROL.edge}:2223`,
        MEDIA_NODES: `${HOST.media}:5080`,
        ...edge,
      }),
    );
    this.#keep(
      this.#network.spawn('media', await this.#node(kind), {
        FREESWITCH_SIP_IP: HOST.media,
        FREESWITCH_SIP_PORT: '5080',
        FREESWITCH_SIP_ACL: `${HOST.edge}/32`,
        FREESWITCH_RTP_START: '20000',
        FREESWITCH_RTP_END: '20998',
        FREESWITCH_ESL_IP: CONTROL.media,
        FREESWITCH_ESL_PORT: '8021',
        FREESWITCH_ESL_ACL: `${CONTROL.thereToMedia}/32`,
        FREESWITCH_ESL_PASSWORD: password,
        LOG_LEVEL: 'warn',
      }),
    );
    this.#control = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        ...env,
        HTTP_PORT: '18980',
        EDGE_HOST: CONTROL.here,
        EDGE_PORT: '18981',
        MEDIA_FILES_DIR: files,
        DATABASE_URL: (env['DATABASE_URL'] ?? '').replace(/[^/]*$/, this.#database),
        REDIS_URL: (env['REDIS_URL'] ?? '').replace(/\d+$/, '7'),
        KAMAILIO_RPC_URLS: this.#rpc,
        KAMAILIO_SIP: `${HOST.edge}:5060`,
        FREESWITCH_NODES: `${CONTROL.media}:8021:5080`,
        RTPENGINE_NG: `${CONTROL.edge}:2223`,
      },
    });
    this.#keep(this.#control);
    await this.until(
      async () => (await fetch(`${this.#api}/readyz`).catch(() => undefined))?.status === 200 || undefined,
      () => 'the platform to be ready',
      60_000,
    );
  }

  async #node(kind: 'embedded' | 'freeswitch'): Promise<string[]> {
    if (kind === 'embedded')
      return [process.execPath, '--import', 'tsx', path.join(REPOSITORY, 'freeswitch/embedded/main.ts')];
    const binary = process.env.FREESWITCH_BIN ?? '';
    const own = (name: string): string => path.join(this.#folder, name);
    const unused = ['scripts', 'htdocs', 'grammar', 'certs', 'sounds', 'storage', 'cache', 'recordings'];
    for (const name of ['log', 'run', 'db', 'temp', 'unused']) await mkdir(own(name), { recursive: true });
    return [
      binary,
      '-nf',
      '-nc',
      '-nonat',
      '-conf',
      path.join(REPOSITORY, 'freeswitch/conf'),
      '-mod',
      path.join(path.dirname(binary), '../lib/freeswitch/mod'),
      '-log',
      own('log'),
      '-run',
      own('run'),
      '-db',
      own('db'),
      '-temp',
      own('temp'),
      ...unused.flatMap((name) => [`-${name}`, own('unused')]),
    ];
  }

  /** A customer with money and a number, and the carrier, which calls both ways. */
  async #furnish(): Promise<void> {
    const post = (at: string, body: unknown): Promise<Json> =>
      this.api('POST', `/admin/v1${at}`, body, this.#admin);
    const address = this.#customer.address();
    this.answerUrl = `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}/answer`;
    const { id: customer } = await post('/customers', {
      name: 'nat',
      limits: { cps: 50, concurrent_calls: 50 },
    });
    await post(`/customers/${String(customer)}/credits`, { amount: '100.00' });
    const application = await post(`/customers/${String(customer)}/applications`, {
      name: 'nat',
      answer_url: this.answerUrl,
    });
    this.key = String(application.api_key);
    await post('/dids', {
      number_e164: this.number,
      customer_id: customer,
      application_id: application.id,
      route_mode: 'webhook',
    });
    await post('/rates', { prefix: '+1', price_per_minute: '0.10' });
    await post('/trunks', { name: 'carrier', proxy: HOST.carrier, inbound_ip: HOST.carrier, country: 'US' });
    // Kamailio hears of all this a moment later.
    await this.until(
      async () => {
        const reply = await this.carrier.request('OPTIONS', { to: 'edge', from: 'carrier', via: SIP });
        return reply.code === 200 || undefined;
      },
      () => 'the edge to know the carrier',
    );
    // A node that was slower than Kamailio is found by the next probe. P: it is probed, A: it answers.
    await this.until(
      async () => JSON.stringify(await this.#ask('dispatcher.list')).includes('"AP"') || undefined,
      () => 'the media node to be found',
    );
  }

  async #sql(statement: string): Promise<void> {
    const connection = await createConnection({ uri: process.env.MINIVOICE_TEST_DATABASE_URL ?? '' });
    await connection.query(statement);
    await connection.end();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    this.asked.push(new URL(request.url ?? '', 'http://here').searchParams);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ actions: this.actions }));
  }

  #keep(child: ChildProcess): void {
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => void (this.#log += chunk.toString()));
  }
}

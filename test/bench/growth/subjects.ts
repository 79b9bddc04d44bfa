import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { probeRtpengine } from '../../../cli/supervisor/probes.ts';
import { createDatabase, type TestDatabase } from '../../integration/webhooks/database.ts';
import { SOURCES } from '../edge/generators.ts';
import { Program } from '../edge/processes.ts';
import { freePort, pingSip, required } from '../edge/subjects.ts';

const REPOSITORY = path.resolve(import.meta.dirname, '../../..');
const EDGE_TOKEN = 'edge-token-of-the-benchmark';
const ADMIN_TOKEN = 'admin-token-of-the-benchmark';

export interface Reply {
  status: number;
  body: Record<string, unknown>;
  ms: number;
}

type Ports = Record<'rpc' | 'http' | 'edge' | 'ng' | 'esl' | 'node', number>;

/**
 * A database of its own, a Kamailio and a control process that are started and killed as the benchmark wants.
 */
export class Subjects {
  readonly database: TestDatabase;
  readonly sipPort: number;
  readonly #folder: string;
  readonly #rtpengine: Program;
  readonly #ports: Ports;
  kamailio: Program | undefined;
  control: Program | undefined;

  private constructor(
    database: TestDatabase,
    folder: string,
    rtpengine: Program,
    sipPort: number,
    ports: Ports,
  ) {
    this.database = database;
    this.#folder = folder;
    this.#rtpengine = rtpengine;
    this.sipPort = sipPort;
    this.#ports = ports;
  }

  static async open(): Promise<Subjects> {
    const folder = await mkdtemp(path.join(tmpdir(), 'minivoice-bench-'));
    await mkdir(path.join(folder, 'media'));
    const ports = {
      rpc: await freePort(),
      http: await freePort(),
      edge: await freePort(),
      ng: await freePort(),
      esl: await freePort(),
      node: await freePort(),
    };
    const rtpengine = await Program.start(
      'rtpengine',
      [path.join(REPOSITORY, 'rtpengine/start.sh')],
      {
        RTPENGINE_LISTEN_NG: `127.0.0.1:${ports.ng}`,
        RTPENGINE_INTERFACE: '127.0.0.1',
        RTP_MIN: '42000',
        RTP_MAX: '42998',
      },
      () => probeRtpengine(ports.ng),
    );
    return new Subjects(await createDatabase(), folder, rtpengine, await freePort(), ports);
  }

  async close(): Promise<void> {
    await this.control?.stop();
    await this.kamailio?.stop();
    await this.#rtpengine.stop();
    await this.database.drop();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Answers SIP when this resolves; its tables are empty. */
  async startKamailio(): Promise<void> {
    const { rpc, edge, ng, node } = this.#ports;
    this.kamailio = await Program.start(
      'Kamailio',
      [path.join(REPOSITORY, 'kamailio/start.sh')],
      {
        SIP_IP: '127.0.0.1',
        SIP_PORT: String(this.sipPort),
        RPC_IP: '127.0.0.1',
        RPC_PORT: String(rpc),
        CONTROL_URL: `http://127.0.0.1:${edge}`,
        CONTROL_IPS: '127.0.0.1',
        EDGE_TOKEN,
        RTPENGINE_SOCK: `udp:127.0.0.1:${ng}`,
        MEDIA_NODES: `127.0.0.1:${node}`,
        KAMAILIO_RUN_DIR: this.#folder,
        KAMAILIO_WORKERS: '2',
      },
      () => pingSip(this.sipPort),
    );
  }

  /**
   * Alive when this resolves, ready or not. The media node it is told of is not there: a `webhook` call ends
   * with 503.
   */
  async startControl(): Promise<void> {
    const { rpc, http, edge, ng, esl, node } = this.#ports;
    this.control = await Program.start(
      'control plane',
      [process.execPath, '--import', 'tsx', path.join(REPOSITORY, 'control/main.ts')],
      {
        MINIVOICE_PROFILE: 'development',
        LOG_LEVEL: 'warn',
        HTTP_HOST: '127.0.0.1',
        HTTP_PORT: String(http),
        EDGE_HOST: '127.0.0.1',
        EDGE_PORT: String(edge),
        EDGE_TOKEN,
        ADMIN_TOKEN,
        SECRET_KEY: '0'.repeat(64),
        DATABASE_URL: this.database.url,
        REDIS_URL: required('MINIVOICE_TEST_REDIS_URL'),
        KAMAILIO_RPC_URLS: `http://127.0.0.1:${rpc}/RPC`,
        RTPENGINE_NG: `127.0.0.1:${ng}`,
        FREESWITCH_NODES: `127.0.0.1:${esl}:${node}`,
        FREESWITCH_ESL_PASSWORD: 'not-there-at-all',
        MEDIA_FILES_DIR: path.join(this.#folder, 'media'),
        // What is inserted is older than what is kept by default.
        WEBHOOK_RETENTION_DAYS: '3650',
      },
      async () => {
        if (!(await fetch(`http://127.0.0.1:${http}/healthz`)).ok) throw new Error('not alive');
      },
    );
  }

  /** What the operator's token or an application's key gets. */
  async ask(method: string, target: string, body?: object, key = ADMIN_TOKEN): Promise<Reply> {
    const started = performance.now();
    const response = await fetch(`http://127.0.0.1:${this.#ports.http}${target}`, {
      method,
      headers: { authorization: `Bearer ${key}`, ...(body && { 'content-type': 'application/json' }) },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return {
      status: response.status,
      body: JSON.parse(text || '{}') as Record<string, unknown>,
      ms: performance.now() - started,
    };
  }

  /** @throws Error for a refusal */
  async make(target: string, body: object): Promise<Record<string, unknown>> {
    const reply = await this.ask('POST', target, body);
    if (reply.status >= 300) throw new Error(`POST ${target}: ${reply.status} ${JSON.stringify(reply.body)}`);
    return reply.body;
  }

  /** What /readyz says of Kamailio's tables, undefined while nothing is amiss with them. */
  async edgeProblem(): Promise<string | undefined> {
    const { body } = await this.ask('GET', '/readyz');
    const { details } = (body['error'] ?? {}) as { details?: { path: string; message: string }[] };
    return details?.find((detail) => detail.path === 'kamailio')?.message;
  }

  /** Whether all tables have been compared, and what differed has been pushed. */
  async reconciled(): Promise<boolean> {
    const metrics = await (await fetch(`http://127.0.0.1:${this.#ports.edge}/metrics`)).text();
    return /^minivoice_edge_pieces_due 0$/m.test(metrics) && (await this.edgeProblem()) === undefined;
  }

  /** One JSON-RPC request. @returns undefined where Kamailio refuses it */
  async rpc(method: string, params: (string | number)[] = []): Promise<unknown> {
    const response = await fetch(`http://127.0.0.1:${this.#ports.rpc}/RPC`, {
      method: 'POST',
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
      signal: AbortSignal.timeout(5000),
    });
    return ((await response.json()) as { result?: unknown }).result;
  }

  async held(table: string, key: string): Promise<string | undefined> {
    const item = (await this.rpc('htable.get', [table, key]).catch(() => undefined)) as
      { item: { value: string | number } } | undefined;
    return item && String(item.item.value);
  }

  /** A trunk for every generator. */
  async trunks(): Promise<void> {
    for (const source of SOURCES)
      await this.make('/admin/v1/trunks', { name: source, proxy: source, inbound_ip: source });
  }
}

/** Waits for a condition. @returns the ms it took, or undefined when it took longer than allowed */
export async function until(
  condition: () => Promise<boolean>,
  withinMs: number,
  everyMs = 20,
): Promise<number | undefined> {
  const started = performance.now();
  for (;;) {
    if (await condition().catch(() => false)) return performance.now() - started;
    if (performance.now() - started > withinMs) return undefined;
    await delay(everyMs);
  }
}

/** Resident memory of a process now and at its peak, in MB. */
export async function memoryOf(pid: number): Promise<{ now: number; peak: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const mb = (name: string): number =>
    Math.round(Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024);
  return { now: mb('VmRSS'), peak: mb('VmHWM') };
}

export const say = (text: string): void => void process.stdout.write(`${text}\n`);
export const seconds = (ms: number | undefined, limit: number): string =>
  ms === undefined ? `not in ${limit / 1000} s` : `${(ms / 1000).toFixed(2)} s`;

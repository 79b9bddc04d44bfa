import { spawn, type ChildProcess } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../../..');
const EMBEDDED = join(ROOT, 'freeswitch/embedded/main.ts');
export const PASSWORD = 'test-password';

/**
 * The kinds of media node this machine can run: the embedded one, and a real FreeSWITCH where FREESWITCH_BIN
 * names one.
 */
export const KINDS: ('embedded' | 'freeswitch')[] = process.env.FREESWITCH_BIN
  ? ['embedded', 'freeswitch']
  : ['embedded'];

/** A media node of a test's own, on ports and folders of its own. */
export class TestNode {
  readonly kind: 'embedded' | 'freeswitch';
  readonly host = '127.0.0.1';
  readonly sipPort: number;
  readonly eslPort: number;
  readonly #folder: string;
  #process: ChildProcess | undefined;
  #output = '';

  private constructor(kind: 'embedded' | 'freeswitch', folder: string, ports: { sip: number; esl: number }) {
    this.kind = kind;
    this.#folder = folder;
    this.sipPort = ports.sip;
    this.eslPort = ports.esl;
  }

  static async start(kind: 'embedded' | 'freeswitch'): Promise<TestNode> {
    const folder = await mkdtemp(join(tmpdir(), 'media-node-'));
    const node = new TestNode(kind, folder, { sip: await freePort(), esl: await freePort() });
    await node.run();
    return node;
  }

  get sip(): { host: string; port: number } {
    return { host: this.host, port: this.sipPort };
  }

  address(eslPort = this.eslPort): { name: string; host: string; eslPort: number } {
    return { name: `${this.host}:${this.sipPort}`, host: this.host, eslPort };
  }

  /** Starts the process, and resolves when it speaks SIP and its event socket takes connections. */
  async run(): Promise<void> {
    const [command, args] =
      this.kind === 'embedded' ? [process.execPath, ['--import', 'tsx', EMBEDDED]] : await this.#freeswitch();
    const child = spawn(command, args, {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        FREESWITCH_SIP_IP: this.host,
        FREESWITCH_SIP_PORT: String(this.sipPort),
        FREESWITCH_RTP_START: '30000',
        FREESWITCH_RTP_END: '32999',
        FREESWITCH_ESL_IP: this.host,
        FREESWITCH_ESL_PORT: String(this.eslPort),
        FREESWITCH_ESL_PASSWORD: PASSWORD,
        FREESWITCH_LOG_LEVEL: 'warning',
        LOG_LEVEL: 'warn',
      },
    });
    this.#process = child;
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (text: Buffer) => (this.#output = (this.#output + text.toString()).slice(-4000)));
    while (!(await takesConnections(this.host, this.eslPort)) || !(await speaksSip(this.sip))) {
      if (child.exitCode !== null)
        throw new Error(`the ${this.kind} node ended with ${child.exitCode}: ${this.#output}`);
      await new Promise((done) => setTimeout(done, 25));
    }
  }

  /** Kills the process without a chance to say anything. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  /** Stops the process where it is: its sockets stay open, and nobody is behind them. */
  freeze(): void {
    this.#process?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#process?.kill('SIGCONT');
  }

  async close(): Promise<void> {
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #freeswitch(): Promise<[string, string[]]> {
    const binary = process.env.FREESWITCH_BIN ?? '';
    const own = (name: string): string => join(this.#folder, name);
    const unused = ['scripts', 'htdocs', 'grammar', 'certs', 'sounds', 'storage', 'cache', 'recordings'];
    for (const name of ['log', 'run', 'db', 'temp', 'unused']) await mkdir(own(name), { recursive: true });
    return [
      binary,
      [
        '-nf',
        '-nc',
        '-nonat',
        '-conf',
        join(ROOT, 'freeswitch/conf'),
        '-mod',
        join(dirname(binary), '../lib/freeswitch/mod'),
        '-log',
        own('log'),
        '-run',
        own('run'),
        '-db',
        own('db'),
        '-temp',
        own('temp'),
        ...unused.flatMap((name) => [`-${name}`, own('unused')]),
      ],
    ];
  }
}

/**
 * Between the event socket client and a node: the connection can be cut, and kept cut, while the node lives
 * on.
 */
export class EslProxy {
  readonly port: number;
  readonly #server: ReturnType<typeof createServer>;
  readonly #sockets = new Set<Socket>();
  #open = true;

  private constructor(server: ReturnType<typeof createServer>, target: { host: string; port: number }) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (near) => {
      if (!this.#open) return near.destroy();
      const far = connect(target);
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(one);
        one.pipe(other);
        one.on('error', () => other.destroy());
        one.on('close', () => {
          this.#sockets.delete(one);
          other.destroy();
        });
      }
    });
  }

  static async to(node: TestNode): Promise<EslProxy> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new EslProxy(server, { host: node.host, port: node.eslPort });
  }

  cut(): void {
    this.#open = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#open = true;
  }

  close(): void {
    this.cut();
    this.#server.close();
  }
}

/** A port that is free for UDP and TCP, below those that the system hands out by itself. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 12_000 + Math.floor(Math.random() * 18_000);
    const socket = createSocket('udp4');
    const server = createServer();
    try {
      await Promise.all([
        once(socket.bind(port, '127.0.0.1'), 'listening'),
        once(server.listen(port, '127.0.0.1'), 'listening'),
      ]);
      return port;
    } catch {
      // Somebody has it: another one.
    } finally {
      await Promise.allSettled([
        new Promise<void>((done) => socket.close(done)),
        new Promise((done) => server.close(done)),
      ]);
    }
  }
}

/** Whether there is an answer to OPTIONS. */
async function speaksSip({ host, port }: { host: string; port: number }): Promise<boolean> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const own = `127.0.0.1:${socket.address().port}`;
  socket.send(
    [
      `OPTIONS sip:${host}:${port} SIP/2.0`,
      `Via: SIP/2.0/UDP ${own};branch=z9hG4bK${Date.now()}`,
      `From: <sip:${own}>;tag=1`,
      `To: <sip:${host}:${port}>`,
      `Call-ID: ${Date.now()}@${own}`,
      'CSeq: 1 OPTIONS',
      'Max-Forwards: 70',
      'Content-Length: 0',
      '',
      '',
    ].join('\r\n'),
    port,
    host,
  );
  const answered = await Promise.race([
    once(socket, 'message').then(() => true),
    new Promise<boolean>((done) => setTimeout(done, 200, false)),
  ]);
  socket.close();
  return answered;
}

function takesConnections(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

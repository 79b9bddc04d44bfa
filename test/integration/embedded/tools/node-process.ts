import { spawn, type ChildProcess } from 'node:child_process';
import net from 'node:net';
import { fileURLToPath } from 'node:url';
import dgram from 'node:dgram';

const MAIN = fileURLToPath(new URL('../../../../freeswitch/embedded/main.ts', import.meta.url));

export const PASSWORD = 'a test password';

/** A port that is free for TCP and UDP just now. */
export async function freePort(): Promise<number> {
  for (;;) {
    const server = net.createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = address && typeof address === 'object' ? address.port : 0;
    const udp = dgram.createSocket('udp4');
    const free = await new Promise<boolean>((resolve) => {
      udp.once('error', () => resolve(false));
      udp.bind(port, '127.0.0.1', () => resolve(true));
    });
    udp.close();
    await new Promise((resolve) => server.close(resolve));
    if (free) return port;
  }
}

/** The embedded media node as a process of its own. */
export class NodeProcess {
  readonly sipPort: number;
  readonly eslPort: number;
  readonly #child: ChildProcess;
  #log = '';

  static async start(env: Record<string, string> = {}): Promise<NodeProcess> {
    const [sip, esl] = [await freePort(), await freePort()];
    const rtp = 20_000 + 2 * Math.floor(Math.random() * 15_000);
    const child = spawn(process.execPath, ['--import', 'tsx', MAIN], {
      env: {
        PATH: process.env.PATH,
        FREESWITCH_SIP_IP: '127.0.0.1',
        FREESWITCH_SIP_PORT: String(sip),
        FREESWITCH_ESL_IP: '127.0.0.1',
        FREESWITCH_ESL_PORT: String(esl),
        FREESWITCH_ESL_PASSWORD: PASSWORD,
        FREESWITCH_RTP_START: String(rtp),
        FREESWITCH_RTP_END: String(rtp + 199),
        LOG_LEVEL: 'info',
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const node = new NodeProcess(child, sip, esl);
    await node.#up();
    return node;
  }

  private constructor(child: ChildProcess, sipPort: number, eslPort: number) {
    this.#child = child;
    this.sipPort = sipPort;
    this.eslPort = eslPort;
    child.stdout?.on('data', (chunk: Buffer) => (this.#log += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (this.#log += chunk.toString()));
  }

  get log(): string {
    return this.#log;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  #up(): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (this.#log.includes('media node is up')) resolve();
      };
      this.#child.stdout?.on('data', look);
      this.#child.once('exit', (code) => reject(new Error(`the node ended with ${code}: ${this.#log}`)));
    });
  }

  /** Ends the process as an operator would. @returns its exit code */
  async stop(): Promise<number | null> {
    if (!this.running) return this.#child.exitCode;
    const ended = new Promise<number | null>((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGTERM');
    const kill = setTimeout(() => this.#child.kill('SIGKILL'), 8_000);
    const code = await ended;
    clearTimeout(kill);
    return code;
  }
}

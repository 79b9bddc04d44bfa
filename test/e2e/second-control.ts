import { spawn, type ChildProcess } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Settings } from '../../cli/settings.ts';
import { control } from '../../cli/supervisor/parts.ts';
import { api, instance, until, type Json } from './platform.ts';

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/**
 * A control process beside the instance's own: the same database, Redis, Kamailio and media nodes, an address
 * of its own.
 */
export class SecondControl {
  readonly number: number;
  readonly base: string;
  readonly #child: ChildProcess;
  readonly #gone: Promise<unknown>;

  private constructor(number: number, base: string, child: ChildProcess) {
    this.number = number;
    this.base = base;
    this.#child = child;
    this.#gone = new Promise((resolve) => child.once('exit', resolve));
  }

  /** Returns when it is ready. @param more of its environment than that of the instance's own */
  static async start(number = 1, more: Record<string, string> = {}): Promise<SecondControl> {
    const settings = JSON.parse(await readFile(instance.home.config, 'utf8')) as Settings;
    const { command: [program = '', ...args] = [], env } = control(settings);
    const [http, edge] = [await freePort(), await freePort()];
    const child = spawn(program, args, {
      env: {
        PATH: process.env.PATH,
        ...env,
        INSTANCE_ID: String(number),
        HTTP_PORT: String(http),
        EDGE_PORT: String(edge),
        ...more,
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    child.stdout.pipe(createWriteStream(join(instance.home.logs, `control-${number}.log`), { flags: 'a' }));
    const second = new SecondControl(number, `http://127.0.0.1:${http}`, child);
    await second.ready();
    return second;
  }

  async ready(): Promise<void> {
    await until(
      async () => {
        if (this.#child.exitCode !== null)
          throw new Error(`control process ${this.number} ended with ${this.#child.exitCode}`);
        return (await fetch(`${this.base}/readyz`).catch(() => undefined))?.status === 200;
      },
      `control process ${this.number} to be ready`,
      30_000,
    );
  }

  /** A request to its API. */
  api(method: string, path: string, body?: unknown, key?: string): ReturnType<typeof api> {
    return api(method, path, body, key, this.base);
  }

  /** The same, and anything but success is an error of the test. */
  async done(method: string, path: string, body?: unknown, key?: string): Promise<Json> {
    const reply = await this.api(method, path, body, key);
    if (reply.status > 299)
      throw new Error(
        `${method} ${path} of control process ${this.number}: ${reply.status} ${JSON.stringify(reply.body)}`,
      );
    return reply.body;
  }

  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    this.#child.kill(signal);
    await this.#gone;
  }
}

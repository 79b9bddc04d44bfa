import { rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import path from 'node:path';
import { Failure } from '../failure.ts';
import { writePrivate, type Home } from '../home.ts';
import { refOf } from '../processes.ts';
import { coordinatesOf, type Settings } from '../settings.ts';
import { Component } from './component.ts';
import { partsOf } from './parts.ts';
import type { Reply, Request, Status, SupervisorState } from './protocol.ts';
import { RotatingLog } from './rotating-log.ts';

/**
 * Starts the parts of one instance in order, keeps them running, tells about them, and stops them in the
 * opposite order.
 */
export class Supervisor {
  readonly #home: Home;
  readonly #settings: Settings;
  readonly #components: Component[];
  readonly #logs: RotatingLog[] = [];
  readonly #exit: () => void;
  #state: SupervisorState = 'starting';
  #failure: Failure | undefined;
  #server: Server | undefined;
  #ending: Promise<void> | undefined;
  #writing: Promise<void> = Promise.resolve();

  /** @param exit is called when everything is stopped and nobody listens any more. */
  constructor(home: Home, settings: Settings, exit: () => void) {
    this.#home = home;
    this.#settings = settings;
    this.#exit = exit;
    this.#components = partsOf(settings).map((spec) => {
      const log = new RotatingLog(path.join(home.logs, `${spec.name.replaceAll(/[^\w.@-]/g, '-')}.log`));
      this.#logs.push(log);
      return new Component(spec, log, () => void this.#record());
    });
  }

  async run(): Promise<void> {
    await this.#listen();
    await this.#record();
    try {
      for (const component of this.#components) {
        if (this.#ending) return;
        await component.start();
      }
      if (this.#state === 'starting') this.#state = 'up';
    } catch (error) {
      if (this.#ending) return;
      this.#failure = error instanceof Failure ? error : new Failure((error as Error).message);
      console.error(`${new Date().toISOString()} ${this.#failure.message}`);
      await this.#stopParts();
      this.#state = 'failed';
      // Stays until the `up` that waits has read why, or is gone.
      setTimeout(() => void this.end(), 10_000);
    }
  }

  /** Stops everything, then calls exit. Idempotent. */
  end(): Promise<void> {
    this.#ending ??= (async () => {
      if (this.#state !== 'failed') this.#state = 'stopping';
      await this.#stopParts();
      await this.#writing;
      await rm(this.#home.processes, { force: true });
      await rm(this.#home.config, { force: true });
      for (const log of this.#logs) log.close();
      this.#server?.close();
      this.#exit();
    })();
    return this.#ending;
  }

  async #stopParts(): Promise<void> {
    for (const component of this.#components.toReversed()) await component.stop();
  }

  #status(): Status {
    return {
      state: this.#state,
      pid: process.pid,
      coordinates: coordinatesOf(this.#settings),
      components: this.#components.map((component) => component.status()),
      ...(this.#failure
        ? {
            failure: {
              sentence: this.#failure.message,
              ...(this.#failure.log ? { log: this.#failure.log } : {}),
            },
          }
        : {}),
    };
  }

  /** Writes down who runs, one write at a time and the newest state last. */
  #record(): Promise<void> {
    this.#writing = this.#writing
      .then(async () => {
        const parts = this.#components
          .map((component) => component.process)
          .filter((ref) => ref !== undefined);
        await writePrivate(
          this.#home.processes,
          JSON.stringify({ supervisor: await refOf(process.pid), parts }),
        );
      })
      .catch((error: Error) => console.error(error.message));
    return this.#writing;
  }

  async #listen(): Promise<void> {
    await this.#takeLock();
    // We hold the lock: what lies there was left by one that was killed.
    await rm(this.#home.socket, { force: true });
    const server = createServer((socket) => {
      let received = '';
      socket.setEncoding('utf8').on('data', (text: string) => {
        received += text;
        if (!received.includes('\n')) return;
        void this.#answer(received).then((reply) => socket.end(JSON.stringify(reply)));
      });
      socket.on('error', () => undefined);
    });
    this.#server = server;
    await new Promise<void>((resolve, reject) =>
      server.once('error', reject).listen(this.#home.socket, resolve),
    );
  }

  /**
   * A name in the abstract namespace (unix(7)) belongs to one process, and goes with it however it ends.
   * @throws Error when taken.
   */
  #takeLock(): Promise<void> {
    const lock = createServer((socket) => socket.destroy());
    lock.unref();
    return new Promise((resolve, reject) => {
      lock.once('error', () => reject(new Error('another supervisor has this home')));
      lock.listen(`\0minivoice:${this.#home.root}`, resolve);
    });
  }

  async #answer(line: string): Promise<Reply> {
    try {
      const request = JSON.parse(line) as Request;
      if (request.do === 'down') await this.#stopFully();
      if (request.do === 'stop' || request.do === 'start') {
        const component = this.#components.find((one) => one.spec.name === request.part);
        if (!component) return { ok: false, error: `there is no part ${request.part}` };
        await component[request.do]();
      }
      if (this.#state === 'failed') setTimeout(() => void this.end(), 1000);
      return { ok: true, status: this.#status() };
    } catch (error) {
      return { ok: false, error: (error as Error).message };
    }
  }

  /** Everything but the exit, which would cut the answer off. */
  async #stopFully(): Promise<void> {
    this.#state = 'stopping';
    await this.#stopParts();
    setImmediate(() => void this.end());
  }
}

import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { lastLines } from './exec.ts';
import { Failure } from './failure.ts';
import { homeAt, makeFolders, NODE, REPOSITORY, writePrivate, type Home } from './home.ts';
import { assertFree, type Ports } from './ports.ts';
import { endProcess, isAlive, type ProcessRef } from './processes.ts';
import type { Settings } from './settings.ts';
import { ask, type Request, type Status } from './supervisor/protocol.ts';

/** What each part needs of the ports, for instances of some parts only. */
const PORTS_OF: Record<string, (keyof Ports)[]> = {
  database: ['database'],
  redis: ['redis'],
  rtpengine: ['rtpengine'],
  media: ['mediaSip', 'mediaEsl'],
  kamailio: ['sip', 'rpc'],
  control: ['api', 'edge'],
};

/** One instance, seen from outside: whoever knows its home can ask and command its supervisor. */
export class Instance {
  readonly home: Home;

  constructor(home: Home) {
    this.home = home;
  }

  static at(folder: string): Instance {
    return new Instance(homeAt(folder));
  }

  /** @returns undefined where no supervisor runs. */
  async status(): Promise<Status | undefined> {
    const reply = await ask(this.home.socket, { do: 'status' }).catch(() => undefined);
    return reply?.ok ? reply.status : undefined;
  }

  /** Stops one part and keeps it stopped, until `start`. */
  async stop(part: string): Promise<Status> {
    return this.#command({ do: 'stop', part });
  }

  /** Starts a part that was stopped; returns when it answers. */
  async start(part: string): Promise<Status> {
    return this.#command({ do: 'start', part });
  }

  async #command(request: Request): Promise<Status> {
    const reply = await ask(this.home.socket, request, 120_000);
    if (!reply.ok) throw new Failure(reply.error);
    return reply.status;
  }

  /**
   * Starts the supervisor in the background, unless one runs. Follow it with `whenReady`.
   * @returns false when it ran already. @throws Failure for a taken port.
   */
  async launch(settings: Settings): Promise<boolean> {
    let running = await this.status();
    // One that failed or is being stopped is gone in a moment.
    while (running && running.state !== 'up' && running.state !== 'starting') {
      await sleep(50);
      running = await this.status();
    }
    if (running) return false;
    await makeFolders(this.home);
    await this.#endLeftovers();
    const media = 'nodes' in settings.media;
    await assertFree(
      settings.ports,
      settings.parts.filter((part) => !(media && part === 'media')).flatMap((part) => PORTS_OF[part] ?? []),
    );
    await writePrivate(this.home.config, JSON.stringify(settings, null, 2));
    const log = openSync(path.join(this.home.logs, 'supervisor.log'), 'a', 0o600);
    const [node, ...options] = NODE;
    const child = spawn(node, [...options, path.join(REPOSITORY, 'cli/supervisor/main.ts'), this.home.root], {
      cwd: '/',
      detached: true,
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    let ended = false;
    child.on('exit', () => (ended = true));
    child.unref();
    let patience = 100;
    while (!(await this.status())) {
      // It also ends when another `up` was quicker: then the other one answers in a moment.
      if (ended && patience-- === 0)
        throw new Failure(
          'The supervisor ended at once.',
          lastLines(await readFile(path.join(this.home.logs, 'supervisor.log'), 'utf8'), 15),
        );
      await sleep(20);
    }
    return !ended;
  }

  /**
   * Returns when everything is up.
   * @throws Failure with the sentence and last log lines of the part that is not.
   */
  async whenReady(): Promise<Status> {
    for (;;) {
      const status = await this.status();
      if (!status) throw new Failure('The supervisor ended before everything was up.');
      this.throwIfFailed(status);
      if (status.state === 'up') return status;
      await sleep(50);
    }
  }

  throwIfFailed(status: Status): void {
    if (status.state === 'failed')
      throw new Failure(status.failure?.sentence ?? 'A part did not come up.', status.failure?.log);
    if (status.state === 'stopping') throw new Failure('It is being stopped.');
  }

  /** Stops everything, what a killed supervisor left included. @returns false when nothing ran. */
  async down(): Promise<boolean> {
    const reply = await ask(this.home.socket, { do: 'down' }, 120_000).catch(() => undefined);
    // Whatever it answered: what was written down must be gone before this returns.
    const left = await this.#endLeftovers(reply ? 10_000 : 0);
    return reply !== undefined || left;
  }

  /** @param patienceMs how long a supervisor that was asked to end may take. */
  async #endLeftovers(patienceMs = 0): Promise<boolean> {
    const text = await readFile(this.home.processes, 'utf8').catch(() => undefined);
    if (text === undefined) return false;
    const { supervisor, parts } = JSON.parse(text) as { supervisor?: ProcessRef; parts: ProcessRef[] };
    const until = Date.now() + patienceMs;
    while (supervisor && Date.now() < until && (await isAlive(supervisor))) await sleep(20);
    let found = false;
    // The supervisor first, or it would start its parts again.
    for (const ref of [...(supervisor ? [supervisor] : []), ...parts.toReversed()]) {
      if (!(await isAlive(ref))) continue;
      found = true;
      await endProcess(ref, 10_000);
    }
    await rm(this.home.processes, { force: true });
    await rm(this.home.socket, { force: true });
    return found;
  }
}

import { spawn, type ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { which } from '../exec.ts';
import { Failure } from '../failure.ts';
import { askToEnd, killGroup, refOf, type ProcessRef } from '../processes.ts';
import type { PartSpec } from './part-spec.ts';
import type { RotatingLog } from './rotating-log.ts';

export type ComponentState = 'waiting' | 'starting' | 'up' | 'restarting' | 'stopped';

export interface ComponentStatus {
  name: string;
  title: string;
  version: string;
  pid: number | null;
  healthy: boolean;
  state: ComponentState;
  restarts: number;
  /** Why it is not healthy. */
  problem?: string;
}

const CHECK_MS = 2000;
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15_000;
/** A part that ran this long before it ended starts again with the first delay. */
const STEADY_MS = 30_000;
/** What a part sees of our own environment; all else it sees is named in its specification. */
const INHERITED = ['PATH', 'HOME', 'USER', 'LOGNAME', 'TMPDIR', 'LANG', 'NODE_EXTRA_CA_CERTS'];

/** Starts one part, asks after its health, and starts it again with growing delays when it ends by itself. */
export class Component {
  readonly spec: PartSpec;
  readonly #log: RotatingLog;
  readonly #changed: () => void;
  #child: ChildProcess | undefined;
  #ref: ProcessRef | undefined;
  #wanted = false;
  #state: ComponentState = 'waiting';
  #version = '';
  #healthy = false;
  #problem: string | undefined;
  #restarts = 0;
  #delay = FIRST_DELAY_MS;
  #startedAt = 0;
  /** Aborted by stop(): ends the watching and a pending restart. */
  #ending = new AbortController();

  /** @param changed is called whenever the process behind it has changed. */
  constructor(spec: PartSpec, log: RotatingLog, changed: () => void) {
    this.spec = spec;
    this.#log = log;
    this.#changed = changed;
  }

  get process(): ProcessRef | undefined {
    return this.#ref;
  }

  status(): ComponentStatus {
    return {
      name: this.spec.name,
      title: this.spec.title,
      version: this.#version,
      pid: this.#ref?.pid ?? null,
      healthy: this.#healthy,
      state: this.#state,
      restarts: this.#restarts,
      ...(this.#problem && !this.#healthy ? { problem: this.#problem } : {}),
    };
  }

  tail(lines: number): string {
    return this.#log.tail(lines);
  }

  /**
   * Returns when it answers.
   * @throws Failure when it ends first, or does not answer in time; it is then stopped.
   */
  async start(): Promise<void> {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#ending = new AbortController();
    this.#delay = FIRST_DELAY_MS;
    const { signal } = this.#ending;
    try {
      this.#state = 'starting';
      await this.#launch(signal);
      let until = Date.now() + this.spec.readyWithinMs;
      let progress: string | undefined;
      while (!(await this.#check())) {
        if (signal.aborted) throw new Failure(`${this.spec.title} was stopped before it was ready.`);
        if (this.spec.command && !this.#child)
          throw new Failure(
            `${this.spec.title} did not start: ${this.#problem ?? 'it ended'}.`,
            this.tail(15),
          );
        const now = this.spec.progress?.exec(this.#problem ?? '')?.[0];
        if (now !== undefined && now !== progress) until = Date.now() + this.spec.readyWithinMs;
        progress = now ?? progress;
        if (Date.now() > until)
          throw new Failure(
            `${this.spec.title} was not ready after ${this.spec.readyWithinMs / 1000} s: ${this.#problem ?? 'no answer'}.`,
            this.tail(15),
          );
        await sleep(50, undefined, { signal }).catch(() => undefined);
      }
    } catch (error) {
      const failure =
        error instanceof Failure
          ? error
          : new Failure(`${this.spec.title} did not start: ${(error as Error).message}.`, this.tail(15));
      await this.stop();
      throw failure;
    }
    void this.#watch(signal);
  }

  /** Ends it and everything it started; returns when it is gone. */
  async stop(): Promise<void> {
    this.#wanted = false;
    this.#ending.abort();
    const child = this.#child;
    if (child?.pid !== undefined) {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      askToEnd(child.pid);
      const late = setTimeout(() => child.pid !== undefined && killGroup(child.pid), this.spec.stopWithinMs);
      await gone;
      clearTimeout(late);
    }
    this.#state = 'stopped';
    this.#healthy = false;
    this.#problem = undefined;
  }

  async #launch(signal: AbortSignal): Promise<void> {
    await this.spec.prepare?.();
    if (!this.spec.command) return;
    const inherited = Object.fromEntries(INHERITED.map((name) => [name, process.env[name]]));
    const [program = '', ...args] = this.spec.command;
    const file = await which(program);
    if (!file) throw new Failure(`${program} is not there or cannot be run.`);
    const setpriv = await which('setpriv');
    if (signal.aborted) return;
    // setpriv has the kernel end the part when the supervisor is killed; a group of its own lets us end what
    // it leaves.
    const command = setpriv ? [setpriv, '--pdeathsig', 'TERM', '--', file, ...args] : [file, ...args];
    const child = spawn(command[0] ?? '', command.slice(1), {
      env: { ...inherited, ...this.spec.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      cwd: '/',
    });
    this.#child = child;
    this.#startedAt = Date.now();
    child.stdout.setEncoding('utf8').on('data', (text: string) => this.#log.write(text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => this.#log.write(text));
    child.on('error', (error) => {
      this.#problem = error.message;
      this.#ended(child, error.message);
    });
    child.on('exit', (code, signal) =>
      this.#ended(child, signal ? `ended by ${signal}` : `ended with code ${code}`),
    );
    if (child.pid !== undefined) this.#ref = await refOf(child.pid);
    this.#changed();
  }

  #ended(child: ChildProcess, how: string): void {
    if (this.#child !== child) return;
    // Workers whose first process was killed would keep its ports.
    if (child.pid !== undefined) killGroup(child.pid);
    this.#child = undefined;
    this.#ref = undefined;
    this.#healthy = false;
    this.#problem = how;
    this.#log.write(`[supervisor] ${this.spec.name} ${how}\n`);
    if (this.#wanted && this.#state !== 'starting') void this.#again(this.#ending.signal);
    this.#changed();
  }

  async #again(signal: AbortSignal): Promise<void> {
    this.#state = 'restarting';
    if (Date.now() - this.#startedAt > STEADY_MS) this.#delay = FIRST_DELAY_MS;
    const delay = this.#delay;
    this.#delay = Math.min(delay * 2, LONGEST_DELAY_MS);
    await sleep(delay, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    this.#restarts++;
    try {
      await this.#launch(signal);
    } catch (error) {
      this.#problem = (error as Error).message;
      this.#log.write(`[supervisor] ${this.spec.name} could not be started: ${this.#problem}\n`);
      if (!signal.aborted) void this.#again(signal);
      return;
    }
    const child = this.#child;
    while (!signal.aborted && this.#child === child && !(await this.#check()))
      await sleep(100, undefined, { signal }).catch(() => undefined);
  }

  /** Asks once. A part that answers is up, whatever it was before. */
  async #check(): Promise<boolean> {
    const asked = this.#child;
    if (this.spec.command && !asked) return false;
    try {
      const version = await this.spec.probe();
      if (this.#child !== asked || !this.#wanted) return false;
      this.#version = version || this.#version;
      this.#healthy = true;
      this.#problem = undefined;
      this.#state = 'up';
    } catch (error) {
      if (this.#child !== asked) return false;
      this.#healthy = false;
      this.#problem = (error as Error).message || String(error);
    }
    return this.#healthy;
  }

  async #watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(this.#healthy ? CHECK_MS : 200, undefined, { signal, ref: false }).catch(() => undefined);
      if (!signal.aborted) await this.#check();
    }
  }
}

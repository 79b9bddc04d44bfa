import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import path from 'node:path';

/** A child of the benchmark that speaks IPC; its first message says that it is ready. */
export class Child {
  readonly #child: ChildProcess;
  readonly #first: Promise<unknown>;

  constructor(script: string, env: Record<string, string> = {}) {
    this.#child = fork(path.join(import.meta.dirname, script), [], {
      execArgv: ['--import', 'tsx'],
      env: { ...process.env, ...env },
      serialization: 'advanced',
    });
    this.#first = this.next();
  }

  ready<T>(): Promise<T> {
    return this.#first as Promise<T>;
  }

  send(message: object): void {
    this.#child.send(message);
  }

  async next<T>(): Promise<T> {
    const [message] = (await once(this.#child, 'message')) as [T];
    return message;
  }

  async ask<T>(message: object): Promise<T> {
    const answer = this.next<T>();
    this.send(message);
    return answer;
  }

  /** User and system time so far, in seconds. */
  async cpu(): Promise<number> {
    const stat = await readFile(`/proc/${this.#child.pid ?? 0}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill(signal);
    await gone;
  }
}

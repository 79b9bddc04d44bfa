import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

/** /proc counts CPU time in these. */
const TICK_US = 10_000;

/** A program under measurement, with all processes it has started. */
export class Program {
  readonly name: string;
  readonly #child: ChildProcess;
  #log = '';

  private constructor(name: string, child: ChildProcess) {
    this.name = name;
    this.#child = child;
    const keep = (chunk: Buffer): void => void (this.#log = (this.#log + chunk.toString()).slice(-20_000));
    child.stdout?.on('data', keep);
    child.stderr?.on('data', keep);
    process.once('exit', () => this.#kill('SIGKILL'));
  }

  /**
   * Resolves when `probe` succeeds.
   * @throws Error with what the program said when it does not within 60 s.
   */
  static async start(
    name: string,
    command: readonly string[],
    env: Record<string, string>,
    probe: () => Promise<unknown>,
  ): Promise<Program> {
    const [file = '', ...args] = command;
    const program = new Program(
      name,
      spawn(file, args, {
        env: { ...process.env, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
        detached: true,
      }),
    );
    const deadline = Date.now() + 60_000;
    for (;;) {
      if (
        await probe().then(
          () => true,
          () => false,
        )
      )
        return program;
      if (program.#child.exitCode !== null || Date.now() > deadline)
        throw new Error(`${name} does not get ready:\n${program.#log}`);
      await delay(100);
    }
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get log(): string {
    return this.#log;
  }

  /** User and system time of all its processes so far, in µs. */
  cpuUs(): Promise<number> {
    return cpuUsOf(this.pid);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'close');
    this.#kill('SIGTERM');
    const late = setTimeout(() => this.#kill('SIGKILL'), 15_000);
    await gone;
    clearTimeout(late);
  }

  #kill(signal: NodeJS.Signals): void {
    if (this.#child.pid && this.#child.exitCode === null && this.#child.signalCode === null)
      process.kill(-this.#child.pid, signal);
  }
}

/** User and system time of a process and of all it has started, so far, in µs. */
export async function cpuUsOf(pid: number): Promise<number> {
  const parents = new Map<number, number>();
  const ticks = new Map<number, number>();
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const stat = await readFile(`/proc/${entry}/stat`, 'latin1').catch(() => '');
    // The name, in parentheses, may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    parents.set(Number(entry), Number(fields[1]));
    ticks.set(Number(entry), Number(fields[11]) + Number(fields[12]));
  }
  const belongs = (one: number | undefined): boolean =>
    one === pid || (one !== undefined && one > 1 && belongs(parents.get(one)));
  return [...ticks].filter(([one]) => belongs(one)).reduce((sum, [, used]) => sum + used, 0) * TICK_US;
}

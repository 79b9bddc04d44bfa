import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** Where SIPp calls from, and where the carrier is that it plays. */
export const CALLER = '127.0.0.41';
export const CARRIER = '127.0.0.42';

export interface Outcome {
  calls: number;
  failed: number;
  retransmissions: number;
  /** From the INVITE to its answer, in ms, in order. */
  latencies: number[];
  seconds: number;
}

/** Calls that come in, at an even rate; resolves when all are over. */
export async function callIn(load: {
  port: number;
  number: string;
  calls: number;
  rate: number;
}): Promise<Outcome> {
  const folder = await mkdtemp(path.join(tmpdir(), 'minivoice-calls-'));
  try {
    const template = await readFile(path.join(import.meta.dirname, 'caller.xml'), 'utf8');
    await writeFile(path.join(folder, 'caller.xml'), template.replaceAll('NUMBER', load.number));
    const from = performance.now();
    const child = start(folder, [
      '-sf',
      'caller.xml',
      `127.0.0.1:${load.port}`,
      '-i',
      CALLER,
      '-r',
      String(load.rate),
      '-m',
      String(load.calls),
      '-l',
      '5000',
      '-recv_timeout',
      '20000',
      '-timeout',
      '240s',
      '-trace_rtt',
      '-rtt_freq',
      '50',
      '-trace_stat',
      '-stf',
      'stat.csv',
      '-fd',
      '2',
    ]);
    const [code] = (await once(child, 'exit')) as [number | null];
    // 1: a call has failed, which the counters tell.
    if (code !== 0 && code !== 1) throw new Error(`sipp ended with ${String(code)}`);
    return { ...(await read(folder)), seconds: (performance.now() - from) / 1000 };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A carrier that answers every call, until it is stopped. */
export class Carrier {
  readonly port: number;
  readonly #child: ChildProcess;
  readonly #folder: string;

  private constructor(port: number, child: ChildProcess, folder: string) {
    this.port = port;
    this.#child = child;
    this.#folder = folder;
  }

  static async start(port: number): Promise<Carrier> {
    const folder = await mkdtemp(path.join(tmpdir(), 'minivoice-carrier-'));
    const child = start(folder, [
      '-sf',
      path.join(import.meta.dirname, 'callee.xml'),
      '-i',
      CARRIER,
      '-p',
      String(port),
      '-trace_stat',
      '-stf',
      'stat.csv',
      '-fd',
      '1',
    ]);
    return new Carrier(port, child, folder);
  }

  /** What it has seen so far; the last second may be missing. */
  async seen(): Promise<Pick<Outcome, 'calls' | 'failed' | 'retransmissions'>> {
    return read(this.#folder);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const gone = once(this.#child, 'exit');
      this.#child.kill('SIGKILL');
      await gone;
    }
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function start(cwd: string, args: string[]): ChildProcess {
  const child = spawn('sipp', [...args, '-nostdin', '-skip_rlimit'], {
    cwd,
    stdio: 'ignore',
    env: { ...process.env, TERM: 'dumb' },
  });
  const follow = (): void => void child.kill('SIGKILL');
  process.once('exit', follow);
  child.once('exit', () => process.off('exit', follow));
  return child;
}

async function read(folder: string): Promise<Omit<Outcome, 'seconds'>> {
  const latencies: number[] = [];
  for (const name of (await readdir(folder)).filter((file) => file.endsWith('_rtt.csv'))) {
    for (const line of (await readFile(path.join(folder, name), 'utf8')).split('\n').slice(1)) {
      const latency = Number(line.split(';')[1]);
      if (line && Number.isFinite(latency)) latencies.push(latency);
    }
  }
  const [head = '', ...rows] = (await readFile(path.join(folder, 'stat.csv'), 'utf8').catch(() => ''))
    .trim()
    .split('\n');
  const last = rows.at(-1)?.split(';') ?? [];
  const column = (name: string): number => Number(last[head.split(';').indexOf(name)] ?? 0);
  return {
    calls: column('TotalCallCreated'),
    failed: column('FailedCall(C)'),
    retransmissions: column('Retransmissions(C)'),
    latencies: latencies.sort((a, b) => a - b),
  };
}

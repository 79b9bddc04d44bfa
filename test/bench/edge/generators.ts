import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** Where the generators call from: each is a trunk of its own. */
export const SOURCES = ['127.0.0.31', '127.0.0.32', '127.0.0.33'];

export interface Load {
  port: number;
  number: string;
  /** The refusal that every call must end with. */
  code: number;
  calls: number;
  /** Calls per second of all generators together. */
  rate: number;
}

export interface Outcome {
  calls: number;
  failed: number;
  retransmissions: number;
  seconds: number;
  /** From the INVITE to its refusal, in ms, in order. */
  latencies: number[];
  /** CPU of the generators, in µs. */
  generatorUs: number;
}

/** Runs all generators at once until every call is over. */
export async function generate(load: Load): Promise<Outcome> {
  const folder = await mkdtemp(path.join(tmpdir(), 'minivoice-bench-'));
  try {
    const template = await readFile(path.join(import.meta.dirname, 'caller.xml'), 'utf8');
    await writeFile(
      path.join(folder, 'caller.xml'),
      template.replaceAll('NUMBER', load.number).replace(/"CODE"/, `"${load.code}"`),
    );
    const cpu = await childrenUs();
    const started = Date.now();
    await Promise.all(SOURCES.map((source) => sipp(folder, source, load)));
    const seconds = (Date.now() - started) / 1000;
    const generatorUs = (await childrenUs()) - cpu;
    const files = await readdir(folder);
    const outcome: Outcome = { calls: 0, failed: 0, retransmissions: 0, seconds, latencies: [], generatorUs };
    for (const file of files.filter((name) => name.endsWith('_rtt.csv'))) {
      for (const line of (await readFile(path.join(folder, file), 'utf8')).split('\n').slice(1)) {
        const latency = Number(line.split(';')[1]);
        if (line && Number.isFinite(latency)) outcome.latencies.push(latency);
      }
    }
    for (const file of files.filter((name) => name.startsWith('stat-'))) {
      const [head = '', ...rows] = (await readFile(path.join(folder, file), 'utf8')).trim().split('\n');
      const last = rows.at(-1)?.split(';') ?? [];
      const column = (name: string): number => Number(last[head.split(';').indexOf(name)] ?? 0);
      outcome.calls += column('TotalCallCreated');
      outcome.failed += column('FailedCall(C)');
      outcome.retransmissions += column('Retransmissions(C)');
    }
    outcome.latencies.sort((a, b) => a - b);
    return outcome;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function sipp(folder: string, source: string, { port, calls, rate }: Load): Promise<void> {
  const share = (total: number): string => String(Math.max(1, Math.round(total / SOURCES.length)));
  const child = spawn(
    'sipp',
    [
      '-sf',
      'caller.xml',
      `127.0.0.1:${port}`,
      '-i',
      source,
      '-p',
      '5060',
      '-r',
      share(rate),
      '-m',
      share(calls),
      '-l',
      '20000',
      '-nostdin',
      '-timeout',
      '120s',
      '-trace_rtt',
      '-rtt_freq',
      '200',
      '-trace_stat',
      '-stf',
      `stat-${source}.csv`,
      '-fd',
      '5',
      '-recv_timeout',
      '20000',
    ],
    { cwd: folder, stdio: 'ignore' },
  );
  const follow = (): void => void child.kill('SIGKILL');
  process.once('exit', follow);
  const [code] = (await once(child, 'exit')) as [number | null];
  process.off('exit', follow);
  // 1: a call has failed, which the counters tell.
  if (code !== 0 && code !== 1) throw new Error(`sipp ended with ${String(code)}`);
}

/** CPU time of ended children of this process, in µs. */
async function childrenUs(): Promise<number> {
  const stat = await readFile('/proc/self/stat', 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) * 10_000;
}

export const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;

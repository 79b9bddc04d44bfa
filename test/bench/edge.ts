import { cpus } from 'node:os';
import { generate, percentile, SOURCES, type Outcome } from './edge/generators.ts';
import type { Program } from './edge/processes.ts';
import { freePort, NUMBERS, startBare, startSubjects } from './edge/subjects.ts';

/**
 * What a call costs at the edge, in CPU, beside a bare Kamailio that answers stateless with the same code, in
 * one run. Each path is measured in turns with the bare one at the same rate, and the medians are compared:
 * the mood of the machine hits both.
 */
const TURNS = 3;
const REFUSALS = { calls: 15_000, rate: 3000 };
const DECISIONS = { calls: 15_000, rate: 1000 };
const CEILING_RATES = [4000, 6000, 8000, 10_000, 12_000, 15_000, 20_000, 30_000];
const TARGETS = { refusal: 1.5, decision: 20, p99Ms: 50 };

const PATHS = [
  {
    name: 'unknown number',
    number: NUMBERS.unknown,
    code: 404,
    reason: 'Not Found',
    ...REFUSALS,
    most: TARGETS.refusal,
  },
  {
    name: 'mode reject',
    number: NUMBERS.reject,
    code: 480,
    reason: 'Temporarily Unavailable',
    ...REFUSALS,
    most: TARGETS.refusal,
  },
  {
    name: 'decision',
    number: NUMBERS.webhook,
    code: 503,
    reason: 'Service Unavailable',
    ...DECISIONS,
    most: TARGETS.decision,
  },
];

interface Cost {
  kamailio: number;
  control: number;
  outcome: Outcome;
}

/** CPU per call of the programs while the generators run. */
async function measure(
  port: number,
  path: { number: string; code: number; calls: number; rate: number },
  kamailio: Program,
  control?: Program,
): Promise<Cost> {
  const before = [await kamailio.cpuUs(), (await control?.cpuUs()) ?? 0] as const;
  const outcome = await generate({ port, ...path });
  // What is written behind the reply belongs to the call, too.
  let used = (await control?.cpuUs()) ?? 0;
  for (let last = -1; control && used - last > 50_000;) {
    last = used;
    await new Promise((resolve) => setTimeout(resolve, 1000));
    used = await control.cpuUs();
  }
  return {
    kamailio: ((await kamailio.cpuUs()) - before[0]) / outcome.calls,
    control: (used - before[1]) / outcome.calls,
    outcome,
  };
}

const median = (values: number[]): number =>
  percentile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
const column = (value: string | number, width: number): string => String(value).padStart(width);
const say = (text: string): void => void process.stdout.write(`${text}\n`);

let missed = 0;
const verdict = (met: boolean): string => {
  if (!met) missed++;
  return met ? 'met' : 'MISSED';
};

const subjects = await startSubjects();
try {
  say(
    `${cpus().length} cores, ${SOURCES.length} SIPp generators, ${TURNS} turns each; CPU in µs per call (user and system time of all processes)\n`,
  );
  say(
    `${'path'.padEnd(16)}${column('rate', 6)}${column('bare', 8)}${column('Kamailio', 10)}${column('control', 9)}${column('ratio', 8)}${column('target', 8)}          p50 ms  p99 ms  failed  repeated`,
  );
  for (const path of PATHS) {
    const barePort = await freePort();
    const bare: Cost[] = [];
    const ours: Cost[] = [];
    const bareKamailio = await startBare(barePort, path.code, path.reason);
    try {
      // The first calls of a process warm its caches and its compiler; they are not counted.
      await generate({ port: subjects.sipPort, ...path, calls: 3000 });
      await generate({ port: barePort, ...path, calls: 3000 });
      for (let turn = 0; turn < TURNS; turn++) {
        bare.push(await measure(barePort, path, bareKamailio));
        ours.push(await measure(subjects.sipPort, path, subjects.kamailio, subjects.control));
      }
    } finally {
      await bareKamailio.stop();
    }
    const base = median(bare.map((cost) => cost.kamailio));
    const kamailio = median(ours.map((cost) => cost.kamailio));
    const control = path.name === 'decision' ? median(ours.map((cost) => cost.control)) : 0;
    const ratio = (kamailio + control) / base;
    const latencies = ours.flatMap((cost) => cost.outcome.latencies).sort((a, b) => a - b);
    const p99 = percentile(latencies, 0.99);
    const failed = ours.reduce((sum, { outcome }) => sum + outcome.failed, 0);
    const met = ratio <= path.most && failed === 0 && (path.name !== 'decision' || p99 < TARGETS.p99Ms);
    say(
      `${path.name.padEnd(16)}${column(path.rate, 6)}${column(base.toFixed(1), 8)}${column(kamailio.toFixed(1), 10)}${column(control ? control.toFixed(1) : '-', 9)}${column(ratio.toFixed(2), 8)}${column(`≤ ${path.most}`, 8)} ${verdict(met).padEnd(8)}${column(percentile(latencies, 0.5).toFixed(1), 7)}${column(p99.toFixed(1), 8)}${column(failed, 8)}${column(
        ours.reduce((sum, { outcome }) => sum + outcome.retransmissions, 0),
        10,
      )}`,
    );
  }
  if ((await subjects.recorded()) === 0) throw new Error('the decisions have created no calls');

  const port = await freePort();
  const bareKamailio = await startBare(port, 404, 'Not Found');
  try {
    let ceiling: Outcome | undefined;
    for (const rate of CEILING_RATES) {
      const outcome = await generate({ port, number: NUMBERS.unknown, code: 404, calls: rate * 2, rate });
      if (outcome.failed > 0 || outcome.retransmissions > outcome.calls / 100) break;
      ceiling = outcome;
    }
    if (!ceiling) throw new Error('the generators cannot even make the smallest rate');
    say(
      `\nThe generators' own ceiling, against the bare Kamailio on the same cores: ${Math.round(ceiling.calls / ceiling.seconds)} calls/s with less than 1 % repeated, at ${(ceiling.generatorUs / ceiling.calls).toFixed(1)} µs of theirs per call.`,
    );
    say('SIPp reads its clock in steps of some milliseconds: a latency is no better known than that.');
  } finally {
    await bareKamailio.stop();
  }
} finally {
  await subjects.stop();
}
if (missed > 0) process.exitCode = 1;

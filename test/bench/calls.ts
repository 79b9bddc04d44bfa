import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { writeWav } from '../../cli/phone/wav.ts';
import { Carrier, callIn, type Outcome } from './calls/load.ts';
import { DID, Platform, type Reply } from './calls/platform.ts';
import { startStatic, type Static } from './calls/static.ts';
import { percentile } from './edge/generators.ts';
import { cpuUsOf } from './edge/processes.ts';
import { freePort } from './edge/subjects.ts';

/**
 * What an answered call costs: calls that come in and calls that are placed through the API, both answered,
 * played a prompt of 200 ms to, and hung up, beside the same from a static dialplan with nobody deciding
 * anything. In turns, in one run.
 *
 *   ./minivoice bench calls [--rate 20] [--seconds 12] [--turns 3] [--only inbound]
 *   ./minivoice bench calls --soak 10 [--rate 50]     only calls through the API, for so many minutes
 *
 * The kind of media node is that of `./minivoice up`: MINIVOICE_MEDIA, FREESWITCH_BIN.
 */
const { values: options } = parseArgs({
  options: {
    rate: { type: 'string' },
    seconds: { type: 'string', default: '12' },
    turns: { type: 'string', default: '3' },
    only: { type: 'string' },
    soak: { type: 'string' },
  },
});
const TARGETS = { ratio: 0.6, p99Ms: 100 };
const PARTS = ['kamailio', 'rtpengine', 'media', 'control', 'database', 'redis'] as const;
type Cost = Record<(typeof PARTS)[number], number>;

interface Turn {
  cost: Cost;
  outcome: Outcome;
}

const median = (values: number[]): number =>
  percentile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
const column = (value: string | number, width: number): string => String(value).padStart(width);
const say = (text: string): void => void process.stdout.write(`${text}\n`);
const rate = Number(options.rate ?? (options.soak ? 50 : 20));
const calls = rate * Number(options.seconds);

/**
 * Places calls through the API at an even rate; resolves when all requests are answered and all calls are
 * over.
 */
async function callOut(
  platform: Platform,
  carrier: Carrier,
  count: number,
): Promise<Outcome & { refused: Record<string, number> }> {
  const replies: Promise<Reply | undefined>[] = [];
  const before = await platform.outcomes('outbound');
  const from = performance.now();
  for (let i = 0; i < count; i++) {
    const early = from + (i * 1000) / rate - performance.now();
    if (early > 1) await delay(early);
    replies.push(platform.placeCall().catch(() => undefined));
  }
  const answers = await Promise.all(replies);
  const placed = answers.filter((reply) => reply?.status === 201);
  const refused: Record<string, number> = {};
  for (const reply of answers) {
    if (reply?.status === 201) continue;
    const why = reply
      ? `${reply.status} ${String((reply.body['error'] as { code?: string } | undefined)?.code)}`
      : 'no reply';
    refused[why] = (refused[why] ?? 0) + 1;
  }
  // The last calls end a moment after the last request.
  let completed = 0;
  for (let tries = 0; tries < 30 && completed < placed.length; tries++) {
    await delay(1000);
    completed = ((await platform.outcomes('outbound'))['completed'] ?? 0) - (before['completed'] ?? 0);
  }
  const { retransmissions } = await carrier.seen();
  const latencies = placed.map((reply) => reply?.ms ?? 0).sort((a, b) => a - b);
  return {
    calls: count,
    failed: count - completed,
    retransmissions,
    latencies,
    seconds: (performance.now() - from) / 1000,
    refused,
  };
}

async function measured<T extends Outcome>(
  pids: Partial<Record<keyof Cost, number>>,
  run: () => Promise<T>,
): Promise<{ cost: Cost; outcome: T }> {
  const used = (): Promise<number[]> =>
    Promise.all(PARTS.map(async (part) => (pids[part] ? cpuUsOf(pids[part]) : 0)));
  const [idle, before] = await idleUs(used);
  const from = performance.now();
  const outcome = await run();
  // What is written behind a call belongs to it, too.
  await delay(1000);
  const after = await used();
  const seconds = (performance.now() - from) / 1000;
  const cost = Object.fromEntries(
    PARTS.map((part, i) => [
      part,
      ((after[i] ?? 0) - (before[i] ?? 0) - (idle[i] ?? 0) * seconds) / outcome.calls / 1000,
    ]),
  ) as Cost;
  return { cost, outcome };
}

/** What the programs use when nothing happens, in µs a second, and what they have used by then. */
async function idleUs(used: () => Promise<number[]>): Promise<[number[], number[]]> {
  const [first, from] = [await used(), performance.now()];
  await delay(2000);
  const second = await used();
  return [second.map((us, i) => ((us - (first[i] ?? 0)) * 1000) / (performance.now() - from)), second];
}

function line(name: string, turns: Turn[], base?: number): number {
  const part = (key: keyof Cost): number => median(turns.map(({ cost }) => cost[key]));
  const total = median(turns.map(({ cost }) => PARTS.reduce((sum, key) => sum + cost[key], 0)));
  const latencies = turns.flatMap(({ outcome }) => outcome.latencies).sort((a, b) => a - b);
  const failed = turns.reduce((sum, { outcome }) => sum + outcome.failed, 0);
  const ratio = base === undefined ? undefined : base / total;
  const verdict = ratio === undefined ? '' : ratio >= TARGETS.ratio && failed === 0 ? 'met' : 'MISSED';
  if (verdict === 'MISSED') process.exitCode = 1;
  say(
    `${name.padEnd(10)}${PARTS.map((key) => column(part(key).toFixed(2), 10)).join('')}${column(total.toFixed(2), 9)}${column(ratio?.toFixed(2) ?? '', 7)} ${verdict.padEnd(7)}${column(percentile(latencies, 0.5).toFixed(0), 5)}${column(percentile(latencies, 0.99).toFixed(0), 7)}${column(failed, 8)}`,
  );
  return total;
}

async function compare(platform: Platform, plain: Static, carrier: Carrier): Promise<void> {
  const ours = Object.fromEntries(PARTS.map((part) => [part, platform.pid(part)]));
  const static_ = {
    kamailio: plain.kamailio.pid,
    rtpengine: platform.pid('rtpengine'),
    media: plain.node.pid,
  };
  const paths = {
    static: () => measured(static_, () => callIn({ port: plain.port, number: DID, calls, rate })),
    inbound: () => measured(ours, () => callIn({ port: platform.sipPort, number: DID, calls, rate })),
    outbound: () => measured(ours, () => callOut(platform, carrier, calls)),
  };
  for (const name of ['inbound', 'outbound'] as const)
    if (options.only !== undefined && options.only !== name) delete (paths as Partial<typeof paths>)[name];
  const turns: Record<keyof typeof paths, Turn[]> = { static: [], inbound: [], outbound: [] };
  // The first calls of a process warm its caches and its compiler; they are not counted.
  for (const run of Object.values(paths)) await run();
  for (let turn = 0; turn < Number(options.turns); turn++) {
    for (const [name, run] of Object.entries(paths) as [keyof typeof paths, () => Promise<Turn>][])
      turns[name].push(await run());
  }
  say(
    `${cpus().length} cores, ${platform.status.media.kind} media node, ${calls} calls at ${rate}/s in each of ${options.turns} turns; CPU in ms per call, without what is used when idle\n`,
  );
  say(
    `${''.padEnd(10)}${PARTS.map((part) => column(part, 10)).join('')}${column('all', 9)}${column('ratio', 7)} ${`≥ ${TARGETS.ratio}`.padEnd(7)}${column('p50', 5)}${column('p99 ms', 7)}${column('failed', 8)}`,
  );
  const base = line('static', turns.static);
  for (const name of ['inbound', 'outbound'] as const) if (name in paths) line(name, turns[name], base);
  say(
    '\nThe ratio is how many calls the same CPU carries, beside the static dialplan. Times are from INVITE to 200; of outbound calls, of POST /v1/calls.',
  );
}

async function soak(platform: Platform, carrier: Carrier, minutes: number): Promise<void> {
  await callOut(platform, carrier, rate * 2);
  const before = await platform.outcomes('outbound');
  const outcome = await callOut(platform, carrier, Math.round(rate * 60 * minutes));
  const after = await platform.outcomes('outbound');
  const p99 = percentile(outcome.latencies, 0.99);
  say(
    `${outcome.calls} calls at ${rate}/s in ${(outcome.seconds / 60).toFixed(1)} min on ${cpus().length} cores, ${platform.status.media.kind} media node`,
  );
  say(
    `POST /v1/calls: p50 ${percentile(outcome.latencies, 0.5).toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, longest ${(outcome.latencies.at(-1) ?? NaN).toFixed(1)} ms (target: p99 < ${TARGETS.p99Ms} ms)`,
  );
  say(
    `refused: ${JSON.stringify(outcome.refused)}; ended: ${JSON.stringify(Object.fromEntries(Object.entries(after).map(([name, count]) => [name, count - (before[name] ?? 0)])))}; lost: ${outcome.failed}`,
  );
  if (p99 >= TARGETS.p99Ms || outcome.failed > 0) process.exitCode = 1;
}

const folder = await mkdtemp(path.join(tmpdir(), 'minivoice-calls-'));
let plain: Static | undefined;
let platform: Platform | undefined;
let carrier: Carrier | undefined;
try {
  const prompt = path.join(folder, 'prompt.wav');
  await writeFile(
    prompt,
    writeWav({
      rate: 8000,
      samples: Int16Array.from({ length: 1600 }, (_, i) =>
        Math.round(8000 * Math.sin((2 * Math.PI * 600 * i) / 8000)),
      ),
    }),
  );
  carrier = await Carrier.start(await freePort());
  platform = await Platform.open(prompt, carrier.port);
  // Until Kamailio has heard of the number and the trunks.
  await delay(3000);
  if (options.soak) await soak(platform, carrier, Number(options.soak));
  else {
    plain = await startStatic(platform.status.media.kind, {
      rtpengine: platform.status.rtpengine_ng,
      prompt,
    });
    await compare(platform, plain, carrier);
  }
} finally {
  if (plain?.kamailio.log.includes('ERROR'))
    process.stderr.write(`The static Kamailio says:\n${plain.kamailio.log.slice(-1500)}\n`);
  await plain?.stop();
  await carrier?.stop();
  platform?.close();
  await rm(folder, { recursive: true, force: true });
}

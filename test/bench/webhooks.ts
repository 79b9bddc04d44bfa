import { cpus } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { clear, count, event, openDatabase, put } from './webhooks/outbox.ts';
import { Child } from './webhooks/processes.ts';
import type { ReceiverReport } from './webhooks/receiver.ts';

/**
 * Webhook delivery beside a bare got loop that posts the same bodies to the same receiver, in turns, and what
 * endpoints that hang do to the others. The database and the receiver share the machine's cores with both.
 */
const TURNS = 3;
const EVENTS = 12_000;
const APPLICATIONS = 50;
const ENDPOINTS = { all: 200, hanging: 20 };
const LOAD = { perSecond: 200, seconds: 15 };
const TARGETS = { throughput: 0.4, latency: 1.5 };

const { db, url } = await openDatabase();
const receiver = new Child('receiver.ts');
const base = `http://127.0.0.1:${await receiver.ready<number>()}`;
const bare = new Child('bare.ts');
await bare.ready();
const worker = new Child('worker.ts', { BENCH_DATABASE_URL: url, BENCH_RECEIVER: base });
await worker.ready();

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const sorted = (values: number[]): number[] => [...values].sort((a, b) => a - b);
const quantile = (values: number[], q: number): number =>
  sorted(values)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? NaN;
const median = (values: number[]): number => quantile(values, 0.5);
let missed = 0;
const verdict = (met: boolean): string => {
  if (!met) missed++;
  return met ? 'met' : 'MISSED';
};

/**
 * Delivers so many events that are all due at once; returns the milliseconds until the last one is on record
 * as delivered.
 */
async function deliver(events: number): Promise<{ ms: number; cpu: number }> {
  await clear(db);
  await receiver.ask({});
  await put(
    db,
    Array.from({ length: events }, (_, i) =>
      event(100 + ((i >> 2) % APPLICATIONS), `call_${i >> 2}`, i & 3, 'none'),
    ),
  );
  await db('webhook_deliveries').update({ status: 'pending', next_attempt_at: new Date() });
  const [began, cpu] = [performance.now(), await worker.cpu()];
  worker.send({});
  // Counting costs the database something, so it is left until the receiver has them all.
  for (let arrived = 0; arrived < events;) {
    await delay(50);
    arrived += (await receiver.ask<ReceiverReport>({})).events;
  }
  while ((await count(db, 'delivered')) < events) await delay(10);
  return { ms: performance.now() - began, cpu: (await worker.cpu()) - cpu };
}

async function loop(events: number): Promise<{ ms: number; cpu: number }> {
  const bodies = Array.from({ length: events }, (_, i) => event(0, `call_${i}`, 1).body);
  const cpu = await bare.cpu();
  const ms = await bare.ask<number>({ url: `${base}/100`, bodies, concurrency: 64 });
  return { ms, cpu: (await bare.cpu()) - cpu };
}

/**
 * Events of all endpoints at a steady rate; returns how long the first attempts of those that answer took to
 * arrive.
 */
async function latencies(hanging: number): Promise<number[]> {
  await clear(db);
  receiver.send({ hang: hanging });
  await receiver.ask({});
  const began = performance.now();
  for (let made = 0; made < LOAD.perSecond * LOAD.seconds;) {
    const due = Math.min(
      LOAD.perSecond * LOAD.seconds,
      Math.floor(((performance.now() - began) / 1000) * LOAD.perSecond),
    );
    if (due > made) {
      await put(
        db,
        Array.from({ length: due - made }, (_, i) =>
          event((made + i) % ENDPOINTS.all, `call_${made + i}`, 1),
        ),
      );
      worker.send({});
      made = due;
    }
    await delay(5);
  }
  const others = ((ENDPOINTS.all - hanging) / ENDPOINTS.all) * LOAD.perSecond * LOAD.seconds;
  for (const deadline = Date.now() + 30_000; (await count(db, 'delivered')) < others;) {
    if (Date.now() > deadline) throw new Error('not everything was delivered');
    await delay(50);
  }
  const { latencies: all } = await receiver.ask<ReceiverReport>({});
  // What hung is let go of before the next turn.
  receiver.send({ hang: 0 });
  await clear(db);
  await delay(hanging > 0 ? 11_000 : 0);
  return all;
}

try {
  say(`${cpus().length} cores, ${TURNS} turns each\n`);
  await deliver(2000);
  await loop(2000);
  const ours: { ms: number; cpu: number }[] = [];
  const theirs: { ms: number; cpu: number }[] = [];
  for (let turn = 0; turn < TURNS; turn++) {
    theirs.push(await loop(EVENTS));
    ours.push(await deliver(EVENTS));
  }
  const rate = (runs: { ms: number }[]): number => EVENTS / (median(runs.map(({ ms }) => ms)) / 1000);
  const cpu = (runs: { cpu: number }[]): string =>
    ((median(runs.map((run) => run.cpu)) / EVENTS) * 1e6).toFixed(0);
  const ratio = rate(ours) / rate(theirs);
  say(`throughput, ${EVENTS} events of ${APPLICATIONS} applications`);
  say(`  bare got loop    ${rate(theirs).toFixed(0).padStart(6)}/s   ${cpu(theirs)} µs of its process each`);
  say(
    `  delivery worker  ${rate(ours).toFixed(0).padStart(6)}/s   ${cpu(ours)} µs of its process each, claimed, signed, sent and on record`,
  );
  say(
    `  ratio ${ratio.toFixed(2)}, target ≥ ${TARGETS.throughput}: ${verdict(ratio >= TARGETS.throughput)}\n`,
  );

  const alive: number[][] = [];
  const beside: number[][] = [];
  for (let turn = 0; turn < TURNS; turn++) {
    alive.push(await latencies(0));
    beside.push(await latencies(ENDPOINTS.hanging));
  }
  const p = (turns: number[][], q: number): number => median(turns.map((turn) => quantile(turn, q)));
  say(
    `first attempts, ${ENDPOINTS.all} endpoints, ${LOAD.perSecond} events/s for ${LOAD.seconds} s; ms from the event to its arrival`,
  );
  say(
    `  all answer         p50 ${p(alive, 0.5).toFixed(0).padStart(4)}  p99 ${p(alive, 0.99).toFixed(0).padStart(4)}`,
  );
  say(
    `  ${ENDPOINTS.hanging} of them hang    p50 ${p(beside, 0.5).toFixed(0).padStart(4)}  p99 ${p(beside, 0.99).toFixed(0).padStart(4)}   (of the other ${ENDPOINTS.all - ENDPOINTS.hanging})`,
  );
  const worse = p(beside, 0.99) / p(alive, 0.99);
  say(`  p99 ratio ${worse.toFixed(2)}, target ≤ ${TARGETS.latency}: ${verdict(worse <= TARGETS.latency)}`);
} finally {
  await Promise.all([worker.stop(), bare.stop(), receiver.stop()]);
  await db.destroy();
}
if (missed > 0) process.exitCode = 1;

import { setTimeout as delay } from 'node:timers/promises';
import type { ChaosReport } from './webhooks/chaos-receiver.ts';
import { fasterClock } from './webhooks/clock.ts';
import { count, event, openDatabase, put } from './webhooks/outbox.ts';
import { Child } from './webhooks/processes.ts';

/**
 * Events for a receiver at its worst, delivered by workers that are killed at random: every event must be
 * taken at least once, under one event id, in order of first attempts within its call. The workers' clock
 * runs 600 times as fast, so that an hour in which the receiver is down takes six seconds, and the schedule
 * of retries as much less.
 *
 *   ./minivoice bench webhook-chaos [events]      100,000 when not given
 */
const EVENTS = Number(process.argv[2] ?? 100_000);
const SPEED = 600;
const WORKERS = 3;
const PER_BATCH = 500;
const APPLICATIONS = 20;
/** A worker's claim holds for 3 s of our time: what a killed one held is late by that much. */
const LEASE_MS = 3000 * SPEED;
const KILL_EVERY_MS = [500, 2500] as const;
const HOUR_MS = 3_600_000;

const { db, url } = await openDatabase();
const epoch = Date.now();
const receiver = new Child('chaos-receiver.ts');
const base = `http://127.0.0.1:${await receiver.ready<number>()}`;
const startWorker = (): Child =>
  new Child('worker.ts', {
    BENCH_DATABASE_URL: url,
    BENCH_RECEIVER: base,
    BENCH_LEASE_MS: String(LEASE_MS),
    BENCH_CLOCK: String(SPEED),
    BENCH_EPOCH: String(epoch),
  });
const workers = Array.from({ length: WORKERS }, startWorker);
const say = (text: string): void => void process.stdout.write(`${text}\n`);

let kills = 0;
let over = false;
const killing = (async () => {
  await Promise.all(workers.map((worker) => worker.ready()));
  while (!over) {
    await delay(KILL_EVERY_MS[0] + Math.random() * (KILL_EVERY_MS[1] - KILL_EVERY_MS[0]));
    const victim = Math.floor(Math.random() * WORKERS);
    await workers[victim]?.stop('SIGKILL');
    kills++;
    const successor = startWorker();
    workers[victim] = successor;
    await successor.ready();
  }
})();

let downAt: Date | undefined;
try {
  const began = Date.now();
  for (let made = 0; made < EVENTS; made += PER_BATCH) {
    const now = fasterClock(epoch, SPEED);
    await put(
      db,
      Array.from({ length: Math.min(PER_BATCH, EVENTS - made) }, (_, i) =>
        event(
          Math.floor((made + i) / 4) % APPLICATIONS,
          `call_${Math.floor((made + i) / 4)}`,
          (made + i) % 4,
          'pending',
          now,
        ),
      ),
    );
    if (made >= EVENTS / 4 && !downAt) {
      downAt = now;
      receiver.send({ down: true });
      setTimeout(() => receiver.send({ down: false }), HOUR_MS / SPEED);
    }
    await delay(200);
  }
  say(`${EVENTS} events are written, ${kills} workers killed so far`);
  for (let left = EVENTS; left > 0;) {
    left = await count(db, 'pending');
    const { taken, duplicates } = await receiver.ask<ChaosReport>({});
    say(
      `${((Date.now() - began) / 1000).toFixed(0)} s: ${taken} taken, ${left} left, ${duplicates} taken again, ${kills} kills`,
    );
    if (left > 0) await delay(5000);
  }
  over = true;
  await killing;
  const report = await receiver.ask<ChaosReport>({});
  const delivered = await count(db, 'delivered');
  const [{ most }] = (await db('webhook_deliveries').max({ most: 'attempts' })) as [{ most: number }];
  say(
    `\n${report.requests} requests for ${EVENTS} events; ${kills} workers killed; the receiver was down for an hour of their clock`,
  );
  for (const [how, times] of Object.entries(report.failures)) say(`  ${how}: ${times}`);
  say(
    `taken ${report.taken}, lost ${EVENTS - report.taken}, duplicates ${report.duplicates}, on record as delivered ${delivered}; at most ${most} attempts on record for one`,
  );
  say(
    `attempts under another id or with another body: ${report.changed}; first attempts out of order: ${report.outOfOrder}`,
  );
  if (report.taken !== EVENTS || delivered !== EVENTS || report.changed > 0 || report.outOfOrder > 0)
    process.exitCode = 1;
} finally {
  over = true;
  await Promise.all([...workers, receiver].map((child) => child.stop('SIGKILL')));
  await db.destroy();
}
process.exit();

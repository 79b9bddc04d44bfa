import { setTimeout as delay } from 'node:timers/promises';
import { generate, percentile } from '../edge/generators.ts';
import type { Owner } from './call-rows.ts';
import { BLOCK, insertNumbers, numberAt } from './did-rows.ts';
import { memoryOf, say, seconds, Subjects, until } from './subjects.ts';

const LIMITS = { coldMs: 10_000, warmMs: 2000, patchMs: 1000, p99: 3 };
const PATIENCE_MS = 120_000;
/** Longer than the period at which everything is looked at anew. */
const WATCHED_MS = 40_000;
const PATCHES = 10;
const CALLS = { calls: 3000, rate: 300 };

let missed = 0;
const verdict = (met: boolean): string => {
  if (!met) missed++;
  return met ? 'met' : 'MISSED';
};
const line = (name: string, value: string, rest = ''): void =>
  say(`  ${name.padEnd(46)} ${value.padStart(14)}  ${rest}`);

/**
 * What so many numbers cost: to start, to start again, to change one, to take calls meanwhile.
 * @returns how many limits were missed
 */
export async function growthOfNumbers(totals: readonly number[]): Promise<number> {
  const subjects = await Subjects.open();
  try {
    await subjects.startKamailio();
    await subjects.startControl();
    const owners = [await customer(subjects, 'First'), await customer(subjects, 'Second')] as const;
    await subjects.trunks();
    for (const total of totals) await measure(subjects, owners, total);
    return missed;
  } finally {
    await subjects.close();
  }
}

async function customer(subjects: Subjects, name: string): Promise<Owner> {
  const id = String(
    (await subjects.make('/admin/v1/customers', { name, limits: { cps: 10_000, concurrent_calls: 10_000 } }))[
      'id'
    ],
  );
  const application = await subjects.make(`/admin/v1/customers/${id}/applications`, {
    name,
    answer_url: 'http://127.0.0.1:8099/answer',
  });
  return { customer: id, application: String(application['id']) };
}

async function measure(subjects: Subjects, owners: readonly [Owner, Owner], total: number): Promise<void> {
  say(`\nNumbers: ${total.toLocaleString('en')} (70 % webhook, 15 % sip, 15 % reject)`);
  await subjects.control?.stop();
  await subjects.kamailio?.stop();
  await insertNumbers(subjects.database.db, owners, total);
  await cold(subjects, total);
  await memory(subjects);
  if (await settles(subjects, total)) await watched(subjects);
  await patches(subjects, total, 'PATCH, at rest: effective');
  const rest = await calls(subjects, total, 'calls, at rest');
  await pushed(subjects, owners[1], total, rest);
  await settles(subjects, total);
  await warm(subjects, total, rest);
  await settles(subjects, total);
  await refilled(subjects, total);
}

/** Both killed. From the start of the control process to when all is there. */
async function cold(subjects: Subjects, total: number): Promise<void> {
  await subjects.startKamailio();
  const started = performance.now();
  const since = (ms: number | undefined, before: number): number | undefined =>
    ms === undefined ? undefined : ms + before;
  const first = numberAt(14 + 3);
  const served = until(
    async () =>
      (await subjects.held('dids', first.number)) !== undefined &&
      (await subjects.held('trunks', '127.0.0.31')) !== undefined,
    PATIENCE_MS,
  );
  await subjects.startControl();
  const alive = performance.now() - started;
  const ready = since(
    await until(async () => (await subjects.edgeProblem()) === undefined, PATIENCE_MS, 50),
    alive,
  );
  const [control, kamailio] = [
    (await subjects.control?.cpuUs()) ?? 0,
    (await subjects.kamailio?.cpuUs()) ?? 0,
  ];
  line('cold: process alive', seconds(alive, PATIENCE_MS));
  line('cold: a number and its trunk there', seconds(await served, PATIENCE_MS));
  line(
    'cold: ready',
    seconds(ready, PATIENCE_MS),
    total <= 100_000 ? `under ${LIMITS.coldMs / 1000} s ${verdict((ready ?? Infinity) < LIMITS.coldMs)}` : '',
  );
  line(
    'cold: CPU of control/Kamailio until then',
    `${(control / 1e6).toFixed(1)}/${(kamailio / 1e6).toFixed(1)} s`,
  );
}

async function memory(subjects: Subjects): Promise<void> {
  const used = await memoryOf(subjects.control?.pid ?? 0);
  line('control: memory, at its peak', `${used.now}/${used.peak} MB`);
  const shm = (await subjects.rpc('core.shmmem', ['m'])) as { real_used?: number } | undefined;
  line('Kamailio: shared memory', `${shm?.real_used ?? '?'} MB`);
}

/** Waits until the whole is there, for what is measured next. */
async function settles(subjects: Subjects, total: number): Promise<boolean> {
  const last = numberAt(total - 1);
  const took = await until(
    async () =>
      (await subjects.edgeProblem()) === undefined &&
      (await subjects.held('dids', last.number)) !== undefined,
    PATIENCE_MS,
    100,
  );
  if (took === undefined) line('full', seconds(took, PATIENCE_MS));
  return took !== undefined;
}

/** How often /readyz says that the tables are not in order while nothing happens. */
async function watched(subjects: Subjects): Promise<void> {
  let looks = 0;
  let problems = 0;
  let longest = 0;
  for (const end = performance.now() + WATCHED_MS; performance.now() < end; await delay(200)) {
    const started = performance.now();
    if ((await subjects.edgeProblem()) !== undefined) problems++;
    longest = Math.max(longest, performance.now() - started);
    looks++;
  }
  line(
    `at rest for ${WATCHED_MS / 1000} s: not ready, of ${looks} looks`,
    String(problems),
    verdict(problems === 0),
  );
  line('at rest: longest reply to GET /readyz', `${longest.toFixed(0)} ms`);
}

/** Toggles the code of a rejected number and looks when Kamailio has it. */
async function patches(subjects: Subjects, total: number, name: string): Promise<void> {
  const took: number[] = [];
  let never = 0;
  for (let i = 0; i < PATCHES; i++) {
    const { id, number } = numberAt(Math.floor((total / BLOCK / PATCHES) * i) * BLOCK + 19);
    const sip_code = i % 2 ? 486 : 603;
    const started = performance.now();
    const reply = await subjects.ask('PATCH', `/admin/v1/dids/${id}`, { route_target: { sip_code } });
    if (reply.status !== 200)
      throw new Error(`PATCH of ${id}: ${reply.status} ${JSON.stringify(reply.body)}`);
    const there = await until(
      async () => (await subjects.held('dids', number))?.endsWith(`;${sip_code}`) === true,
      20_000,
      5,
    );
    if (there === undefined) never++;
    else took.push(performance.now() - started);
  }
  took.sort((a, b) => a - b);
  const longest = took.at(-1) ?? NaN;
  line(
    name,
    `${percentile(took, 0.5).toFixed(0)}/${longest.toFixed(0)} ms`,
    `p50/max; under ${LIMITS.patchMs} ms ${verdict(never === 0 && longest < LIMITS.patchMs)}${never ? `, ${never} of ${PATCHES} not in 20 s` : ''}`,
  );
}

interface Latency {
  p50: number;
  p99: number;
}

/**
 * Calls to a number that is refused in memory, and to one that costs a decision: the node is not there, so it
 * ends with 503.
 */
async function calls(
  subjects: Subjects,
  total: number,
  name: string,
  rest?: Record<string, Latency>,
): Promise<Record<string, Latency>> {
  const found: Record<string, Latency> = {};
  const block = Math.floor(total / 2 / BLOCK) * BLOCK;
  for (const [kind, i, code] of [
    ['reject', block + 18, 480],
    ['webhook', block, 503],
  ] as const) {
    const outcome = await generate({ port: subjects.sipPort, number: numberAt(i).number, code, ...CALLS });
    const latency = { p50: percentile(outcome.latencies, 0.5), p99: percentile(outcome.latencies, 0.99) };
    found[kind] = latency;
    const before = rest?.[kind];
    // The generator reads its clock in steps of 4 ms.
    const ratio = before && latency.p99 / Math.max(before.p99, 4);
    line(
      `${name}, ${kind}`,
      `${latency.p50.toFixed(0)}/${latency.p99.toFixed(0)} ms`,
      `p50/p99; ${outcome.failed} of ${outcome.calls} failed${ratio === undefined ? '' : `; × ${ratio.toFixed(1)}, at most ${LIMITS.p99} ${verdict(ratio <= LIMITS.p99 && outcome.failed === 0)}`}`,
    );
  }
  return found;
}

/**
 * Calls while another customer, who has half of the numbers, is suspended and comes back, again and again.
 */
async function pushed(
  subjects: Subjects,
  other: Owner,
  total: number,
  rest: Record<string, Latency>,
): Promise<void> {
  const { number } = numberAt(Math.floor(total / BLOCK) * BLOCK - 1);
  const took: number[] = [];
  let going = true;
  const changes = (async () => {
    for (let suspended = true; going || !suspended; suspended = !suspended) {
      await subjects.ask('PATCH', `/admin/v1/customers/${other.customer}`, {
        status: suspended ? 'suspended' : 'active',
      });
      took.push(
        (await until(
          async () => ((await subjects.held('dids', number)) ?? '').startsWith('x;') === suspended,
          PATIENCE_MS,
        )) ?? PATIENCE_MS,
      );
    }
  })();
  await calls(subjects, total, 'calls, half of the numbers changing', rest);
  going = false;
  await changes;
  line(
    `half of the numbers changed, ${took.length} times`,
    `${(Math.max(...took) / 1000).toFixed(2)} s`,
    'the longest',
  );
}

/** The control process alone is killed and started again; Kamailio has everything. */
async function warm(subjects: Subjects, total: number, rest: Record<string, Latency>): Promise<void> {
  await subjects.control?.stop();
  await subjects.startControl();
  const ready = await until(async () => (await subjects.edgeProblem()) === undefined, PATIENCE_MS, 20);
  line('warm: ready after it is alive', seconds(ready, PATIENCE_MS));
  const reconciled = await until(() => subjects.reconciled(), PATIENCE_MS, 20);
  line(
    'warm: reconciled after it is alive',
    seconds(reconciled, PATIENCE_MS),
    `under ${LIMITS.warmMs / 1000} s ${verdict((reconciled ?? Infinity) < LIMITS.warmMs)}`,
  );
  // The first calls of a process warm its compiler.
  await generate({ port: subjects.sipPort, number: numberAt(0).number, code: 503, calls: 600, rate: 300 });
  await calls(subjects, total, 'calls, after a warm start', rest);
  await patches(subjects, total, 'PATCH, after a warm start: effective');
}

/** Kamailio alone is killed and started again: it is filled while numbers change. */
async function refilled(subjects: Subjects, total: number): Promise<void> {
  await subjects.kamailio?.stop();
  await subjects.startKamailio();
  await until(async () => (await subjects.held('trunks', '127.0.0.31')) !== undefined, 10_000);
  await patches(subjects, total, 'PATCH, during a fill: effective');
  await until(async () => (await subjects.held('edge', 'synced')) !== undefined, PATIENCE_MS, 50);
}

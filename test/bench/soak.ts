import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { coordinates, left, leftovers, metrics } from '../e2e/leftovers.ts';
import { carrierAt, done, pidOf, sip, tenant } from '../e2e/platform.ts';
import { Phone } from '../support/phone.ts';
import { StreamReceiver } from '../support/stream-receiver.ts';
import { KINDS, type World } from './soak/callers.ts';

/**
 * Calls of every kind, mixed, in rounds: `soak [calls] [calls per second]`. After each round nothing may be
 * left of them anywhere; over the rounds neither memory nor open files may grow.
 */
const [CALLS = 2000, RATE = 5] = process.argv.slice(2).map(Number);
const ROUNDS = 5;
const PER_ROUND = Math.ceil(CALLS / ROUNDS);
/**
 * From the end of the first round to the end of the last: what the heap may grow by, in MB, and the files by.
 */
const MOST_HEAP_MB = 15;
const MOST_FILES = 5;
const CALLER = '127.0.0.2';
const names = Object.keys(KINDS);

interface Figures {
  heapMb: number;
  controlMb: number;
  mediaMb: number;
  files: { control: number; media: number };
  timers: number;
  redisKeys: number;
  left: string[];
}

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const rssMb = async (pid: number): Promise<number> =>
  Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
const filesOf = async (pid: number): Promise<number> => (await readdir(`/proc/${pid}/fd`)).length;

/**
 * Waits until nothing is left, for a minute at most, and takes the figures; of the heap, what a full
 * collection leaves.
 */
async function measure(): Promise<Figures> {
  let remains: string[] = [];
  for (const end = Date.now() + 60_000; Date.now() < end; await sleep(500)) {
    remains = left(await leftovers());
    if (remains.length === 0) break;
  }
  const [control, media] = [await pidOf('control'), await pidOf('media')];
  let heap = Infinity;
  let timers = Infinity;
  const collected = 'nodejs_gc_duration_seconds_count{kind="major"}';
  let before: number | undefined;
  // Our own questions make the garbage that brings the next collection about.
  for (const end = Date.now() + 30_000; Date.now() < end; await sleep(20)) {
    const all = await metrics();
    before ??= all.get(collected);
    timers = Math.min(timers, all.get('nodejs_active_resources{type="Timeout"}') ?? NaN);
    heap = Math.min(heap, all.get('nodejs_heap_size_used_bytes') ?? NaN);
    if (all.get(collected) !== before) break;
  }
  const redis = new Redis(coordinates().redis_url);
  const redisKeys = await redis.dbsize();
  redis.disconnect();
  return {
    heapMb: heap / 2 ** 20,
    controlMb: await rssMb(control),
    mediaMb: await rssMb(media),
    files: { control: await filesOf(control), media: await filesOf(media) },
    timers,
    redisKeys,
    left: remains,
  };
}

const show = (round: string, f: Figures): void =>
  say(
    `${round.padEnd(8)}${f.heapMb.toFixed(1).padStart(9)}${f.controlMb.toFixed(0).padStart(9)}${f.mediaMb.toFixed(0).padStart(9)}${String(f.files.control).padStart(9)}${String(f.files.media).padStart(9)}${String(f.timers).padStart(8)}${String(f.redisKeys).padStart(8)}   ${f.left.join(', ') || 'nothing'}`,
  );

await carrierAt(CALLER);
const own = await tenant({}, { credit: '10000', limits: { cps: 1000, concurrent_calls: 1000 } });
const phones = {
  caller: await Phone.open({ address: CALLER }),
  answers: await Phone.open({ address: '127.0.0.3' }),
  busy: await Phone.open({ address: '127.0.0.4' }),
  rings: await Phone.open({ address: '127.0.0.6' }),
};
phones.answers.listen('answer');
phones.busy.listen({ refuse: 486 });
phones.rings.listen('ring');
const receiver = await StreamReceiver.open();
const world: World = {
  own,
  sip,
  caller: phones.caller,
  answers: phones.answers.uri,
  busy: phones.busy.uri,
  rings: phones.rings.uri,
  streams: receiver.url,
};

/** A caller's number tells the kind of the call, and which of them it is. */
const numberOf = (call: number): string =>
  `+1777${String(call % names.length).padStart(2, '0')}${String(call).padStart(6, '0')}`;
own.server.answers.set('/next', [{ say: { text: 'Thank you.' } }]);
own.server.answers.set('/answer', (request, response) => {
  const from = new URL(request.url ?? '', own.server.base).searchParams.get('from') ?? '';
  const kind = KINDS[names[Number(from.slice(5, 7))] ?? ''];
  setTimeout(
    () =>
      response
        .setHeader('content-type', 'application/json')
        .end(JSON.stringify({ actions: kind?.actions(world, Number(from.slice(7))) ?? [] })),
    kind?.delayMs ?? 0,
  );
});

const failures = new Map<string, number>();
async function place(number: number): Promise<void> {
  const name = names[number % names.length] ?? '';
  const from = numberOf(number);
  try {
    const call = await phones.caller.call({ to: own.number, from, via: sip });
    await KINDS[name]?.act(call, world, from);
  } catch (error) {
    const what = `${name}: ${error instanceof Error ? error.message.slice(0, 160) : String(error)}`;
    failures.set(what, (failures.get(what) ?? 0) + 1);
  }
}

/** The calls of a round, at the rate, to the end of the last. */
async function round(first: number): Promise<void> {
  const running: Promise<void>[] = [];
  const began = performance.now();
  for (let i = 0; i < PER_ROUND; i++) {
    await sleep(Math.max(0, began + (1000 * i) / RATE - performance.now()));
    running.push(place(first + i));
  }
  await Promise.all(running);
}

say(
  `${ROUNDS} rounds of ${PER_ROUND} calls of ${names.length} kinds at ${RATE}/s on the ${coordinates().media.kind} media node`,
);
say(
  `${'round'.padEnd(8)}${'heap MB'.padStart(9)}${'control'.padStart(9)}${'media'.padStart(9)}${'files'.padStart(9)}${'media'.padStart(9)}${'timers'.padStart(8)}${'redis'.padStart(8)}   left`,
);
const figures: Figures[] = [];
show('before', await measure());
for (let at = 0; at < ROUNDS; at++) {
  await round(at * PER_ROUND);
  const taken = await measure();
  figures.push(taken);
  show(String(at + 1), taken);
}

const [first, last] = [figures[0], figures.at(-1)];
const problems: string[] = [];
if (!first || !last) throw new Error('no round was measured');
if (last.heapMb > first.heapMb + MOST_HEAP_MB)
  problems.push(`the heap has grown by ${(last.heapMb - first.heapMb).toFixed(1)} MB`);
if (last.files.control > first.files.control + MOST_FILES)
  problems.push('the control process has more files open');
if (last.files.media > first.files.media + MOST_FILES) problems.push('the media node has more files open');
if (last.timers > first.timers + MOST_FILES) problems.push('the control process has more timers');
if (last.redisKeys > first.redisKeys + MOST_FILES) problems.push('there are more keys in Redis');
for (const { left: remains } of figures) problems.push(...remains);
const open = await Promise.all(
  ['ringing', 'in_progress'].map(async (status) =>
    Number((await done('GET', `/v1/calls?status=${status}`, undefined, own.key)).count),
  ),
);
if (open.some((count) => count > 0)) problems.push('there are calls that never ended');
for (const [what, count] of failures) problems.push(`${count} × ${what}`);
// A webhook may come twice; an event has its key.
const ends = new Map<string, number>();
for (const event of new Map(own.server.webhooks.map(({ data, event }) => [data.event_key, event])).values()) {
  if (/^call\.(completed|failed|canceled)$/.test(event)) ends.set(event, (ends.get(event) ?? 0) + 1);
}
const told = [...ends.values()].reduce((sum, count) => sum + count, 0);
if (told !== ROUNDS * PER_ROUND) problems.push(`${told} ends of calls were told`);
say(
  `\n${[...ends].map(([event, count]) => `${count} ${event}`).join(', ')}; ${failures.size === 0 ? 'every caller saw what he should' : 'not every caller saw what he should'}`,
);

for (const phone of Object.values(phones)) await phone.close();
receiver.close();
own.server.close();
for (const problem of problems) say(`MISSED: ${problem}`);
process.exitCode = problems.length > 0 ? 1 : 0;

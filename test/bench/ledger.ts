import { cpus } from 'node:os';
import { Billing } from '../../control/billing/billing.ts';
import { HoldStore } from '../../control/billing/holds/store.ts';
import { LedgerStore } from '../../control/billing/ledger/store.ts';
import { Rates } from '../../control/billing/rates/rates.ts';
import { RateStore } from '../../control/billing/rates/store.ts';
import { CallStore } from '../../control/calls/store.ts';
import { Ids } from '../../control/lib/ids.ts';
import { createLogger } from '../../control/lib/logger.ts';
import { createDatabase } from '../integration/webhooks/database.ts';
import { percentile } from './edge/generators.ts';
import { PlainTransactions } from './ledger/plain.ts';

/**
 * Holds and their settlements per second, beside plain transactions of the same shape on the same tables, in
 * one run: in turns, so that the mood of the machine hits both. And how long a hold takes at 50 new calls a
 * second of one customer.
 */
const TURNS = 5;
const CALLS = 1500;
const WORKERS = 8;
const CASES = [
  { name: 'one customer', customers: 1 },
  { name: '20 customers', customers: 20 },
];
const STEADY = { rate: 50, seconds: 20 };
const TARGETS = { ratio: 0.5, p99Ms: 50 };

const database = await createDatabase();
const { db } = database;
const ids = new Ids(0);
const store = new CallStore(db);
const ledger = new LedgerStore(db);
const rate = {
  id: 'rate_1',
  customerId: undefined,
  direction: 'outbound',
  prefix: '+49',
  priceMicros: 600_000n,
  feeMicros: 0n,
  minimumSeconds: 0,
  incrementSeconds: 1,
  currency: 'EUR',
  validFrom: undefined,
  isActive: true,
  createdAt: new Date(),
  updatedAt: new Date(),
} as const;
const billing = new Billing({
  rates: new Rates(new RateStore(db)),
  store: new HoldStore(db, ids),
  customerOf: (id) => ({ id, currency: 'EUR', spend: {} }),
  holdSeconds: 60,
  logger: createLogger('fatal'),
  costs: { settled: (trx, leg, cost) => store.settled(trx, leg, cost, { n: ids.number(), at: new Date() }) },
});
const plain = new PlainTransactions(database.url, 10);

const customers = Array.from({ length: 20 }, () => ids.next('cust'));
for (const customerId of customers) {
  const id = ids.next('txn');
  await ledger.credit({
    id,
    customerId,
    createdAt: new Date(),
    kind: 'top_up',
    debit: 'top_up',
    credit: 'available',
    amountMicros: 10n ** 12n,
    currency: 'EUR',
    reference: id,
  });
}
await plain.prepare(customers);

/** So many new calls in the database. */
async function newCalls(count: number): Promise<string[]> {
  const made = Array.from({ length: count }, () => ids.next('call'));
  await db.batchInsert(
    'calls',
    made.map((id) => ({
      id,
      customer_id: customers[0],
      application_id: 'app_1',
      direction: 'outbound',
      from_number: '+15550000001',
      to_number: '+4915112345678',
      status: 'completed',
      route_mode: 'webhook',
      routing_target: '',
      metadata: '{}',
      variables: '{}',
      event_counts: '{}',
      created_at: new Date(),
    })),
    500,
  );
  await plain.storeCalls(made);
  return made;
}

const leg = (callId: string, customerId: string) => ({
  callId,
  leg: 0,
  customerId,
  applicationId: 'app_1',
  direction: 'outbound' as const,
  number: '+4915112345678',
  rate,
});

function end(callId: string): void {
  const endedAt = new Date();
  billing.ended({ callId, leg: 0 }, { answeredAt: new Date(endedAt.getTime() - 29_500), endedAt });
}

/** Calls per second of `cycle` run by so many workers, to the last one that is done. */
async function throughput(
  cycle: (callId: string, customer: string) => Promise<void>,
  among: number,
): Promise<number> {
  const calls = (await newCalls(CALLS)).entries();
  const started = performance.now();
  await Promise.all(
    Array.from({ length: WORKERS }, async () => {
      for (const [n, callId] of calls) await cycle(callId, customers[n % among] ?? '');
    }),
  );
  while (billing.counters.unsettled > 0) await billing.tick();
  return CALLS / ((performance.now() - started) / 1000);
}

const ours = async (callId: string, customer: string): Promise<void> => {
  await billing.hold(leg(callId, customer));
  end(callId);
};
const bare = async (callId: string, customer: string): Promise<void> => {
  await plain.hold(callId, customer);
  await plain.settle(callId, customer);
};

const median = (values: number[]): number =>
  percentile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
const say = (text: string): void => void process.stdout.write(`${text}\n`);
let missed = 0;
const verdict = (met: boolean): string => {
  if (!met) missed++;
  return met ? 'met' : 'MISSED';
};

try {
  say(
    `${cpus().length} cores, ${WORKERS} workers, ${TURNS} turns of ${CALLS} calls each; a call is one hold and one settlement\n`,
  );
  say(
    `${'calls of'.padEnd(16)}${'plain/s'.padStart(9)}${'ledger/s'.padStart(10)}${'ratio'.padStart(8)}${'target'.padStart(9)}`,
  );
  for (const { name, customers: among } of CASES) {
    await throughput(bare, among);
    await throughput(ours, among);
    const rates = { plain: [] as number[], ledger: [] as number[] };
    for (let turn = 0; turn < TURNS; turn++) {
      rates.plain.push(await throughput(bare, among));
      rates.ledger.push(await throughput(ours, among));
    }
    const ratio = median(rates.ledger) / median(rates.plain);
    say(
      `${name.padEnd(16)}${median(rates.plain).toFixed(0).padStart(9)}${median(rates.ledger).toFixed(0).padStart(10)}${ratio.toFixed(2).padStart(8)}${`≥ ${TARGETS.ratio}`.padStart(9)} ${verdict(ratio >= TARGETS.ratio)}`,
    );
  }

  const calls = await newCalls(STEADY.rate * STEADY.seconds);
  const took: number[] = [];
  const started = performance.now();
  await Promise.all(
    calls.map(async (callId, n) => {
      await new Promise((resolve) => setTimeout(resolve, (n * 1000) / STEADY.rate));
      const began = performance.now();
      await billing.hold(leg(callId, customers[0] ?? ''));
      took.push(performance.now() - began);
      end(callId);
    }),
  );
  const seconds = (performance.now() - started) / 1000;
  took.sort((a, b) => a - b);
  const p99 = percentile(took, 0.99);
  say(
    `\nAt ${(calls.length / seconds).toFixed(0)} new calls a second of one customer, each settled at once: a hold takes ${percentile(took, 0.5).toFixed(1)} ms at the median, ${p99.toFixed(1)} ms at p99 (≤ ${TARGETS.p99Ms}: ${verdict(p99 <= TARGETS.p99Ms)}).`,
  );

  while (billing.counters.unsettled > 0) await billing.tick();
  const [sums] = (await db.raw(
    "SELECT CAST(SUM(balance_micros) AS CHAR) AS total, CAST(MIN(IF(kind IN ('available', 'held'), balance_micros, 0)) AS CHAR) AS least, (SELECT COUNT(*) FROM holds WHERE status = 'open') AS open FROM accounts",
  )) as [{ total: string; least: string; open: number }[]];
  say(
    `Afterwards all accounts sum up to ${sums[0]?.total}, the least is ${sums[0]?.least}, and ${sums[0]?.open} holds are open.`,
  );
  if (sums[0]?.total !== '0' || sums[0].open !== 0) missed++;
} finally {
  await plain.close();
  await database.drop();
}
if (missed > 0) process.exitCode = 1;

import type { Knex } from 'knex';
import { pino } from 'pino';
import {
  Billing,
  type Exhaustion,
  type LegKey,
  type Rate,
  type Warning,
} from '../../../control/billing/billing.ts';
import type { Cost } from '../../../control/billing/holds/hold.ts';
import { HoldStore } from '../../../control/billing/holds/store.ts';
import { LedgerStore } from '../../../control/billing/ledger/store.ts';
import { LedgerService } from '../../../control/billing/ledger/service.ts';
import { Rates } from '../../../control/billing/rates/rates.ts';
import { RateStore } from '../../../control/billing/rates/store.ts';
import { CallStore } from '../../../control/calls/store.ts';
import type { Spend } from '../../../control/customers/schema.ts';
import { connectDatabase, type Database } from '../../../control/lib/database.ts';
import { Ids } from '../../../control/lib/ids.ts';
import { parseMicros } from '../../../control/lib/money.ts';
import { createDatabase } from '../webhooks/database.ts';

export const EUR = 1_000_000n;

export const rate = (over: Partial<Rate> = {}): Rate => ({
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
  createdAt: new Date(0),
  updatedAt: new Date(0),
  ...over,
});

/** A customer as billing knows it. */
export interface TestCustomer {
  id: string;
  currency: string;
  spend: Spend;
}

/** One control process's billing, with what it has said. */
export interface Process {
  billing: Billing;
  exhausted: (LegKey & { why: Exhaustion })[];
  warnings: (LegKey & Warning)[];
}

/** Billing rooms on one database, with a clock that only tests move. */
export async function startRig() {
  const database = await createDatabase();
  const { db } = database;
  const ids = new Ids(0);
  const clock = { now: new Date('2026-05-29T12:00:00.000Z') };
  const now = (): Date => new Date(clock.now);
  const customers = new Map<string, TestCustomer>();
  const ledger = new LedgerStore(db);
  const service = new LedgerService({
    store: ledger,
    customer: (id) => Promise.resolve(customers.get(id)),
    ids,
    now,
  });
  const pools: Database[] = [];
  const calls = new CallStore(db);
  let leg = 0;

  const settled = (trx: Knex.Transaction, key: LegKey, cost: Cost): Promise<boolean> =>
    calls.settled(trx, key, cost, { n: ids.number(), at: now() });

  function process(
    options: { db?: Database; holdSeconds?: number; instance?: number; patienceMs?: number } = {},
  ): Process {
    const own = new Ids(options.instance ?? 1);
    const said: Process = {
      billing: new Billing({
        rates: new Rates(new RateStore(options.db ?? db)),
        store: new HoldStore(options.db ?? db, own),
        customerOf: (id) => customers.get(id),
        costs: { settled },
        holdSeconds: options.holdSeconds ?? 60,
        patienceMs: options.patienceMs,
        logger: pino({ enabled: Boolean(globalThis.process.env['DEBUG_TESTS']) }),
        now,
      }),
      exhausted: [],
      warnings: [],
    };
    said.billing.onExhausted((key, why) => said.exhausted.push({ ...key, why }));
    said.billing.onWarning((key, warning) => said.warnings.push({ ...key, ...warning }));
    return said;
  }

  return {
    db,
    url: database.url,
    ids,
    clock,
    customers,
    ledger,
    service,
    process,
    settled,
    /** Lets time pass, and everybody do what is due every so many milliseconds. */
    async pass(ms: number, processes: readonly Process[], step = 200): Promise<void> {
      for (let passed = 0; passed < ms; passed += step) {
        clock.now = new Date(clock.now.getTime() + Math.min(step, ms - passed));
        await Promise.all(processes.map(({ billing }) => billing.tick()));
      }
    },
    /** A customer with money, in EUR. */
    async customer(amount: string | bigint, spend: Spend = {}): Promise<TestCustomer> {
      const customer: TestCustomer = { id: ids.next('cust'), currency: 'EUR', spend };
      customers.set(customer.id, customer);
      const amountMicros = typeof amount === 'bigint' ? amount : parseMicros(amount);
      if (amountMicros !== 0n) await service.credit(customer.id, { amountMicros });
      return customer;
    },
    /** A hold of a new call, whose row is stored. */
    async call(customer: TestCustomer, terms: Rate = rate(), legNumber = 0) {
      const callId = ids.next('call');
      await this.store(callId, customer.id);
      return {
        callId,
        leg: legNumber,
        customerId: customer.id,
        applicationId: 'app_1',
        direction: terms.direction,
        number: '+4915112345678',
        rate: terms,
      };
    },
    async store(
      callId: string,
      customerId: string,
      times: { answeredAt?: Date; endedAt?: Date } = {},
    ): Promise<void> {
      await db('calls').insert({
        id: callId,
        customer_id: customerId,
        application_id: 'app_1',
        direction: 'outbound',
        from_number: '+15550000001',
        to_number: '+4915112345678',
        status: 'dialing',
        route_mode: 'webhook',
        routing_target: '',
        metadata: '{}',
        variables: '{}',
        event_counts: '{}',
        created_at: now(),
        answered_at: times.answeredAt,
        ended_at: times.endedAt,
      });
    },
    at: (ms: number): Date => new Date(clock.now.getTime() + ms),
    balance: (customer: TestCustomer) => ledger.balance(customer.id, now()),
    /** The balances of a customer's accounts, and what its transfers make of them. */
    async accounts(
      customer: TestCustomer,
    ): Promise<{ stored: Record<string, bigint>; transferred: Record<string, bigint> }> {
      const rows = (await db('accounts').where({ customer_id: customer.id })) as {
        kind: string;
        balance_micros: string | number;
      }[];
      const transferred: Record<string, bigint> = Object.fromEntries(rows.map((row) => [row.kind, 0n]));
      for (const t of (await db('transfers').where({ customer_id: customer.id })) as {
        debit: string;
        credit: string;
        amount_micros: string | number;
      }[]) {
        transferred[t.debit] = (transferred[t.debit] ?? 0n) - BigInt(t.amount_micros);
        transferred[t.credit] = (transferred[t.credit] ?? 0n) + BigInt(t.amount_micros);
      }
      return {
        stored: Object.fromEntries(rows.map((row) => [row.kind, BigInt(row.balance_micros)])),
        transferred,
      };
    },
    /** Another pool, for a process whose connections are its own. */
    connect(url = database.url, size = 5): Database {
      const pool = connectDatabase(url, size);
      pools.push(pool);
      return pool;
    },
    nextLeg: () => ++leg,
    async close(): Promise<void> {
      await Promise.all(pools.map((pool) => pool.destroy()));
      await database.drop();
    },
  };
}

export type Rig = Awaited<ReturnType<typeof startRig>>;

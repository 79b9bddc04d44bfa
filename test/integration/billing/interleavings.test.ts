import { expect } from 'chai';
import fc from 'fast-check';
import type { LegKey, Rate } from '../../../control/billing/billing.ts';
import { ApiError } from '../../../control/lib/errors.ts';
import { rate, startRig, type Process, type Rig, type TestCustomer } from './rig.ts';

/** One thing that happens; numbers choose among what there is at that moment. */
type Step =
  | { do: 'hold'; process: number; customer: number; tariff: number; second: boolean; stored: boolean }
  | { do: 'answer'; which: number }
  | { do: 'hang up'; which: number; tell: number }
  | { do: 'end unheard'; which: number; tell: number }
  | { do: 'pass'; seconds: number }
  | { do: 'kill'; process: number; adopt: boolean }
  | { do: 'sweep'; process: number }
  | { do: 'credit'; customer: number; micros: bigint };

/** A leg as it really is, whoever knows of it. */
interface Leg extends LegKey {
  process: number;
  customer: TestCustomer;
  terms: Rate;
  /** Whether its call is in the database. */
  stored: boolean;
  answeredAt?: Date;
  endedAt?: Date;
}

const TARIFFS: Rate[] = [
  rate(),
  rate({ priceMicros: 70_001n, feeMicros: 13n, minimumSeconds: 7, incrementSeconds: 13 }),
  rate({ priceMicros: 1_234_567n, incrementSeconds: 60 }),
  rate({ priceMicros: 0n, feeMicros: 99_999n }),
  rate({ priceMicros: 0n }),
  rate({ priceMicros: 333_333n, direction: 'inbound', minimumSeconds: 90, incrementSeconds: 7 }),
];

const pick = fc.nat({ max: 1000 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('hold' as const),
      process: pick,
      customer: pick,
      tariff: pick,
      second: fc.boolean(),
      stored: fc.constantFrom(true, true, true, false),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('answer' as const), which: pick }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('hang up' as const), which: pick, tell: pick }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('end unheard' as const), which: pick, tell: pick }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('pass' as const), seconds: fc.integer({ min: 1, max: 90 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('kill' as const), process: pick, adopt: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('sweep' as const), process: pick }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('credit' as const),
      customer: pick,
      micros: fc.bigInt({ min: -2_000_000n, max: 3_000_000n }),
    }),
  },
);

/** The charge counted out, as in the unit test of charges: not by the code that is tested here. */
function countedOut(
  { priceMicros, feeMicros, minimumSeconds, incrementSeconds }: Rate,
  billsec: number,
): bigint {
  let paid = 0;
  while (paid < Math.max(billsec, minimumSeconds)) paid += incrementSeconds;
  let micros = (priceMicros * BigInt(paid)) / 60n;
  while (micros * 60n < priceMicros * BigInt(paid)) micros++;
  return feeMicros + micros;
}

class World {
  readonly rig: Rig;
  readonly customers: TestCustomer[];
  readonly processes: Process[];
  readonly legs: Leg[] = [];
  readonly #withSecond = new Set<string>();
  /** How many holds were resolved with the very times of their leg. */
  exact = 0;

  constructor(rig: Rig, customers: TestCustomer[]) {
    this.rig = rig;
    this.customers = customers;
    this.processes = [this.#process(0), this.#process(1)];
  }

  #process(index: number): Process {
    const process = this.rig.process({ instance: index });
    // As the call's owner does: a leg that is not paid for any longer is hung up.
    process.billing.onExhausted((key) => {
      if (this.processes[index] !== process) return;
      for (const leg of this.legs)
        if (leg.callId === key.callId && leg.leg >= key.leg) this.#hangUp(leg, process);
    });
    return process;
  }

  #of<T>(items: readonly T[], n: number): T | undefined {
    return items[n % Math.max(1, items.length)];
  }

  #live(answered?: boolean): Leg[] {
    return this.legs.filter(
      (leg) => !leg.endedAt && (answered === undefined || (leg.answeredAt !== undefined) === answered),
    );
  }

  #hangUp(leg: Leg, process: Process | undefined): void {
    if (leg.endedAt) return;
    leg.endedAt = this.rig.clock.now;
    process?.billing.ended(leg, { answeredAt: leg.answeredAt, endedAt: leg.endedAt });
  }

  async run(what: Step): Promise<void> {
    const { rig } = this;
    if (what.do === 'hold') await this.#hold(what);
    else if (what.do === 'answer') {
      const leg = this.#of(this.#live(false), what.which);
      if (!leg) return;
      leg.answeredAt = rig.clock.now;
      this.processes[leg.process]?.billing.answered(leg, leg.answeredAt);
      if (leg.leg === 0)
        await rig.db('calls').where({ id: leg.callId }).update({ answered_at: leg.answeredAt });
    } else if (what.do === 'hang up' || what.do === 'end unheard') {
      const leg = this.#of(this.#live(), what.which);
      if (!leg) return;
      // The last that the owner of 'end unheard' did was to store the end of the call.
      const gone = what.do === 'end unheard' && leg.leg === 0;
      const second =
        leg.leg === 0 ? this.#live().find((one) => one.callId === leg.callId && one.leg === 1) : undefined;
      for (const one of [leg, second])
        if (one) this.#hangUp(one, gone ? undefined : this.processes[one.process]);
      if (leg.leg === 0) await rig.db('calls').where({ id: leg.callId }).update({ ended_at: leg.endedAt });
      if (what.tell % 3 === 0 && !gone)
        this.processes[what.tell % 2]?.billing.ended(leg, {
          answeredAt: leg.answeredAt,
          endedAt: rig.at(1000),
        });
    } else if (what.do === 'pass') {
      await rig.pass(what.seconds * 1000, this.processes, 3000);
    } else if (what.do === 'kill') {
      const index = what.process % 2;
      const process = this.#process(index);
      this.processes[index] = process;
      if (!what.adopt) return;
      for (const leg of this.#live().filter((one) => one.process === index)) {
        await process.billing.adopt(leg.callId);
        if (leg.answeredAt) process.billing.answered(leg, leg.answeredAt);
      }
    } else if (what.do === 'sweep') {
      await this.processes[what.process % 2]?.billing.sweep();
    } else {
      const customer = this.#of(this.customers, what.customer);
      if (customer && what.micros !== 0n)
        await rig.service.credit(customer.id, { amountMicros: what.micros, reason: 'a test' }).catch(refused);
    }
  }

  async #hold({
    process: n,
    customer: c,
    tariff,
    second,
    stored,
  }: Extract<Step, { do: 'hold' }>): Promise<void> {
    const customer = this.#of(this.customers, c);
    const terms = this.#of(TARIFFS, tariff);
    const index = n % 2;
    const process = this.processes[index];
    if (!customer || !terms || !process) return;
    const first = second
      ? this.#live(true).find(
          (leg) => leg.leg === 0 && leg.process === index && !this.#withSecond.has(leg.callId),
        )
      : undefined;
    if (first) this.#withSecond.add(first.callId);
    const of = first?.customer ?? customer;
    const call = first
      ? { ...(await this.rig.call(of, terms, 1)), callId: first.callId }
      : await this.rig.call(of, terms);
    if (!first && !stored) await this.rig.db('calls').where({ id: call.callId }).delete();
    const leg: Leg = {
      callId: call.callId,
      leg: call.leg,
      process: index,
      customer: of,
      terms,
      stored: first?.stored ?? stored,
    };
    try {
      await process.billing.hold(call);
      this.legs.push(leg);
    } catch (error) {
      refused(error);
    }
  }

  /** Everybody hangs up, and enough time passes for every hold to be looked after by somebody. */
  async finish(): Promise<void> {
    for (const leg of this.#live()) this.#hangUp(leg, this.processes[leg.process]);
    for (const leg of this.legs)
      if (leg.leg === 0)
        await this.rig.db('calls').where({ id: leg.callId }).update({ ended_at: leg.endedAt });
    for (let minute = 0; minute < 4; minute++) {
      await this.rig.pass(65_000, this.processes, 13_000);
      await Promise.all(this.processes.map(({ billing }) => billing.sweep()));
    }
    await this.rig.pass(10_000, this.processes, 2000);
  }

  async expectNothingOverdrawn(): Promise<void> {
    const row = (await this.rig
      .db('accounts')
      .whereIn('kind', ['available', 'held'])
      .min('balance_micros as least')
      .first()) as { least: string | number };
    expect(BigInt(row.least) >= 0n, 'no account is below zero').to.equal(true);
  }

  async expectSound(): Promise<void> {
    await this.expectNothingOverdrawn();
    const { db } = this.rig;
    const holds = (await db('holds').whereIn(
      'call_id',
      this.legs.map(({ callId }) => callId),
    )) as HoldRow[];
    expect(holds).to.have.length(this.legs.length);
    expect(
      holds.filter(({ status }) => status !== 'resolved'),
      'holds that stay open',
    ).to.deep.equal([]);
    for (const customer of this.customers) {
      const { stored, transferred } = await this.rig.accounts(customer);
      expect(stored).to.deep.equal(transferred);
      expect(
        Object.values(stored).reduce((sum, n) => sum + n, 0n),
        'the sum of all accounts',
      ).to.equal(0n);
      expect(stored['held'] ?? 0n).to.equal(0n);
      const own = holds.filter(({ customer_id }) => customer_id === customer.id);
      expect(stored['revenue'] ?? 0n).to.equal(
        own.reduce((sum, hold) => sum + BigInt(hold.charged_micros), 0n),
      );
      const outbound = own
        .filter(({ direction }) => direction === 'outbound')
        .reduce((sum, hold) => sum + BigInt(hold.charged_micros), 0n);
      expect(await this.rig.balance(customer)).to.include({
        spentTodayMicros: outbound,
        spentThisMonthMicros: outbound,
      });
      if (customer.spend.daily !== undefined)
        expect(
          outbound <= 2_000_000n + own.reduce((sum, hold) => sum + beyond(hold), 0n),
          'the cap',
        ).to.equal(true);
    }
    for (const leg of this.legs) await this.#expectCharged(leg, holds);
    const costs = (await db('calls').whereIn(
      'id',
      this.legs.map(({ callId }) => callId),
    )) as { id: string; cost_micros: string | number | null }[];
    for (const { id, cost_micros: cost } of costs) {
      expect(BigInt(cost ?? 0), 'the cost of the call').to.equal(
        holds
          .filter(({ call_id }) => call_id === id)
          .reduce((sum, hold) => sum + BigInt(hold.charged_micros), 0n),
      );
    }
  }

  async #expectCharged(leg: Leg, holds: readonly HoldRow[]): Promise<void> {
    const hold = holds.find((one) => one.call_id === leg.callId && one.leg === leg.leg);
    const transfers = (await this.rig.db('transfers').where({ call_id: leg.callId, leg: leg.leg })) as {
      kind: string;
      debit: string;
      amount_micros: string | number;
    }[];
    const sum = (kind: string): bigint =>
      transfers.filter((t) => t.kind === kind).reduce((total, t) => total + BigInt(t.amount_micros), 0n);
    if (!hold) return expect.fail('there is no hold');
    const charged = BigInt(hold.charged_micros);
    expect(sum('hold') + sum('extend')).to.equal(BigInt(hold.held_micros));
    expect(sum('settle')).to.equal(charged);
    expect(sum('release')).to.equal(BigInt(hold.held_micros) + beyond(hold) - charged);
    const billsec =
      hold.answered_at === null
        ? 0
        : Math.max(0, Math.ceil((hold.ended_at.getTime() - hold.answered_at.getTime()) / 1000));
    const due = hold.answered_at === null ? 0n : countedOut(leg.terms, billsec);
    expect(hold.billsec).to.equal(billsec);
    expect(charged + BigInt(hold.unpaid_micros), 'to the micro-unit').to.equal(due);
    // Nobody can know the end of a second leg whose owner died, of a call nobody took over, and anything of
    // one that was never stored.
    if (leg.leg === 0 && leg.stored && hold.ended_at.getTime() === leg.endedAt?.getTime()) {
      this.exact++;
      expect(hold.answered_at?.getTime()).to.equal(leg.answeredAt?.getTime());
    }
    if (leg.answeredAt === undefined) expect(charged).to.equal(0n);
  }
}

interface HoldRow {
  call_id: string;
  leg: number;
  customer_id: string;
  direction: string;
  status: string;
  held_micros: string | number;
  charged_micros: string | number;
  unpaid_micros: string | number;
  billsec: number;
  answered_at: Date | null;
  ended_at: Date;
}

/** What was charged beyond the hold. */
function beyond(hold: HoldRow): bigint {
  const more = BigInt(hold.charged_micros) - BigInt(hold.held_micros);
  return more > 0n ? more : 0n;
}

function refused(error: unknown): void {
  if (
    !(error instanceof ApiError) ||
    !['insufficient_balance', 'spend_control_exceeded'].includes(error.code)
  )
    throw error;
}

describe('money for calls, whatever happens in whatever order', function () {
  this.timeout(300_000);
  let rig: Rig;
  before(async () => {
    rig = await startRig();
  });
  after(() => rig.close());

  it('is never created, lost or overdrawn: each hold is resolved once, and each charge is right', async () => {
    const count = { steps: 0, holds: 0, exact: 0 };
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(step, { minLength: 1, maxLength: 5 }), { minLength: 10, maxLength: 40 }),
        async (batches) => {
          rig.clock.now = new Date('2026-05-29T00:00:00Z');
          const world = new World(rig, [
            await rig.customer('5'),
            await rig.customer('1.30'),
            await rig.customer('20', { daily: '2', monthly: '2' }),
          ]);
          for (const batch of batches) {
            count.steps += batch.length;
            await Promise.all(batch.map((what) => world.run(what)));
            await world.expectNothingOverdrawn();
          }
          await world.finish();
          await world.expectSound();
          count.holds += world.legs.length;
          count.exact += world.exact;
        },
      ),
      { numRuns: 60, endOnFailure: true },
    );
    expect(count.steps).to.be.greaterThan(2000);
    expect(count.exact, JSON.stringify(count)).to.be.greaterThan(count.holds / 3);
  });
});

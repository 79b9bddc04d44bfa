import { expect } from 'chai';
import { ApiError } from '../../../control/lib/errors.ts';
import { EUR, rate, startRig, type Process, type Rig, type TestCustomer } from './rig.ts';

describe('the daily and the monthly cap', () => {
  let rig: Rig;
  let a: Process;
  before(async () => {
    rig = await startRig();
  });
  after(() => rig.close());
  beforeEach(() => {
    a = rig.process();
    rig.clock.now = new Date('2026-05-29T12:00:00Z');
  });

  /** The rule that stands against another call, or undefined once it is held. */
  async function refusing(customer: TestCustomer, terms = rate()): Promise<string | undefined> {
    try {
      await a.billing.hold(await rig.call(customer, terms));
      return undefined;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return error.code === 'spend_control_exceeded'
        ? error.details?.map(({ path }) => path).join()
        : error.code;
    }
  }
  const ended = async (call: Awaited<ReturnType<Rig['call']>>, ms: number): Promise<void> => {
    a.billing.ended(call, { answeredAt: rig.clock.now, endedAt: rig.at(ms) });
    await a.billing.tick();
  };

  it('count what is held and what was charged, and give back what was not used', async () => {
    const customer = await rig.customer('100', { daily: '1.20' });
    const first = await rig.call(customer);
    await a.billing.hold(first);
    expect(await refusing(customer)).to.equal(undefined);
    expect(await refusing(customer)).to.equal('spend.daily');
    await ended(first, 10_000);
    expect(await rig.balance(customer)).to.include({
      spentTodayMicros: 700_000n,
      spentThisMonthMicros: 700_000n,
    });
    expect(await refusing(customer)).to.equal('spend.daily');
    expect(await refusing(customer, rate({ priceMicros: 500_000n }))).to.equal(undefined);
    expect(await refusing(customer, rate({ priceMicros: 1n }))).to.equal('spend.daily');
  });

  it('are held by 50 calls at once', async () => {
    const customer = await rig.customer('100', { monthly: '3' });
    const b = rig.process({ db: rig.connect() });
    const calls = await Promise.all(Array.from({ length: 50 }, () => rig.call(customer)));
    const held = await Promise.all(
      calls.map((call, n) =>
        (n % 2 ? a : b).billing.hold(call).then(
          () => true,
          () => false,
        ),
      ),
    );
    expect(held.filter(Boolean)).to.have.length(5);
    expect(await rig.balance(customer)).to.include({ heldMicros: 3n * EUR, spentThisMonthMicros: 3n * EUR });
  });

  it('begin anew with the UTC day and the UTC month', async () => {
    const customer = await rig.customer('100', { daily: '0.60', monthly: '1.80' });
    rig.clock.now = new Date('2026-05-30T23:59:59.999Z');
    expect(await refusing(customer)).to.equal(undefined);
    expect(await refusing(customer)).to.equal('spend.daily');
    rig.clock.now = new Date('2026-05-31T00:00:00.000Z');
    expect(await refusing(customer)).to.equal(undefined);
    expect(await rig.balance(customer)).to.include({
      spentTodayMicros: 600_000n,
      spentThisMonthMicros: 1_200_000n,
    });
    customer.spend = { monthly: '1.80' };
    expect(await refusing(customer)).to.equal(undefined);
    expect(await refusing(customer)).to.equal('spend.monthly');
    rig.clock.now = new Date('2026-06-01T00:00:00.000Z');
    expect(await rig.balance(customer)).to.include({ spentTodayMicros: 0n, spentThisMonthMicros: 0n });
    expect(await refusing(customer)).to.equal(undefined);
  });

  it('get nothing back from a call of yesterday, but the month does', async () => {
    const customer = await rig.customer('100', { daily: '0.60' });
    const yesterday = await rig.call(customer);
    await a.billing.hold(yesterday);
    rig.clock.now = new Date('2026-05-30T00:00:10.000Z');
    expect(await refusing(customer)).to.equal(undefined);
    await ended(yesterday, 10_000);
    expect(await rig.balance(customer)).to.include({
      spentTodayMicros: 600_000n,
      spentThisMonthMicros: 700_000n,
    });
  });

  it('count the parts of a call that lasts past midnight in the day they were held in', async () => {
    const customer = await rig.customer('100', { daily: '0.60' });
    rig.clock.now = new Date('2026-05-29T23:59:30.000Z');
    const answeredAt = rig.clock.now;
    const call = await rig.call(customer);
    await a.billing.hold(call);
    a.billing.answered(call, answeredAt);
    await rig.pass(29_000, [a], 1000);
    expect(await refusing(customer)).to.equal('spend.daily');
    await rig.pass(61_000, [a], 1000);
    expect(a.exhausted).to.deep.equal([]);
    expect(await rig.balance(customer)).to.include({
      heldMicros: 1_200_000n,
      spentTodayMicros: 600_000n,
      spentThisMonthMicros: 1_200_000n,
    });
    a.billing.ended(call, { answeredAt, endedAt: rig.clock.now });
    await a.billing.tick();
    expect(await rig.balance(customer)).to.include({
      heldMicros: 0n,
      spentTodayMicros: 300_000n,
      spentThisMonthMicros: 900_000n,
    });
  });

  it('do not count what inbound calls cost', async () => {
    const customer = await rig.customer('100', { daily: '0.10' });
    expect(await refusing(customer, rate({ direction: 'inbound' }))).to.equal(undefined);
    expect(await rig.balance(customer)).to.include({ spentTodayMicros: 0n, heldMicros: 600_000n });
  });

  it('are named before the balance when both are too low', async () => {
    expect(await refusing(await rig.customer('0.10', { daily: '0.10' }))).to.equal('spend.daily');
    expect(await refusing(await rig.customer('0.10', { daily: '10' }))).to.equal('insufficient_balance');
  });
});

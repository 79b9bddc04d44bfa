import { expect } from 'chai';
import { ApiError } from '../../../control/lib/errors.ts';
import { EUR, rate, startRig, type Process, type Rig } from './rig.ts';

const codeOf = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: unknown) => (error instanceof ApiError ? error.code : String(error)),
  );

describe('money for calls', () => {
  let rig: Rig;
  let a: Process;
  before(async () => {
    rig = await startRig();
  });
  after(() => rig.close());
  beforeEach(() => {
    a = rig.process();
  });

  /** Sums are zero, balances are what the transfers say. */
  async function expectSound(customer: { id: string; currency: string; spend: object }): Promise<void> {
    const { stored, transferred } = await rig.accounts(customer);
    expect(stored).to.deep.equal(transferred);
    expect(Object.values(stored).reduce((sum, n) => sum + n, 0n)).to.equal(0n);
  }

  const costOf = async (callId: string): Promise<unknown> =>
    (await rig.db('calls').where({ id: callId }).first('cost_micros', 'cost_currency')) as unknown;

  it('holds the fee and a minute, charges what was used, and gives the rest back', async () => {
    const customer = await rig.customer('10');
    const call = await rig.call(customer, rate({ feeMicros: 50_000n }));
    await a.billing.hold(call);
    expect(await rig.balance(customer)).to.include({ availableMicros: 9_350_000n, heldMicros: 650_000n });
    a.billing.answered(call, rig.clock.now);
    a.billing.ended(call, { answeredAt: rig.clock.now, endedAt: rig.at(10_001) });
    await a.billing.tick();
    expect(await rig.balance(customer)).to.include({
      availableMicros: 10n * EUR - 160_000n,
      heldMicros: 0n,
      spentTodayMicros: 160_000n,
    });
    expect(await costOf(call.callId)).to.deep.equal({ cost_micros: 160_000, cost_currency: 'EUR' });
    const story = (await rig.db('call_timeline').where({ call_id: call.callId })) as {
      kind: string;
      detail: string;
    }[];
    expect(story.map(({ kind, detail }) => [kind, JSON.parse(detail)])).to.deep.equal([
      ['billing.settled', { leg: 0, amount: '0.16', currency: 'EUR', billsec_seconds: 11 }],
    ]);
    await expectSound(customer);
  });

  it('costs nothing when it was not answered, even when the call is nowhere stored', async () => {
    const customer = await rig.customer('1');
    const call = { ...(await rig.call(customer)), callId: rig.ids.next('call') };
    await a.billing.hold(call);
    a.billing.ended(call, { endedAt: rig.at(5000) });
    await a.billing.tick();
    expect(await rig.balance(customer)).to.include({
      availableMicros: EUR,
      heldMicros: 0n,
      spentTodayMicros: 0n,
    });
    await expectSound(customer);
  });

  it('costs nothing when its answer is taken back, although that is stored already', async () => {
    const customer = await rig.customer('1');
    const call = await rig.call(customer);
    await a.billing.hold(call);
    a.billing.answered(call, rig.clock.now);
    await rig.pass(2000, [a]);
    expect(await rig.db('holds').where({ call_id: call.callId }).first('answered_at')).to.deep.include({
      answered_at: rig.at(-2000),
    });
    a.billing.ended(call, { endedAt: rig.clock.now, neverAnswered: true });
    await a.billing.tick();
    expect(await rig.balance(customer)).to.include({
      availableMicros: EUR,
      heldMicros: 0n,
      spentTodayMicros: 0n,
    });
    expect(await costOf(call.callId)).to.include({ cost_micros: 0 });
    await expectSound(customer);
  });

  it('is settled once, however often the end is told and by whom', async () => {
    const customer = await rig.customer('10');
    const b = rig.process();
    const call = await rig.call(customer);
    await a.billing.hold(call);
    const times = { answeredAt: rig.clock.now, endedAt: rig.at(30_000) };
    for (const { billing } of [a, b, a, b]) billing.ended(call, times);
    await Promise.all([a.billing.tick(), b.billing.tick()]);
    a.billing.ended(call, { ...times, endedAt: rig.at(60_000) });
    await a.billing.tick();
    expect(await rig.balance(customer)).to.include({ availableMicros: 9_700_000n, heldMicros: 0n });
    expect(await costOf(call.callId)).to.include({ cost_micros: 300_000 });
    await expectSound(customer);
  });

  it('waits with a charge until the call is stored', async () => {
    const customer = await rig.customer('10');
    const call = { ...(await rig.call(customer)), callId: rig.ids.next('call') };
    await a.billing.hold(call);
    a.billing.ended(call, { answeredAt: rig.clock.now, endedAt: rig.at(30_000) });
    await rig.pass(2000, [a]);
    expect(await rig.balance(customer)).to.include({ heldMicros: 600_000n });
    await rig.store(call.callId, customer.id);
    await rig.pass(6000, [a]);
    expect(await rig.balance(customer)).to.include({ availableMicros: 9_700_000n, heldMicros: 0n });
    expect(await costOf(call.callId)).to.include({ cost_micros: 300_000 });
  });

  it('is held again before it runs out, for as long as the call lasts', async () => {
    const customer = await rig.customer('10');
    const call = await rig.call(customer);
    await a.billing.hold(call);
    a.billing.answered(call, rig.clock.now);
    const answeredAt = rig.clock.now;
    await rig.pass(39_000, [a]);
    expect(await rig.balance(customer)).to.include({ heldMicros: 600_000n });
    await rig.pass(3000, [a]);
    expect(await rig.balance(customer)).to.include({ heldMicros: 1_200_000n });
    await rig.pass(150_000, [a], 1000);
    expect(await rig.balance(customer)).to.include({ heldMicros: 2_400_000n });
    a.billing.ended(call, { answeredAt, endedAt: rig.clock.now });
    await a.billing.tick();
    expect(await rig.balance(customer)).to.include({
      availableMicros: 10n * EUR - 1_920_000n,
      heldMicros: 0n,
    });
    expect(a.exhausted).to.deep.equal([]);
    expect(a.warnings).to.deep.equal([]);
    await expectSound(customer);
  });

  it('runs out to the second: the last of the balance is used, the call is warned, and told to end in time', async () => {
    const customer = await rig.customer('0.85');
    const call = await rig.call(customer);
    await a.billing.hold(call);
    const answeredAt = rig.clock.now;
    a.billing.answered(call, answeredAt);
    await rig.pass(45_000, [a]);
    const endsAt = new Date(answeredAt.getTime() + 85_000).toISOString().replace('.000', '');
    expect(a.warnings).to.deep.equal([
      {
        callId: call.callId,
        leg: 0,
        code: 'insufficient_balance',
        message: 'the balance does not cover more of this call',
        ends_at: endsAt,
      },
    ]);
    expect(a.exhausted).to.deep.equal([]);
    await rig.pass(39_000, [a]);
    expect(a.exhausted).to.deep.equal([]);
    await rig.pass(600, [a]);
    expect(a.exhausted).to.deep.equal([{ callId: call.callId, leg: 0, why: 'insufficient_balance' }]);
    a.billing.ended(call, { answeredAt, endedAt: rig.at(150) });
    await rig.pass(1000, [a]);
    expect(await rig.balance(customer)).to.include({ availableMicros: 0n, heldMicros: 0n });
    expect(await costOf(call.callId)).to.include({ cost_micros: 850_000 });
    expect(a.warnings).to.have.length(1);
    expect(a.exhausted).to.have.length(1);
    await expectSound(customer);
  });

  it('is not told to end when it ends while more is being held for it', async () => {
    const customer = await rig.customer('10');
    const b = rig.process();
    const call = await rig.call(customer, rate(), 1);
    await a.billing.hold(call);
    const answeredAt = rig.clock.now;
    a.billing.answered(call, answeredAt);
    await a.billing.tick();
    rig.clock.now = rig.at(45_000);
    // As if the settlement overtook the extension: it finds a hold that is resolved.
    b.billing.ended(call, { answeredAt, endedAt: rig.clock.now });
    await b.billing.tick();
    const extending = a.billing.tick();
    a.billing.ended(call, { answeredAt, endedAt: rig.clock.now });
    await extending;
    expect(a.exhausted).to.deep.equal([]);
    expect(await rig.balance(customer)).to.include({ availableMicros: 9_550_000n, heldMicros: 0n });
  });

  it('goes on when somebody pays in before the end', async () => {
    const customer = await rig.customer('0.60');
    const call = await rig.call(customer);
    await a.billing.hold(call);
    a.billing.answered(call, rig.clock.now);
    await rig.pass(50_000, [a]);
    expect(a.warnings).to.have.length(1);
    await rig.service.credit(customer.id, { amountMicros: EUR });
    await rig.pass(15_000, [a]);
    expect(a.exhausted).to.deep.equal([]);
    expect(await rig.balance(customer)).to.include({ availableMicros: 400_000n, heldMicros: 1_200_000n });
  });

  it('takes what a call has cost beyond the hold from what is left, never below zero, and says what is missing', async () => {
    const customer = await rig.customer('1');
    const [long, longer] = [
      await rig.call(customer),
      await rig.call(customer, rate({ priceMicros: 60_000n })),
    ];
    await a.billing.hold(long);
    await a.billing.hold(longer);
    a.billing.ended(longer, { answeredAt: rig.clock.now, endedAt: rig.at(70_000) });
    await a.billing.tick();
    expect(await rig.balance(customer)).to.include({
      availableMicros: 330_000n,
      heldMicros: 600_000n,
      spentTodayMicros: 670_000n,
    });
    a.billing.ended(long, { answeredAt: rig.clock.now, endedAt: rig.at(3_600_000) });
    await a.billing.tick();
    expect(await rig.balance(customer)).to.include({
      availableMicros: 0n,
      heldMicros: 0n,
      spentTodayMicros: EUR,
    });
    const hold = (await rig.db('holds').where({ call_id: long.callId }).first()) as {
      charged_micros: number;
      unpaid_micros: number;
    };
    expect(hold).to.include({ charged_micros: 930_000, unpaid_micros: 36_000_000 - 930_000 });
    await expectSound(customer);
  });

  it('is refused when there is not enough, and to the micro-unit', async () => {
    const customer = await rig.customer(599_999n);
    expect(await codeOf(a.billing.hold(await rig.call(customer)))).to.equal('insufficient_balance');
    await rig.service.credit(customer.id, { amountMicros: 1n });
    expect(await codeOf(a.billing.hold(await rig.call(customer)))).to.equal('done');
    const nobody = await rig.customer('0');
    expect(await codeOf(a.billing.hold(await rig.call(nobody)))).to.equal('insufficient_balance');
    expect(await codeOf(a.billing.hold(await rig.call(nobody, rate({ priceMicros: 0n }))))).to.equal('done');
  });

  it('is enough for exactly one of 50 calls that come at once over two processes', async () => {
    const customer = await rig.customer('0.60');
    const b = rig.process({ db: rig.connect() });
    const calls = await Promise.all(Array.from({ length: 50 }, () => rig.call(customer)));
    const codes = await Promise.all(calls.map((call, n) => codeOf((n % 2 ? a : b).billing.hold(call))));
    expect(codes.filter((code) => code === 'done')).to.have.length(1);
    expect(codes.filter((code) => code === 'insufficient_balance')).to.have.length(49);
    expect(await rig.balance(customer)).to.include({ availableMicros: 0n, heldMicros: 600_000n });
    await expectSound(customer);
  });
});

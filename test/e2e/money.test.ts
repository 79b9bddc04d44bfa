import { expect } from 'chai';
import { nothingLeft } from './leftovers.ts';
import { charge, micros, Payer, refusalOf, type CallRecord, type Price } from './payer.ts';
import { done, freshNumber, rateFor, timeline, until, type Json } from './platform.ts';
import { SecondControl } from './second-control.ts';

const TALK = { actions: [{ pause: { seconds: 60 } }] };

/** Prices in which every field counts; what comes to less than a micro-unit is rounded up. */
const PRICES: [what: string, price: Price][] = [
  ['by the second', { price_per_minute: '0.60' }],
  [
    'with a fee, a minimum and increments that do not divide it',
    { price_per_minute: '0.0777', connection_fee: '0.013', minimum_seconds: 10, increment_seconds: 7 },
  ],
  ['with fractions of a micro-unit', { price_per_minute: '0.000001', connection_fee: '0.000001' }],
  ['by the minute', { price_per_minute: '0.10', minimum_seconds: 60, increment_seconds: 60 }],
  ['with nothing but a fee', { price_per_minute: '0', connection_fee: '0.05' }],
];

describe('the money of a call', function () {
  this.timeout(30_000);
  /** Holds two seconds at a time, so that a balance is soon used up. */
  let quick: SecondControl;
  let own: Payer | undefined;

  before(async () => {
    quick = await SecondControl.start(1, { HOLD_SECONDS: '2' });
  });
  after(async () => {
    await nothingLeft();
    await quick.end();
  });
  afterEach(async () => {
    await own?.close();
    own = undefined;
  });

  const open = async (options: Parameters<typeof Payer.open>[0] = {}): Promise<Payer> =>
    (own = await Payer.open(options));
  /** Of a call of this customer, until it is asked for something else. */
  async function heldFor(payer: Payer, to: string): Promise<bigint> {
    const { id } = await payer.place({ to });
    const { held } = await payer.balance();
    await payer.hangUp(id);
    await payer.settled(id);
    return held;
  }

  for (const [what, price] of PRICES) {
    it(`an answered call costs what its rate says, ${what}: held before, charged after, to the micro-unit`, async () => {
      const payer = await open({ price });
      const { id } = await payer.place(TALK);
      const before = await payer.balance();
      expect(before.held).to.equal(charge(price, 60));
      expect(before.available).to.equal(10_000_000n - before.held);
      const far = await payer.carrier.incoming();
      far.answer();
      await payer.when(id, 'in_progress');
      await far.hangup();
      const record = await payer.settled(id);
      const cost = charge(price, record.billsec_seconds);
      expect(micros(record.cost_amount)).to.equal(cost);
      expect(await payer.books()).to.deep.equal({
        available: 10_000_000n - cost,
        revenue: cost,
        legs: { [`${id}/0`]: cost },
      });
      expect((await done('GET', '/v1/usage', undefined, payer.key)).summary).to.deep.equal({
        calls: 1,
        billsec_seconds: record.billsec_seconds,
        cost_amount: record.cost_amount,
        cost_currency: 'EUR',
      });
      expect(
        (await timeline(id, payer.key))
          .filter(({ kind }) => kind.startsWith('billing.'))
          .map(({ kind }) => kind),
      ).to.deep.equal(['billing.settled']);
    });
  }

  it('a call that is not answered costs nothing, its fee included', async () => {
    const payer = await open({
      price: { price_per_minute: '0.60', connection_fee: '1.00' },
      manner: { refuse: 486 },
    });
    const { id } = await payer.place();
    expect(await payer.settled(id)).to.include({ status: 'failed', cost_amount: '0.00' });
    expect(await payer.books()).to.deep.equal({
      available: 10_000_000n,
      revenue: 0n,
      legs: { [`${id}/0`]: 0n },
    });
  });

  it('a price of zero needs no balance', async () => {
    const payer = await open({ price: { price_per_minute: '0' }, credit: '0', manner: 'answer' });
    const { id } = await payer.place({ actions: [{ hangup: {} }] });
    expect(await payer.settled(id)).to.include({ status: 'completed', cost_amount: '0.00' });
    expect(await payer.books()).to.deep.equal({ available: 0n, revenue: 0n, legs: {} });
  });

  describe('when the balance is used up', () => {
    /** In progress at the process that holds little at a time. */
    async function talking(
      options: Parameters<typeof Payer.open>[0],
    ): Promise<{ payer: Payer; call: CallRecord; warned: () => Promise<Json> }> {
      const payer = await open({ at: quick, manner: 'answer', ...options });
      const call = await payer.place(TALK);
      expect(call.id.at(-3), 'its process').to.equal('1');
      return {
        payer,
        call,
        warned: () =>
          until(
            async () => (await timeline(call.id, payer.key)).find(({ kind }) => kind === 'billing.warning'),
            'a warning',
          ),
      };
    }

    it('the call goes on as long as it is paid for, is warned, and ends failed, insufficient_balance', async () => {
      const { payer, call, warned } = await talking({ credit: '0.05' });
      expect(await warned())
        .to.include({ code: 'insufficient_balance' })
        .and.to.have.property('ends_at');
      expect(await (await payer.carrier.incoming()).ended()).to.include({ by: 'remote', how: 'bye' });
      const record = await payer.settled(call.id);
      expect(record).to.include({ status: 'failed', billsec_seconds: 5, cost_amount: '0.05' });
      expect(record.failure).to.include({ code: 'insufficient_balance' });
      expect(record.hangup).to.include({ by: 'platform' });
      expect((await payer.server.webhook(call.id, 'call.failed')).data).to.include({
        code: 'insufficient_balance',
      });
      expect(await payer.books()).to.include({ available: 0n, revenue: 50_000n });
    });

    it('whoever pays in after the warning talks on', async () => {
      const { payer, call, warned } = await talking({ credit: '0.03' });
      await warned();
      await payer.credit('1.00');
      await until(async () => (await payer.balance()).held > 30_000n, 'more to be held');
      await (await payer.carrier.incoming()).hangup();
      const record = await payer.settled(call.id);
      expect(record).to.include({ status: 'completed' });
      expect(micros(record.cost_amount)).to.equal(
        charge({ price_per_minute: '0.60' }, record.billsec_seconds),
      );
    });

    it('by a cap of the day: limit_reached', async () => {
      const { payer, call, warned } = await talking({ customer: { spend: { daily: '0.03' } } });
      expect(await warned()).to.include({ code: 'spend_control_exceeded' });
      const record = await payer.settled(call.id);
      expect(record).to.include({ status: 'failed', cost_amount: '0.03' });
      expect(record.failure).to.include({ code: 'limit_reached' });
      expect((await payer.balance()).json).to.have.nested.property('spend.daily.spent_amount', '0.03');
    });
  });

  describe('at which rate', () => {
    it("the customer's own before the default table's, even where that has a longer prefix", async () => {
      const payer = await open();
      await rateFor('+8811', '9.00');
      expect(await heldFor(payer, '+881155512')).to.equal(9_000_000n);
      await payer.rate({ prefix: '+88', price_per_minute: '0.06' });
      expect(await heldFor(payer, '+881155512')).to.equal(60_000n);
    });

    it('of overlapping prefixes the longest that is active and valid', async () => {
      const payer = await open();
      await payer.rate({ prefix: '+8812', price_per_minute: '0.12' });
      await payer.rate({ prefix: '+88123', price_per_minute: '0.24' });
      await payer.rate({ prefix: '+881234', price_per_minute: '5.00', is_active: false });
      await payer.rate({ prefix: '+881234', price_per_minute: '6.00', valid_from: '2999-01-01T00:00:00Z' });
      const { id } = await payer.rate({ prefix: '+8812345', price_per_minute: '0.48' });
      expect(await heldFor(payer, '+88129555')).to.equal(120_000n);
      expect(await heldFor(payer, '+88123455')).to.equal(480_000n);
      await done('PATCH', `/admin/v1/rates/${String(id)}`, { is_active: false });
      expect(await heldFor(payer, '+88123455')).to.equal(240_000n);
    });

    it('in the currency of the customer alone', async () => {
      const payer = await open({ customer: { currency: 'USD' }, manner: 'answer' });
      expect(refusalOf(await payer.post({ to: '+4930123456' })), 'a default rate in EUR').to.deep.equal([
        400,
        'rate_not_found',
      ]);
      const { id } = await payer.place({ actions: [{ hangup: {} }] });
      expect(await payer.settled(id)).to.include({ cost_amount: '0.01', cost_currency: 'USD' });
      expect((await payer.balance()).json).to.include({ currency: 'USD', available_amount: '9.99' });
    });

    it('that was in force when it began', async () => {
      const payer = await open();
      const rate = await payer.rate({ prefix: '+8813', price_per_minute: '0.60' });
      const { id } = await payer.place({ to: '+881355512', ...TALK });
      const far = await payer.carrier.incoming();
      await done('PATCH', `/admin/v1/rates/${String(rate.id)}`, { price_per_minute: '60.00' });
      far.answer();
      await payer.when(id, 'in_progress');
      await far.hangup();
      const record = await payer.settled(id);
      expect(micros(record.cost_amount)).to.equal(
        charge({ price_per_minute: '0.60' }, record.billsec_seconds),
      );
      expect(refusalOf(await payer.post({ to: '+881355513' })), 'the next one').to.deep.equal([
        402,
        'insufficient_balance',
      ]);
    });
  });

  describe('with two control processes', () => {
    const spread = (payer: Payer, many: number) =>
      Promise.all(
        Array.from({ length: many }, (_, n) =>
          payer.post({ to: freshNumber() }, { at: n % 2 === 0 ? quick : undefined }),
        ),
      );

    it('a balance for one call, and fifty asked for at once: one call', async () => {
      // With such a minimum both hold the same.
      const price = {
        price_per_minute: '0.60',
        connection_fee: '0.05',
        minimum_seconds: 60,
        increment_seconds: 60,
      };
      const payer = await open({
        at: quick,
        credit: '0.65',
        price,
        customer: { limits: { cps: 1000, concurrent_calls: 1000 } },
      });
      const replies = await spread(payer, 50);
      const refused = replies.filter(({ status }) => status !== 201);
      expect(refused.map(refusalOf)).to.deep.equal(
        Array.from({ length: 49 }, () => [402, 'insufficient_balance']),
      );
      const id = String(replies.find(({ status }) => status === 201)?.body.id);
      expect(await payer.balance()).to.include({ available: 0n, held: 650_000n });
      (await payer.carrier.incoming()).answer();
      expect(await payer.settled(id)).to.include({ cost_amount: '0.65' });
      expect(await payer.books()).to.deep.equal({
        available: 0n,
        revenue: 650_000n,
        legs: { [`${id}/0`]: 650_000n },
      });
      expect(payer.carrier.received).to.have.length(1);
    });

    it('a limit of three at a time, and thirty asked for at once: three', async () => {
      const payer = await open({ at: quick, customer: { limits: { cps: 1000, concurrent_calls: 3 } } });
      const replies = await spread(payer, 30);
      expect(replies.filter(({ status }) => status === 201)).to.have.length(3);
      const refused = replies.filter(({ status }) => status !== 201);
      expect(refused.map(refusalOf)).to.deep.equal(
        Array.from({ length: 27 }, () => [429, 'concurrent_call_limit_reached']),
      );
      for (const { headers } of refused) expect(Number(headers.get('retry-after'))).to.be.at.least(1);
      expect(await payer.calls()).to.have.length(3);
      for (const { id } of await payer.calls()) await payer.hangUp(id);
      await until(async () => (await payer.post()).status === 201, 'a place to be free');
    });
  });
});

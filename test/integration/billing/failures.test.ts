import { expect } from 'chai';
import { ApiError } from '../../../control/lib/errors.ts';
import { Line } from '../../support/line.ts';
import { EUR, rate, startRig, type Process, type Rig, type TestCustomer } from './rig.ts';

describe('money for calls, when something breaks', () => {
  let rig: Rig;
  let line: Line;
  let port: number;
  let a: Process;
  let customer: TestCustomer;
  before(async () => {
    rig = await startRig();
    line = new Line(Number(new URL(rig.url).port));
    port = await line.listen();
  });
  after(async () => {
    line.close();
    await rig.close();
  });
  beforeEach(async () => {
    line.cut = false;
    const url = new URL(rig.url);
    url.host = `127.0.0.1:${port}`;
    a = rig.process({ db: rig.connect(url.href) });
    customer = await rig.customer('10');
  });

  const answeredCall = async (process = a) => {
    const call = await rig.call(customer);
    await process.billing.hold(call);
    const answeredAt = rig.clock.now;
    process.billing.answered(call, answeredAt);
    await process.billing.tick();
    return { ...call, answeredAt };
  };
  const endRow = (callId: string, answeredAt: Date | undefined, endedAt: Date) =>
    rig.db('calls').where({ id: callId }).update({ answered_at: answeredAt, ended_at: endedAt });
  const openHolds = async (): Promise<number> =>
    (await rig.db('holds').where({ customer_id: customer.id, status: 'open' })).length;
  const refusal = async (work: Promise<unknown>): Promise<ApiError> =>
    work.then(
      () => expect.fail('it was not refused'),
      (error: unknown) => {
        if (!(error instanceof ApiError)) throw error;
        return error;
      },
    );

  describe('the database', () => {
    it('being away refuses new calls with 503 and when to come back, and leaves nothing held', async () => {
      line.drop();
      const error = await refusal(a.billing.hold(await rig.call(customer)));
      expect([error.code, error.status, error.retryAfter]).to.deep.equal(['service_unavailable', 503, 1]);
      line.cut = false;
      await rig.pass(2000, [a]);
      expect(a.billing.counters).to.deep.equal({ running: 0, unsettled: 0 });
      expect(await rig.balance(customer)).to.include({ availableMicros: 10n * EUR, heldMicros: 0n });
    });

    it('hanging refuses new calls all the same, and what it then does late is given back', async () => {
      const url = new URL(rig.url);
      url.host = `127.0.0.1:${port}`;
      const impatient = rig.process({ db: rig.connect(url.href), patienceMs: 50 });
      const call = await rig.call(customer);
      line.hang();
      expect((await refusal(impatient.billing.hold(call))).code).to.equal('service_unavailable');
      line.goOn();
      while ((await rig.db('holds').where({ call_id: call.callId }).first('status'))?.status !== 'resolved')
        await impatient.billing.tick();
      expect(await rig.balance(customer)).to.include({ availableMicros: 10n * EUR, heldMicros: 0n });
    });

    it('committing a hold without our hearing of it refuses the call, and the hold is given back', async () => {
      const call = await rig.call(customer);
      line.loseReplyTo('COMMIT');
      expect((await refusal(a.billing.hold(call))).code).to.equal('service_unavailable');
      await rig.pass(2000, [a]);
      expect(
        await rig.db('holds').where({ call_id: call.callId }).first('status', 'charged_micros'),
      ).to.deep.equal({ status: 'resolved', charged_micros: 0 });
      expect(await rig.balance(customer)).to.include({ availableMicros: 10n * EUR, heldMicros: 0n });
    });

    it('committing an extension without our hearing of it does not end the call, and holds once', async () => {
      const call = await answeredCall();
      await rig.pass(39_000, [a], 1000);
      line.loseReplyTo('COMMIT');
      await rig.pass(10_000, [a], 500);
      expect(await rig.balance(customer)).to.include({ heldMicros: 1_200_000n });
      await rig.pass(60_000, [a], 500);
      expect(a.exhausted).to.deep.equal([]);
      a.billing.ended(call, { answeredAt: call.answeredAt, endedAt: rig.clock.now });
      await a.billing.tick();
      expect(await rig.balance(customer)).to.include({
        availableMicros: 10n * EUR - 1_090_000n,
        heldMicros: 0n,
      });
    });

    it('committing a settlement without our hearing of it charges once', async () => {
      const call = await answeredCall();
      line.loseReplyTo('COMMIT');
      a.billing.ended(call, { answeredAt: call.answeredAt, endedAt: rig.at(30_000) });
      await rig.pass(2000, [a]);
      expect(a.billing.counters.unsettled).to.equal(0);
      expect(await rig.balance(customer)).to.include({ availableMicros: 9_700_000n, heldMicros: 0n });
      expect(await rig.db('calls').where({ id: call.callId }).first('cost_micros')).to.deep.equal({
        cost_micros: 300_000,
      });
    });

    it('may be away for a while without a call noticing', async () => {
      const call = await answeredCall();
      await rig.pass(38_000, [a], 1000);
      line.drop();
      await rig.pass(15_000, [a], 1000);
      expect(a.warnings.map(({ code }) => code)).to.deep.equal(['service_unavailable']);
      line.cut = false;
      await rig.pass(60_000, [a], 1000);
      expect(a.exhausted).to.deep.equal([]);
      a.billing.ended(call, { answeredAt: call.answeredAt, endedAt: rig.clock.now });
      await a.billing.tick();
      expect(await rig.balance(customer)).to.include({
        availableMicros: 10n * EUR - 1_130_000n,
        heldMicros: 0n,
      });
    });

    it('being away for longer than was paid for ends the call: none is free', async () => {
      const call = await answeredCall();
      line.drop();
      await rig.pass(59_600, [a], 200);
      expect(a.exhausted).to.deep.equal([{ callId: call.callId, leg: 0, why: 'service_unavailable' }]);
      a.billing.ended(call, { answeredAt: call.answeredAt, endedAt: rig.clock.now });
      await rig.pass(30_000, [a], 1000);
      expect(a.billing.counters.unsettled).to.equal(1);
      line.cut = false;
      await rig.pass(10_000, [a], 1000);
      expect(await rig.balance(customer)).to.include({ availableMicros: 9_400_000n, heldMicros: 0n });
    });
  });

  describe('a process that dies', () => {
    it('between hold and answer leaves a hold that is given back when the call is known to have ended', async () => {
      const call = await rig.call(customer);
      await a.billing.hold(call);
      const b = rig.process();
      await endRow(call.callId, undefined, rig.clock.now);
      await rig.pass(9000, []);
      await b.billing.sweep();
      expect(await openHolds()).to.equal(1);
      await rig.pass(2000, []);
      await b.billing.sweep();
      expect(await rig.balance(customer)).to.include({ availableMicros: 10n * EUR, heldMicros: 0n });
    });

    it('before its call is stored leaves a hold that is given back after two minutes', async () => {
      const call = { ...(await rig.call(customer)), callId: rig.ids.next('call') };
      await a.billing.hold(call);
      const b = rig.process();
      await rig.pass(119_000, [], 1000);
      await b.billing.sweep();
      expect(await openHolds()).to.equal(1);
      await rig.pass(2000, [], 1000);
      await a.billing.sweep();
      expect(await openHolds(), 'its own process looks after it').to.equal(1);
      await b.billing.sweep();
      expect(await openHolds()).to.equal(0);
      expect(await rig.balance(customer)).to.include({ availableMicros: 10n * EUR });
    });

    it('before its call is stored leaves a hold that its next life gives back at once, and nobody else', async () => {
      const call = { ...(await rig.call(customer)), callId: rig.ids.next('call') };
      const [stored, inbound] = [
        await rig.call(customer),
        { ...(await rig.call(customer, rate({ direction: 'inbound' }))), callId: rig.ids.next('call') },
      ];
      for (const one of [call, stored, inbound]) await a.billing.hold(one);
      await rig.pass(1, []);
      await rig.process().billing.recover(1);
      expect(await openHolds(), 'another process').to.equal(3);
      const next = rig.process().billing;
      await next.recover(0);
      await next.tick();
      expect(
        await rig.db('holds').where({ customer_id: customer.id, status: 'open' }).pluck('call_id'),
      ).to.have.members([stored.callId, inbound.callId]);
    });

    it('between hang-up and settlement leaves a charge that another one writes, to the micro-unit and once', async () => {
      const call = await answeredCall();
      const b = rig.process();
      const c = rig.process();
      await endRow(call.callId, call.answeredAt, rig.at(33_333));
      await rig.pass(60_000, [], 1000);
      await Promise.all([b.billing.sweep(), c.billing.sweep()]);
      await Promise.all([b.billing.sweep(), c.billing.sweep()]);
      expect(await rig.balance(customer)).to.include({
        availableMicros: 10n * EUR - 340_000n,
        heldMicros: 0n,
      });
      expect(await rig.db('calls').where({ id: call.callId }).first('cost_micros')).to.deep.equal({
        cost_micros: 340_000,
      });
    });

    it('during the call is followed by one that goes on from there', async () => {
      const call = await answeredCall();
      await rig.pass(30_000, [a], 1000);
      const b = rig.process();
      await b.billing.adopt(call.callId);
      await rig.pass(100_000, [b], 1000);
      expect(b.exhausted).to.deep.equal([]);
      b.billing.ended(call, { endedAt: rig.clock.now });
      await b.billing.tick();
      expect(await rig.balance(customer)).to.include({
        availableMicros: 10n * EUR - 1_300_000n,
        heldMicros: 0n,
      });
    });

    it('for longer than was paid for is followed by one that pays for that too, where there is money', async () => {
      const call = await answeredCall();
      await rig.pass(110_000, []);
      const b = rig.process();
      await b.billing.adopt(call.callId);
      await rig.pass(50_000, [b], 500);
      expect(b.exhausted).to.deep.equal([]);
      expect(await rig.balance(customer)).to.include({
        availableMicros: 10n * EUR - 2_320_000n,
        heldMicros: 2_320_000n,
      });
      b.billing.ended(call, { endedAt: rig.clock.now });
      await b.billing.tick();
      expect(await rig.balance(customer)).to.include({
        availableMicros: 10n * EUR - 1_600_000n,
        heldMicros: 0n,
      });
    });

    it('is followed by one that holds nothing more for a call that is found to have ended meanwhile', async () => {
      const call = await answeredCall();
      await rig.pass(110_000, []);
      const b = rig.process();
      await b.billing.adopt(call.callId);
      await rig.pass(1500, [b], 500);
      b.billing.ended(call, { endedAt: rig.clock.now }, { atMostHeld: true });
      await b.billing.tick();
      expect(await rig.balance(customer)).to.include({
        availableMicros: 10n * EUR - 600_000n,
        heldMicros: 0n,
      });
    });

    it('for longer than can be paid for is followed by one that ends the call, and all there is has been used', async () => {
      customer = await rig.customer('0.80');
      const call = await answeredCall();
      await rig.pass(110_000, []);
      const b = rig.process();
      await b.billing.adopt(call.callId);
      await rig.pass(3000, [b], 200);
      expect(b.exhausted).to.deep.equal([{ callId: call.callId, leg: 0, why: 'insufficient_balance' }]);
      b.billing.ended(call, { endedAt: rig.clock.now });
      await b.billing.tick();
      expect(await rig.balance(customer)).to.include({ availableMicros: 0n, heldMicros: 0n });
    });

    it('is followed by one that does not wait for ever for the database to say whether the call can be paid for', async () => {
      const call = await answeredCall();
      await rig.pass(110_000, []);
      const b = rig.process();
      await b.billing.adopt(call.callId);
      const trx = await rig.db.transaction();
      await trx('accounts').where({ customer_id: customer.id }).forUpdate();
      for (let passed = 0; passed < 8000; passed += 1000) {
        void b.billing.tick();
        rig.clock.now = rig.at(1000);
      }
      void b.billing.tick();
      expect(b.exhausted).to.deep.equal([{ callId: call.callId, leg: 0, why: 'service_unavailable' }]);
      await trx.rollback();
      b.billing.ended(call, { endedAt: rig.clock.now });
      await rig.pass(1000, [b]);
      expect(await rig.balance(customer)).to.include({ heldMicros: 0n });
    });

    it('is followed by one that does not look after what has ended meanwhile', async () => {
      const call = await answeredCall();
      const b = rig.process();
      const adopting = b.billing.adopt(call.callId);
      b.billing.ended(call, { endedAt: rig.at(10_000) });
      await adopting;
      await b.billing.tick();
      expect(b.billing.counters).to.deep.equal({ running: 0, unsettled: 0 });
      expect(await rig.balance(customer)).to.include({ availableMicros: 9_900_000n, heldMicros: 0n });
    });

    it('while the call rang is followed by one that hears of the answer', async () => {
      const call = await rig.call(customer);
      await a.billing.hold(call);
      const b = rig.process();
      await b.billing.adopt(call.callId);
      const answeredAt = rig.clock.now;
      b.billing.answered(call, answeredAt);
      await rig.pass(45_000, [b], 1000);
      expect(await rig.balance(customer)).to.include({ heldMicros: 1_200_000n });
    });

    it('and is not followed in time leaves what was paid for, and a call that comes back after that has to end', async () => {
      const call = await answeredCall();
      const b = rig.process();
      await rig.pass(119_000, [], 1000);
      await b.billing.sweep();
      expect(await openHolds()).to.equal(1);
      await rig.pass(2000, [], 1000);
      await b.billing.sweep();
      expect(await rig.balance(customer)).to.include({ availableMicros: 9_400_000n, heldMicros: 0n });
      await b.billing.adopt(call.callId);
      // It may have ended meanwhile, which is found out first.
      await rig.pass(6500, [b], 500);
      expect(b.exhausted).to.deep.equal([]);
      await rig.pass(1000, [b], 500);
      expect(b.exhausted).to.deep.equal([{ callId: call.callId, leg: 0, why: 'service_unavailable' }]);
    });

    it("with a second leg leaves no more to pay for it than was held, since the leg's own end is not known", async () => {
      const call = await answeredCall();
      const second = { ...call, leg: 1, rate: rate({ priceMicros: 60_000n }) };
      await a.billing.hold(second);
      a.billing.answered(second, rig.clock.now);
      await a.billing.tick();
      const b = rig.process();
      await endRow(call.callId, call.answeredAt, rig.at(100_000));
      await rig.pass(111_000, [], 1000);
      await b.billing.sweep();
      expect(await rig.balance(customer)).to.include({
        availableMicros: 10n * EUR - 1_000_000n - 60_000n,
        heldMicros: 0n,
      });
      expect(await rig.db('calls').where({ id: call.callId }).first('cost_micros')).to.deep.equal({
        cost_micros: 1_060_000,
      });
    });
  });
});

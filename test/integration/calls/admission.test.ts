import { expect } from 'chai';
import type { Customer } from '../../../control/customers/schema.ts';
import { deferred } from '../../../control/lib/deferred.ts';
import type { ApiError } from '../../../control/lib/errors.ts';
import { Desk, NUMBER, RATES, refusal, until } from './desk.ts';
import { startRig, trunk, type ControlProcess, type Rig } from './rig.ts';

describe('what a call takes, it gives back', () => {
  let rig: Rig;
  let desk: Desk;
  let a: ControlProcess;
  let customer: Customer;
  before(async () => {
    rig = await startRig();
    desk = new Desk(rig);
    await rig.rates(...RATES);
  });
  after(() => rig.close());
  beforeEach(async () => {
    await rig.clear();
    a = await desk.started(1);
    customer = await rig.customer('10');
  });

  describe('when a later check refuses it', () => {
    it('calls at a time: the calls of this second stay to be used', async () => {
      customer = await rig.customer('10', { limits: { cps: 2, concurrentCalls: 1 } });
      const first = await desk.answeredCall(a, customer);
      for (let n = 0; n < 3; n++)
        expect((await refusal(a.place(customer, NUMBER))).code).to.equal('concurrent_call_limit_reached');
      expect(await desk.money(customer)).to.deep.equal({ available: '9.40', held: '0.60' });
      desk.lineOf(first).finish('caller', 'NORMAL_CLEARING');
      await a.quiet();
      await desk.answeredCall(a, customer);
      expect((await refusal(a.place(customer, NUMBER))).code).to.equal('cps_limit_reached');
    });

    it('no money: neither a place nor a call of this second is used', async () => {
      customer = await rig.customer('0.59', { limits: { cps: 1, concurrentCalls: 1 } });
      for (let n = 0; n < 3; n++)
        expect((await refusal(a.place(customer, NUMBER))).code).to.equal('insufficient_balance');
      await desk.expectNothingTaken(a);
      await rig.ledger.credit(customer.id, { amountMicros: 10_000n });
      await desk.answeredCall(a, customer);
      expect(await desk.money(customer)).to.deep.equal({ available: '0.00', held: '0.60' });
    });

    it('no media node: no money either, and the call is told of as failed', async () => {
      customer = await rig.customer('0.60', { limits: { cps: 1, concurrentCalls: 1 } });
      rig.node.refuses = 1;
      expect((await refusal(a.place(customer, NUMBER))).code).to.equal('originate_failed');
      await a.quiet();
      await desk.expectNothingTaken(a);
      expect(await rig.db('calls').select('status', 'failure_code')).to.deep.equal([
        { status: 'failed', failure_code: 'media_unavailable' },
      ]);
      expect(await desk.money(customer)).to.deep.equal({ available: '0.60', held: '0.00' });
      await desk.answeredCall(a, customer);
    });

    it('a database whose reply is lost: what it may have held is given back', async () => {
      customer = await rig.customer('0.60', { limits: { cps: 1, concurrentCalls: 1 } });
      a.line.loseReplyTo('COMMIT', 'INSERT INTO holds');
      expect((await refusal(a.place(customer, NUMBER))).code).to.equal('service_unavailable');
      await rig.pass(100, [a]);
      await desk.expectNothingTaken(a);
      await desk.answeredCall(a, customer);
    });

    it('a trunk whose calls are used up is passed over, and one with room is charged', async () => {
      rig.trunks = [trunk('trunk_1', { maxConcurrent: 1 }), trunk('trunk_2', { maxConcurrent: 1 })];
      const calls = [await desk.answeredCall(a, customer), await desk.answeredCall(a, customer)];
      expect(calls.map((call) => desk.lineOf(call).trunks)).to.deep.equal([
        ['trunk_1', 'trunk_2'],
        ['trunk_2'],
      ]);
      expect((await refusal(a.place(customer, NUMBER))).code).to.equal('concurrent_call_limit_reached');
      expect(await desk.money(customer)).to.deep.equal({ available: '8.80', held: '1.20' });
    });
  });

  it('balance for one call and fifty at once over two processes are one call', async () => {
    customer = await rig.customer('1.19');
    const b = await desk.started(2);
    const made = await Promise.allSettled(
      Array.from({ length: 50 }, (_, n) => (n % 2 ? a : b).place(customer, NUMBER)),
    );
    expect(made.filter(({ status }) => status === 'fulfilled')).to.have.length(1);
    for (const one of made)
      if (one.status === 'rejected') expect((one.reason as ApiError).code).to.equal('insufficient_balance');
    expect(rig.node.lines).to.have.length(1);
    expect(await desk.money(customer)).to.deep.equal({ available: '0.59', held: '0.60' });
  });

  describe('hung up through the API', () => {
    it('while a media node is asked for it, its channel is ended as soon as there is one, and nothing stays', async () => {
      const gate = deferred<void>();
      rig.node.gate = gate.promise;
      const placing = a.place(customer, NUMBER);
      await until(() => rig.node.asked === 1);
      const [call] = a.calls.live();
      await a.flows.get(call?.id ?? '')?.hangup();
      expect(call?.status).to.equal('canceled');
      gate.resolve();
      await placing;
      await a.quiet();
      expect(rig.node.lines.map(({ end }) => end?.cause)).to.deep.equal(['ORIGINATOR_CANCEL']);
      await desk.expectNothingTaken(a);
      expect(await desk.money(customer)).to.deep.equal({ available: '10.00', held: '0.00' });
    });
  });

  describe('when its process is killed', () => {
    it('between hold and row, there has been no call, and the next life gives the money back', async () => {
      a.killAt(0, false, /INSERT INTO calls/);
      expect(await a.place(customer, NUMBER)).to.equal(undefined);
      expect([await desk.money(customer), await rig.db('calls')]).to.deep.equal([
        { available: '9.40', held: '0.60' },
        [],
      ]);
      await rig.pass(1000, []);
      const b = await desk.started(1);
      expect(await desk.money(customer)).to.deep.equal({ available: '10.00', held: '0.00' });
      await rig.pass(40_000, [b]);
      await desk.expectNothingTaken(b);
    });

    it('between hold and row, and does not come back, another one gives the money back', async () => {
      const b = await desk.started(2);
      a.killAt(0, false, /INSERT INTO calls/);
      expect(await a.place(customer, NUMBER)).to.equal(undefined);
      await rig.pass(110_000, [b]);
      expect(await desk.money(customer)).to.deep.equal({ available: '9.40', held: '0.60' });
      await rig.pass(20_000, [b]);
      expect(await desk.money(customer)).to.deep.equal({ available: '10.00', held: '0.00' });
    });

    it('between row and originate, the call has failed', async () => {
      rig.node.gate = new Promise(() => undefined);
      const placing = a.place(customer, NUMBER);
      await until(() => rig.node.asked === 1);
      a.kill();
      expect(await placing).to.equal(undefined);
      const b = await desk.started(1);
      expect(await rig.db('calls').select('status', 'failure_code')).to.deep.equal([
        { status: 'failed', failure_code: 'internal_error' },
      ]);
      expect(rig.node.lines).to.deep.equal([]);
      expect(await desk.money(customer)).to.deep.equal({ available: '10.00', held: '0.00' });
      await desk.expectNothingTaken(b);
    });

    it('while it rings, the next life hears of the answer and charges from then on', async () => {
      const call = (await a.place(customer, NUMBER)) ?? expect.fail('it died');
      a.kill();
      desk.lineOf(call).answer();
      await rig.pass(5000, []);
      const b = await desk.started(1);
      await rig.pass(11_000, [b]);
      desk.lineOf(call).finish('caller', 'NORMAL_CLEARING');
      await b.quiet();
      expect(await desk.holds(call)).to.deep.equal([
        { leg: 0, status: 'resolved', billsec: 20, charged_micros: 200_000 },
      ]);
      await desk.expectNothingTaken(b);
    });

    it('right after the answer, the next life knows of it, and goes on paying', async () => {
      const call = (await a.place(customer, NUMBER)) ?? expect.fail('it died');
      desk.lineOf(call).answer();
      await until(() => call.status === 'in_progress');
      await a.journal.settled();
      a.kill();
      await rig.pass(10_000, []);
      const b = await desk.started(1);
      await rig.pass(40_000, [b]);
      expect(await desk.money(customer)).to.deep.equal({ available: '8.80', held: '1.20' });
    });

    it('between hang-up and settlement, the next life charges what was used', async () => {
      const call = await desk.answeredCall(a, customer);
      await rig.pass(33_000, [a]);
      a.killAt(0, false, /FROM `?holds`?|`holds`/);
      desk.lineOf(call).finish('caller', 'NORMAL_CLEARING');
      await until(() => !a.alive);
      await rig.db('calls').where({ id: call.id }).update({
        status: 'completed',
        ended_at: rig.now(),
        hangup_by: 'callee',
        hangup_cause: 'NORMAL_CLEARING',
      });
      await rig.pass(1000, []);
      const b = await desk.started(1);
      await rig.pass(20_000, [b]);
      expect(await desk.holds(call)).to.deep.equal([
        { leg: 0, status: 'resolved', billsec: 33, charged_micros: 330_000 },
      ]);
      expect(await desk.money(customer)).to.deep.equal({ available: '9.67', held: '0.00' });
    });
  });

  describe('a call that comes in', () => {
    it('and costs something is held for before it is answered, and charged', async () => {
      const call = desk.receive(a, customer, '+33123456789');
      await a.quiet();
      expect([call.status, await desk.money(customer)]).to.deep.equal([
        'in_progress',
        { available: '9.70', held: '0.30' },
      ]);
      await rig.pass(61_000, [a]);
      desk.lineOf(call).finish('caller', 'NORMAL_CLEARING');
      await a.quiet();
      await rig.pass(200, [a]);
      expect(await desk.money(customer)).to.deep.equal({ available: '9.695', held: '0.00' });
      await desk.expectNothingTaken(a);
    });

    it('and whose caller goes while money is held for it costs nothing', async () => {
      const trx = await rig.db.transaction();
      await trx('accounts').where({ customer_id: customer.id }).forUpdate();
      const call = desk.receive(a, customer, '+33123456789');
      await until(() => rig.node.lines[0]?.handle !== undefined);
      await new Promise((resolve) => setImmediate(resolve));
      desk.lineOf(call).finish('caller', 'ORIGINATOR_CANCEL', 487);
      await trx.rollback();
      await a.quiet();
      await rig.pass(500, [a]);
      expect([call.status, await desk.money(customer)]).to.deep.equal([
        'canceled',
        { available: '10.00', held: '0.00' },
      ]);
      await desk.expectNothingTaken(a);
    });

    it('and cannot be paid for is refused with 480', async () => {
      customer = await rig.customer('0.29');
      const call = desk.receive(a, customer, '+33123456789');
      await a.quiet();
      expect([call.status, call.failure?.code, desk.lineOf(call).end?.sipCode]).to.deep.equal([
        'failed',
        'insufficient_balance',
        480,
      ]);
      await desk.expectNothingTaken(a);
    });
  });
});

import { expect } from 'chai';
import type { Customer } from '../../../control/customers/schema.ts';
import { Desk, NUMBER, RATES, refusal, until } from './desk.ts';
import { startRig, type ControlProcess, type Rig } from './rig.ts';

describe('a second leg', () => {
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

  it('to a number is held and charged beside its call, and each is for itself', async () => {
    const call = await desk.answeredCall(a, customer);
    await rig.pass(10_000, [a]);
    const line = await desk.bridged(a, call);
    expect(await desk.money(customer)).to.deep.equal({ available: '8.80', held: '1.20' });
    await rig.pass(70_000, [a]);
    line.endLeg({ cause: 'NORMAL_CLEARING', endedBy: 'callee' });
    await a.quiet();
    expect(
      (await desk.holds(call)).map(({ billsec, charged_micros }) => [billsec, charged_micros]),
    ).to.deep.equal([
      [80, 800_000],
      [70, 700_000],
    ]);
    expect(await rig.db('calls').where({ id: call.id }).first('cost_micros')).to.deep.equal({
      cost_micros: 1_500_000,
    });
    await desk.expectNothingTaken(a);
  });

  it('that is not reached gives its place and its money back at once, and its call goes on', async () => {
    customer = await rig.customer('10', { limits: { cps: 10, concurrentCalls: 2 } });
    const call = await desk.answeredCall(a, customer);
    await desk.bridge(a, call);
    await a.quiet();
    expect((await refusal(a.place(customer, NUMBER))).code).to.equal('concurrent_call_limit_reached');
    desk.lineOf(call).endLeg({ cause: 'USER_BUSY', sipCode: 486 });
    await a.quiet();
    expect([a.limits.counters.held, await desk.money(customer)]).to.deep.equal([
      1,
      { available: '9.40', held: '0.60' },
    ]);
    await desk.answeredCall(a, customer);
  });

  it('of a call that ends while it is being let out is given back, and nobody is called', async () => {
    const call = await desk.answeredCall(a, customer);
    const trx = await rig.db.transaction();
    await trx('accounts').where({ customer_id: customer.id }).forUpdate();
    await desk.bridge(a, call);
    await until(() => a.limits.counters.held === 2);
    desk.lineOf(call).finish('caller', 'NORMAL_CLEARING');
    await trx.rollback();
    await a.quiet();
    expect(desk.lineOf(call).legs).to.deep.equal([]);
    await rig.pass(200, [a]);
    await desk.expectNothingTaken(a);
    // The call itself has been answered.
    expect(await desk.money(customer)).to.deep.equal({ available: '9.99', held: '0.00' });
  });

  it('that was refused for a reply that was lost is given back, and does not take the next one with it', async () => {
    const call = await desk.answeredCall(a, customer);
    a.line.loseReplyTo('COMMIT', 'INSERT INTO holds');
    await desk.bridge(a, call);
    await a.quiet();
    expect(desk.lineOf(call).legs).to.deep.equal([]);
    const line = await desk.bridged(a, call);
    await rig.pass(50_000, [a]);
    line.endLeg({ cause: 'NORMAL_CLEARING', endedBy: 'callee' });
    await a.quiet();
    expect(await desk.holds(call)).to.deep.equal([
      { leg: 0, status: 'resolved', billsec: 50, charged_micros: 500_000 },
      { leg: 1, status: 'resolved', billsec: 0, charged_micros: 0 },
      { leg: 2, status: 'resolved', billsec: 50, charged_micros: 500_000 },
    ]);
    expect(call.status).to.equal('completed');
  });

  it('goes on under the next life of its process, and is charged from its answer to its end', async () => {
    const call = await desk.answeredCall(a, customer);
    const line = await desk.bridged(a, call);
    await rig.pass(15_000, [a]);
    a.kill();
    await rig.pass(10_000, []);
    const b = await desk.started(1);
    await rig.pass(61_000, [b]);
    expect(b.limits.counters.held).to.equal(2);
    line.endLeg({ cause: 'NORMAL_CLEARING', endedBy: 'callee' });
    await b.quiet();
    expect(
      (await desk.holds(call)).map(({ billsec, charged_micros }) => [billsec, charged_micros]),
    ).to.deep.equal([
      [90, 900_000],
      [90, 900_000],
    ]);
    await desk.expectNothingTaken(b);
  });

  it('that ended while its process was dead costs no more than was held for it', async () => {
    const call = await desk.answeredCall(a, customer);
    const line = await desk.bridged(a, call);
    await rig.pass(30_000, [a]);
    a.kill();
    line.endLeg({ cause: 'NORMAL_CLEARING', endedBy: 'callee' });
    await rig.pass(40_000, []);
    const b = await desk.started(1);
    expect((await desk.holds(call))[1]).to.deep.equal({
      leg: 1,
      status: 'resolved',
      billsec: 70,
      charged_micros: 600_000,
    });
    desk.lineOf(call).finish('caller', 'NORMAL_CLEARING');
    await b.quiet();
    await desk.expectNothingTaken(b);
  });

  it('answered right before its process died, and ended meanwhile, is not free', async () => {
    const call = await desk.answeredCall(a, customer);
    await desk.bridge(a, call);
    await a.quiet();
    desk.lineOf(call).answerLeg(0);
    await Promise.all([a.journal.settled(), a.limits.beat()]); // Redis knows of it, and no hold.
    a.kill();
    desk.lineOf(call).endLeg({ cause: 'NORMAL_CLEARING', endedBy: 'callee' });
    await rig.pass(20_000, []);
    await desk.started(1);
    expect((await desk.holds(call))[1]).to.deep.equal({
      leg: 1,
      status: 'resolved',
      billsec: 20,
      charged_micros: 200_000,
    });
  });

  it('whose flow is not known any more, after Redis has forgotten it too, ends and is charged', async () => {
    const call = await desk.answeredCall(a, customer);
    await desk.bridged(a, call);
    await rig.pass(10_000, [a]);
    a.kill();
    await rig.redis.flushdb();
    const b = await desk.started(1);
    expect((await desk.holds(call))[1]).to.deep.equal({
      leg: 1,
      status: 'resolved',
      billsec: 10,
      charged_micros: 100_000,
    });
    expect(desk.lineOf(call).end).to.equal(undefined);
    desk.lineOf(call).finish('caller', 'NORMAL_CLEARING');
    await rig.pass(31_000, [b]);
    await desk.expectNothingTaken(b);
  });

  it('is found after a restart although an earlier one of the call was not settled', async () => {
    const call = await desk.answeredCall(a, customer);
    await desk.bridge(a, call);
    await a.quiet();
    const trx = await rig.db.transaction();
    await trx('holds').where({ call_id: call.id, leg: 1 }).forUpdate();
    desk.lineOf(call).endLeg({ cause: 'USER_BUSY', sipCode: 486 });
    await desk.bridge(a, call);
    await until(() => desk.lineOf(call).legs.length === 2);
    desk.lineOf(call).answerLeg(0);
    await a.journal.settled();
    a.kill();
    await trx.rollback();
    await rig.pass(20_000, []);
    const b = await desk.started(1);
    expect((await desk.holds(call)).map(({ status }) => status)).to.deep.equal(['open', 'resolved', 'open']);
    await rig.pass(6000, [b]);
    desk.lineOf(call).endLeg({ cause: 'NORMAL_CLEARING', endedBy: 'callee' });
    await b.quiet();
    expect((await desk.holds(call)).map(({ status, billsec }) => [status, billsec])).to.deep.equal([
      ['resolved', 30],
      ['resolved', 0],
      ['resolved', 30],
    ]);
    await desk.expectNothingTaken(b);
  });

  it('that was killed between its place and its hold gives its place back with its call, though that one is free', async () => {
    const call = desk.receive(a, customer, '+34911111111');
    await a.quiet();
    a.killAt(0, false, /INSERT INTO holds/);
    await desk.bridge(a, call);
    await until(() => !a.alive);
    const b = await desk.started(1);
    expect(b.limits.counters.held).to.equal(1);
    desk.lineOf(call).finish('caller', 'NORMAL_CLEARING');
    await b.quiet();
    await desk.expectNothingTaken(b);
  });
});

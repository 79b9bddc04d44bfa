import { expect } from 'chai';
import { UNSEEN, type Call } from '../../../control/calls/call.ts';
import type { Customer } from '../../../control/customers/schema.ts';
import { Desk, NUMBER } from './desk.ts';
import { startRig, type ControlProcess, type Rig } from './rig.ts';

/** A fee and 0.60 a minute; and a fee alone. */
const PRICES = [
  { prefix: '+49', feeMicros: 50_000n },
  { prefix: '+48', feeMicros: 50_000n, priceMicros: 0n },
];
const BY_FEE = '+48221234567';

describe('a call whose control process dies and stays away', () => {
  let rig: Rig;
  let desk: Desk;
  let a: ControlProcess;
  let b: ControlProcess;
  let customer: Customer;
  before(async () => {
    rig = await startRig();
    desk = new Desk(rig);
    await rig.rates(...PRICES);
  });
  after(() => rig.close());
  beforeEach(async () => {
    await rig.clear();
    a = await desk.started(1);
    b = await desk.started(2);
    customer = await rig.customer('10');
  });

  const placed = async (to = NUMBER): Promise<Call> =>
    (await a.place(customer, to)) ?? expect.fail('the process died');
  const stored = (call: Call): Promise<Record<string, unknown>> =>
    rig
      .db('calls')
      .where({ id: call.id })
      .first('status', 'hangup_cause', 'failure_code', 'answered_at', 'ended_at', 'cost_micros');
  const seconds = ({ answered_at: from, ended_at: to }: Record<string, unknown>): number =>
    ((to as Date).getTime() - (from as Date).getTime()) / 1000;

  it('while it rings: another one gives its money back within two minutes, and nothing is charged when it is back', async () => {
    const call = await placed();
    desk.lineOf(call).ring();
    await a.quiet();
    a.kill();
    await rig.pass(10_000, [b]);
    desk.lineOf(call).finish('caller', 'USER_BUSY', 486);
    await rig.pass(100_000, [b]);
    expect(await desk.money(customer)).to.deep.equal({ available: '10.00', held: '0.00' });
    await rig.pass(180_000, [b]);
    const back = await desk.started(1);
    await rig.pass(20_000, [back, b]);
    expect(await stored(call)).to.include({
      status: 'failed',
      hangup_cause: UNSEEN,
      failure_code: 'internal_error',
    });
    expect(await desk.money(customer)).to.deep.equal({ available: '10.00', held: '0.00' });
    await desk.expectNothingTaken(back);
  });

  it('while it rings, and another process is there: as long as its own lives its money stays held, however long it rings', async () => {
    const call = (await a.place(customer, NUMBER, { ringSeconds: 600 })) ?? expect.fail('the process died');
    await rig.pass(400_000, [a, b]);
    expect(await desk.money(customer)).to.deep.equal({ available: '9.35', held: '0.65' });
    desk.lineOf(call).answer();
    await a.quiet();
    await rig.pass(10_000, [a, b]);
    desk.lineOf(call).finish('caller', 'NORMAL_CLEARING');
    await rig.pass(1000, [a, b]);
    expect(await desk.money(customer)).to.deep.equal({ available: '9.85', held: '0.00' });
  });

  it('and ends 10 s after its answer: it is completed, and not said to have lasted longer than it was paid for', async () => {
    const call = await desk.answeredCall(a, customer);
    await rig.pass(2000, [a, b]);
    a.kill();
    await rig.pass(8000, [b]);
    desk.lineOf(call).finish('caller', 'NORMAL_CLEARING');
    await rig.pass(290_000, [b]);
    expect(await desk.money(customer)).to.deep.equal({ available: '9.35', held: '0.00' });
    const back = await desk.started(1);
    await rig.pass(20_000, [back, b]);
    const row = await stored(call);
    expect(row).to.include({
      status: 'completed',
      hangup_cause: UNSEEN,
      failure_code: null,
      cost_micros: 650_000,
    });
    expect(seconds(row)).to.equal(60);
    expect(await desk.money(customer)).to.deep.equal({ available: '9.35', held: '0.00' });
    await desk.expectNothingTaken(back);
  });

  it('and is back before others have settled its call: that has not lasted longer than it was paid for either', async () => {
    const call = await desk.answeredCall(a, customer);
    await rig.pass(2000, [a, b]);
    a.kill();
    desk.lineOf(call).finish('caller', 'NORMAL_CLEARING');
    await rig.pass(100_000, [b]);
    const back = await desk.started(1);
    await rig.pass(20_000, [back, b]);
    expect(seconds(await stored(call))).to.equal(60);
    expect(await desk.money(customer)).to.deep.equal({ available: '9.35', held: '0.00' });
  });

  it('and goes on: it is ended when its process is back, since nobody has paid for it meanwhile', async () => {
    const call = await desk.answeredCall(a, customer);
    await rig.pass(2000, [a, b]);
    a.kill();
    await rig.pass(290_000, [b]);
    const back = await desk.started(1);
    await rig.pass(20_000, [back, b]);
    expect(await stored(call)).to.include({
      status: 'failed',
      failure_code: 'internal_error',
      cost_micros: 650_000,
    });
    expect(desk.lineOf(call).end?.by).to.equal('platform');
  });

  it('and whose time costs nothing: another one charges the fee, and holds nothing more', async () => {
    const call = await placed(BY_FEE);
    desk.lineOf(call).answer();
    await rig.pass(90_000, [a, b]);
    expect(await desk.money(customer)).to.deep.equal({ available: '9.95', held: '0.05' });
    a.kill();
    desk.lineOf(call).finish('caller', 'NORMAL_CLEARING');
    await rig.pass(120_000, [b]);
    expect(await desk.holds(call)).to.deep.include.members([
      { leg: 0, status: 'resolved', billsec: (await desk.holds(call))[0]?.billsec, charged_micros: 50_000 },
    ]);
    expect(await desk.money(customer)).to.deep.equal({ available: '9.95', held: '0.00' });
  });
});

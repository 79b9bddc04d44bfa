import { expect } from 'chai';
import type { Customer } from '../../../control/customers/schema.ts';
import { Desk, NUMBER, RATES, refusal } from './desk.ts';
import { startRig, trunk, type ControlProcess, type Rig } from './rig.ts';

describe('an order that is refused because its call cannot be stored', () => {
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

  /** The call has never been: neither in the database, nor told of, nor paid for. */
  const expectNothing = async (): Promise<void> => {
    for (const table of ['calls', 'call_timeline', 'webhook_deliveries'])
      expect(await rig.db(table), table).to.deep.equal([]);
    await desk.expectNothingTaken(a);
    expect(await desk.money(customer)).to.deep.equal({ available: '10.00', held: '0.00' });
    expect(rig.node.asked).to.equal(0);
    expect(a.calls.live()).to.deep.equal([]);
    expect(a.flows.size).to.equal(0);
  };

  it('for good, is an error to whoever has placed it, and nobody is dialled', async () => {
    rig.trunks = [trunk(`trunk_${'x'.repeat(100)}`)];
    expect((await refusal(a.place(customer, NUMBER))).code).to.equal('internal_error');
    await a.quiet();
    await expectNothing();
  });

  it('while the database hangs, has never been, also when the database takes it afterwards', async () => {
    a.db.on('query', ({ sql }: { sql: string }) => {
      if (sql.includes('INSERT INTO calls')) a.line.hang();
    });
    expect((await refusal(a.place(customer, NUMBER))).code).to.equal('service_unavailable');
    a.db.removeAllListeners('query');
    a.line.goOn();
    await a.quiet();
    await rig.pass(1000, [a]);
    await expectNothing();
    await desk.answeredCall(a, customer);
  });

  it('is told of when it was stored and its process died before it went out', async () => {
    a.calls.created = () => a.kill();
    expect(await a.place(customer, NUMBER)).to.equal(undefined);
    await desk.started(1);
    expect(await rig.db('calls').pluck('status')).to.deep.equal(['failed']);
    expect(await rig.db('webhook_deliveries').orderBy('seq').pluck('event')).to.deep.equal([
      'call.created',
      'call.failed',
    ]);
    expect(rig.node.lines).to.deep.equal([]);
  });
});

import { expect } from 'chai';
import type { Customer } from '../../../control/customers/schema.ts';
import type { Did } from '../../../control/dids/schema.ts';
import { Decisions, type Decision } from '../../../control/edge/decisions.ts';
import { Dialogs } from '../../../control/edge/dialogs.ts';
import type { Directory } from '../../../control/directory/directory.ts';
import { createLogger } from '../../../control/lib/logger.ts';
import { Desk, RATES, until } from './desk.ts';
import { startRig, trunk, type ControlProcess, type Rig } from './rig.ts';

const DID = '+33123456789';
const SIP_CALL_ID = 'a@carrier';

describe('a relayed call that costs something to take', () => {
  let rig: Rig;
  let desk: Desk;
  let a: ControlProcess;
  let decisions: Decisions;
  let customer: Customer;
  before(async () => {
    rig = await startRig();
    desk = new Desk(rig);
    await rig.rates(...RATES);
  });
  after(() => rig.close());
  beforeEach(async () => {
    await rig.clear();
    customer = await rig.customer('10');
    a = await desk.started(1);
    decisions = decisionsOf(a);
  });
  afterEach(() => decisions.stop());

  /** Those of a process: it has them once. */
  const decisionsBy = new WeakMap<ControlProcess, Decisions>();
  const dialogsBy = new WeakMap<ControlProcess, Dialogs>();
  /** What Kamailio says when it is asked for its dialogs. */
  let listed: unknown[] = [];

  function decisionsOf(process: ControlProcess): Decisions {
    const made = decisionsBy.get(process) ?? createDecisions(process);
    decisionsBy.set(process, made);
    return made;
  }
  function createDecisions({ calls, flows, admission, instance, ends }: ControlProcess): Decisions {
    const did = (): Did =>
      ({
        id: 'did_1',
        customerId: customer.id,
        number: DID,
        status: 'active',
        routeMode: 'sip',
        routeTarget: { sip_uri: 'sip:a@192.0.2.1' },
      }) as unknown as Did;
    const directory = {
      loaded: true,
      didByNumber: did,
      trunk: () => trunk('trunk_1'),
      customer: () => customer,
      application: () => undefined,
    } as unknown as Directory;
    return new Decisions({
      directory,
      calls,
      flows,
      admission,
      instance,
      endAsked: (id) => ends.asked(id),
      mediaReady: () => true,
    });
  }
  /** Kamailio's dialogs, of which this one is answered since then, if at all. */
  const dialogsOf = (process: ControlProcess, answeredAt?: Date): Dialogs =>
    kamailioWith(process, [
      { 'call-id': SIP_CALL_ID, start_ts: answeredAt ? Math.floor(answeredAt.getTime() / 1000) : 0 },
    ]);
  function kamailioWith(process: ControlProcess, dialogs: unknown[]): Dialogs {
    listed = dialogs;
    const made = dialogsBy.get(process) ?? createDialogs(process);
    dialogsBy.set(process, made);
    return made;
  }
  const createDialogs = ({ calls }: ControlProcess): Dialogs =>
    new Dialogs({
      calls,
      logger: createLogger('fatal'),
      now: rig.now,
      ender: { tryToEnd: () => Promise.resolve({ some: false, all: true }) },
      audio: { knows: () => Promise.resolve(undefined) },
      isPaid: () => false,
      rpcs: [
        {
          url: 'http://kamailio',
          call: (method) => Promise.resolve(method === 'core.uptime' ? { uptime: 1_000_000 } : listed),
        },
      ],
    });
  const arrives = (): Decision | Promise<Decision> =>
    decisions.decide({
      sip_call_id: SIP_CALL_ID,
      from_tag: 'x',
      from: '+15550000002',
      to: DID,
      trunk: 'trunk_1',
      source: '192.0.2.10',
    });
  const taken = async (): Promise<string> => {
    const decision = await arrives();
    if (decision.action !== 'sip') return expect.fail(JSON.stringify(decision));
    return decision.call;
  };
  const notice = (event: 'answered' | 'ended' | 'canceled', call: string): void =>
    decisions.notice({
      event,
      call,
      sip_call_id: SIP_CALL_ID,
      from_tag: 'x',
      by: 'caller',
      code: 200,
      reason: '',
    });

  it('is held for before it is relayed, paid for while it lasts, and charged when it ends', async () => {
    const call = await taken();
    expect(await desk.money(customer)).to.deep.equal({ available: '9.70', held: '0.30' });
    notice('answered', call);
    await rig.pass(61_000, [a]);
    expect(await desk.money(customer)).to.deep.equal({ available: '9.40', held: '0.60' });
    notice('ended', call);
    await a.quiet();
    expect(await desk.holds({ id: call })).to.deep.equal([
      { leg: 0, status: 'resolved', billsec: 61, charged_micros: 305_000 },
    ]);
    await desk.expectNothingTaken(a);
  });

  it('is refused with 480 when it cannot be paid for', async () => {
    customer = await rig.customer('0.29');
    decisions.stop();
    decisions = decisionsOf(a);
    expect(await arrives()).to.include({ action: 'reject', code: 480 });
    expect(a.calls.live().map(({ status, failure }) => [status, failure?.code])).to.deep.equal([
      ['failed', 'insufficient_balance'],
    ]);
    await desk.expectNothingTaken(a);
  });

  it('is not relayed when its caller has gone while money was held for it, and the money is given back', async () => {
    const trx = await rig.db.transaction();
    await trx('accounts').where({ customer_id: customer.id }).forUpdate();
    const deciding = arrives();
    await until(() => a.calls.live().length === 1);
    notice('canceled', '');
    await trx.rollback();
    expect(await deciding).to.include({ action: 'reject', code: 487 });
    await rig.pass(200, [a]);
    expect(await desk.money(customer)).to.deep.equal({ available: '10.00', held: '0.00' });
    await desk.expectNothingTaken(a);
  });

  it('that nobody answers costs nothing', async () => {
    const call = await taken();
    notice('canceled', call);
    await a.quiet();
    await rig.pass(500, [a]);
    expect(await desk.money(customer)).to.deep.equal({ available: '10.00', held: '0.00' });
  });

  it('is ended at Kamailio when the money is used up, to the second', async () => {
    customer = await rig.customer('0.50');
    decisions.stop();
    decisions = decisionsOf(a);
    const call = await taken();
    notice('answered', call);
    await rig.pass(120_000, [a], 200);
    expect(a.relayedEnded).to.deep.equal([call]);
    expect(await desk.holds({ id: call })).to.deep.equal([
      { leg: 0, status: 'resolved', billsec: 100, charged_micros: 500_000 },
    ]);
    expect(await rig.db('calls').where({ id: call }).first('status', 'failure_code')).to.deep.equal({
      status: 'failed',
      failure_code: 'insufficient_balance',
    });
    await desk.expectNothingTaken(a);
  });

  it('stays in the books while it is not paid for and cannot be ended, and is ended by the next life of its process, for all the money there is', async () => {
    customer = await rig.customer('0.50');
    decisions.stop();
    decisions = decisionsOf(a);
    const call = await taken();
    notice('answered', call);
    rig.kamailioAway = true;
    await rig.pass(110_000, [a], 200);
    expect(a.calls.get(call)).to.include({ status: 'in_progress' });
    expect(await desk.money(customer)).to.deep.equal({ available: '0.00', held: '0.50' });
    a.kill();
    const b = await desk.started(1);
    decisions.stop();
    decisions = decisionsOf(b);
    await rig.pass(20_000, [b], 200);
    expect(b.ends.trying).to.equal(1);
    expect(await rig.db('calls').where({ id: call }).first('status')).to.deep.equal({
      status: 'in_progress',
    });
    rig.kamailioAway = false;
    await until(() => b.relayedEnded.length > 0);
    await b.quiet();
    expect(await rig.db('calls').where({ id: call }).first('status', 'failure_code')).to.deep.equal({
      status: 'failed',
      failure_code: 'insufficient_balance',
    });
    expect(await desk.holds({ id: call })).to.deep.equal([
      { leg: 0, status: 'resolved', billsec: 134, charged_micros: 500_000 },
    ]);
    expect(await desk.money(customer)).to.deep.equal({ available: '0.00', held: '0.00' });
    await desk.expectNothingTaken(b);
  });

  it('goes on under the next life of the process that let it in', async () => {
    const call = await taken();
    notice('answered', call);
    await rig.pass(20_000, [a]);
    a.kill();
    await rig.pass(10_000, []);
    const b = await desk.started(1);
    decisions.stop();
    decisions = decisionsOf(b);
    await rig.pass(86_000, [b]);
    notice('ended', call);
    await b.quiet();
    expect(await desk.holds({ id: call })).to.deep.equal([
      { leg: 0, status: 'resolved', billsec: 120, charged_micros: 600_000 },
    ]);
    await desk.expectNothingTaken(b);
  });

  it('that was answered while its process was dead is not free: the next life looks at Kamailio', async () => {
    const call = await taken();
    await a.quiet();
    a.kill();
    await rig.pass(2000, []);
    const answeredAt = rig.now();
    await rig.pass(10_000, []);
    const b = await desk.started(1);
    decisions.stop();
    decisions = decisionsOf(b);
    await dialogsOf(b, answeredAt).sweep();
    await rig.pass(46_000, [b]);
    await dialogsOf(b, answeredAt).sweep();
    notice('ended', call);
    await b.quiet();
    expect(await desk.holds({ id: call })).to.deep.equal([
      { leg: 0, status: 'resolved', billsec: 59, charged_micros: 295_000 },
    ]);
  });

  it('that rings is not taken for answered, and one that has ended unseen costs no more than was held', async () => {
    const call = await taken();
    await dialogsOf(a).sweep();
    expect(a.calls.get(call)?.status).to.equal('ringing');
    notice('answered', call);
    await rig.pass(61_000, [a]);
    const gone = kamailioWith(a, []);
    await rig.pass(200_000, [a]);
    await gone.sweep();
    await a.quiet();
    const [hold] = await desk.holds({ id: call });
    expect(hold).to.include({ status: 'resolved', billsec: 261 });
    expect(hold?.charged_micros).to.be.at.most(1_500_000);
    await desk.expectNothingTaken(a);
  });
});

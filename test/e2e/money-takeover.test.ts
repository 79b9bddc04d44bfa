import { expect } from 'chai';
import { Phone, type Call } from '../support/phone.ts';
import { spoken } from '../../cli/phone/voice.ts';
import { metrics, nothingLeft } from './leftovers.ts';
import { charge, micros, Payer, refusalOf, type CallRecord } from './payer.ts';
import {
  carrierAt,
  done,
  healthy,
  instance,
  pidOf,
  ready,
  sip,
  timeline,
  until,
  type Json,
} from './platform.ts';

const INBOUND = '127.0.0.2';
const PRICE = { price_per_minute: '0.61', connection_fee: '0.01' };
const LONG =
  'This is a rather long announcement, so that there is time enough for somebody to kill the control plane, or the database, in the middle of it, and nobody notices.';
const TALK = { actions: [{ pause: { seconds: 60 } }] };

describe('the money of calls whose control process dies', function () {
  this.timeout(90_000);
  let own: Payer;

  beforeEach(async () => {
    own = await Payer.open({ price: PRICE, customer: { limits: { cps: 100, concurrent_calls: 40 } } });
  });
  after(() => nothingLeft());
  afterEach(async () => {
    await ready();
    await own.close();
  });

  async function placed(fields: Json = TALK): Promise<{ id: string; far: Call }> {
    const { id } = await own.place(fields);
    return { id, far: await own.carrier.incoming() };
  }

  async function talking(fields?: Json): Promise<{ id: string; far: Call }> {
    const call = await placed(fields);
    call.far.answer();
    await call.far.answered();
    // What must survive a crash is waited for where it is written.
    await until(
      async () => (await own.calls()).some(({ id, status }) => id === call.id && status === 'in_progress'),
      'the answer to be stored',
    );
    return call;
  }

  /** Kills it, runs what happens meanwhile, and returns when its next life is ready. */
  async function kill(meanwhile?: () => Promise<unknown> | void): Promise<void> {
    const pid = await pidOf('control');
    process.kill(pid, 'SIGKILL');
    await meanwhile?.();
    await healthy('control', pid);
    await ready();
  }

  /**
   * It has ended, and was paid for as its record says. A call whose end nobody saw costs no more than was
   * held for it.
   */
  async function paid(id: string, status: string): Promise<CallRecord> {
    const record = await own.settled(id, 40_000);
    expect(record).to.include({ status });
    const due = record.answered_at === undefined ? 0n : charge(PRICE, record.billsec_seconds);
    const most = charge(PRICE, 60);
    expect(micros(record.cost_amount)).to.equal(record.hangup.cause === 'UNKNOWN' && due > most ? most : due);
    return record;
  }

  it('while it rings: answered later, answered meanwhile, refused meanwhile, given up later', async () => {
    const recorded = { ...TALK, record: true };
    const [later, meanwhile, refused, canceled] = [
      await placed(recorded),
      await placed(recorded),
      await placed(),
      await placed(),
    ];
    for (const { id, far } of [later, meanwhile, refused, canceled]) {
      far.ring();
      await own.when(id, 'ringing');
    }
    await kill(() => {
      meanwhile.far.answer();
      refused.far.refuse(486);
    });
    later.far.answer();
    for (const { id, far } of [later, meanwhile]) {
      await own.when(id, 'in_progress');
      const recordings = async (): Promise<Json[]> =>
        (await done('GET', `/v1/calls/${id}/recordings`, undefined, own.key)).data as Json[];
      await until(async () => (await recordings()).length === 1, 'the recording that was asked for to begin');
      await far.hangup();
      expect((await paid(id, 'completed')).hangup).to.include({ by: 'callee' });
    }
    await own.hangUp(canceled.id);
    expect(await canceled.far.ended()).to.include({ how: 'cancel' });
    await paid(canceled.id, 'canceled');
    const record = await own.ended(refused.id);
    expect(record, 'how it ended nobody knows any more').to.not.have.property('answered_at');
    expect(record.status).to.be.oneOf(['failed', 'canceled']);
    await paid(refused.id, record.status);
  });

  it('during the call: it talks on and counts on; hung up meanwhile, and just before', async () => {
    const [goesOn, leaves, left] = [
      await talking({ actions: [{ say: { text: LONG } }, { pause: { seconds: 60 } }] }),
      await talking(),
      await talking(),
    ];
    const bounded = await talking({ ...TALK, max_duration_seconds: 5 });
    await goesOn.far.heard.waitUntilHears(await spoken(LONG), { fraction: 0.1 });
    await left.far.hangup();
    await kill(() => leaves.far.hangup());
    await goesOn.far.heard.waitUntilHears(await spoken(LONG), { timeoutMs: 20_000 });
    expect(goesOn.far.heard.occurrences(await spoken(LONG))).to.have.length(1);
    expect(await bounded.far.ended()).to.include({ by: 'remote', how: 'bye' });
    expect((await paid(bounded.id, 'completed')).hangup).to.include({
      by: 'platform',
      cause: 'ALLOTTED_TIMEOUT',
    });
    await done('PATCH', `/admin/v1/customers/${own.customerId}`, { limits: { concurrent_calls: 1 } });
    expect(refusalOf(await own.post()), 'it counts as a call').to.deep.equal([
      429,
      'concurrent_call_limit_reached',
    ]);
    expect(await own.show(goesOn.id)).to.include({ status: 'in_progress' });
    expect((await own.balance()).held > 0n, 'it is held for').to.equal(true);
    await paid(leaves.id, 'completed');
    await paid(left.id, 'completed');
    await goesOn.far.hangup();
    expect((await paid(goesOn.id, 'completed')).hangup).to.include({ by: 'callee' });
    expect((await timeline(goesOn.id, own.key)).map(({ kind }) => kind)).to.include('flow.resumed');
  });

  it('stopped in order, as for a new version: nobody notices, and what happens meanwhile is paid for', async () => {
    const [rings, talks, leaves] = [
      await placed(),
      await talking({ actions: [{ say: { text: LONG } }, { pause: { seconds: 60 } }] }),
      await talking(),
    ];
    rings.far.ring();
    await own.when(rings.id, 'ringing');
    await instance.stop('control');
    rings.far.answer();
    await leaves.far.hangup();
    await instance.start('control');
    await ready();
    await talks.far.heard.waitUntilHears(await spoken(LONG), { timeoutMs: 20_000 });
    expect(talks.far.heard.occurrences(await spoken(LONG))).to.have.length(1);
    for (const { id, far } of [rings, talks]) {
      await own.when(id, 'in_progress');
      await far.hangup();
      expect((await paid(id, 'completed')).hangup).to.include({ by: 'callee' });
    }
    await paid(leaves.id, 'completed');
    expect((await own.books()).legs).to.have.all.keys([rings, talks, leaves].map(({ id }) => `${id}/0`));
  });

  it('during calls with second legs, and one that came in: each leg is paid for, also the one that ended meanwhile', async () => {
    const minutes = { minimum_seconds: 60, increment_seconds: 60 };
    await own.rate({ prefix: '+49', price_per_minute: '1.20', ...minutes });
    await own.rate({ direction: 'inbound', prefix: own.number, price_per_minute: '0.30', ...minutes });
    await carrierAt(INBOUND);
    const phone = await Phone.open({ address: INBOUND });
    try {
      const bridged = async (): Promise<{ id: string; far: Call; callee: Call }> => {
        const { id, far } = await talking({
          actions: [{ bridge: { destination: '+4930123456' } }, { pause: { seconds: 60 } }],
        });
        const callee = await own.carrier.incoming();
        callee.answer();
        await until(
          async () => (await timeline(id, own.key)).some(({ kind }) => kind === 'leg.answered'),
          'the leg to be answered',
        );
        return { id, far, callee };
      };
      own.server.answers.set('/answer', TALK.actions);
      const incoming = await phone.call({ to: own.number, from: '+15551230001', via: sip });
      await incoming.answered();
      const [goesOn, ended] = [await bridged(), await bridged()];
      const { id } = await until(
        async () =>
          (await own.calls()).find(
            ({ direction, status }) => direction === 'inbound' && status === 'in_progress',
          ),
        'the call that came in to be stored',
      );
      await kill(() => ended.callee.hangup());
      await until(
        async () => (await timeline(goesOn.id, own.key)).some(({ kind }) => kind === 'flow.resumed'),
        'the call to be taken over',
      );
      await goesOn.callee.hangup();
      for (const call of [goesOn, ended]) await call.far.ended();
      await incoming.hangup();
      for (const call of [goesOn.id, ended.id, id]) await own.settled(call);
      const { legs } = await own.books();
      expect(legs).to.include({
        [`${id}/0`]: 300_000n,
        [`${goesOn.id}/1`]: 1_200_000n,
        [`${ended.id}/1`]: 1_200_000n,
      });
      for (const one of [goesOn, ended]) {
        const record = await own.ended(one.id);
        expect(legs[`${one.id}/0`]).to.equal(charge(PRICE, record.billsec_seconds));
        expect(micros(record.cost_amount)).to.equal((legs[`${one.id}/0`] ?? 0n) + 1_200_000n);
      }
    } finally {
      await phone.close();
    }
  });

  it('between the hold and the dialling: there is a call or none, and nothing stays held', async () => {
    own.carrier.listen('answer');
    const media = await pidOf('media');
    process.kill(media, 'SIGSTOP');
    try {
      void own.post({ actions: [{ hangup: {} }] }).catch(() => undefined);
      await until(async () => (await own.balance()).held > 0n, 'money to be held');
      process.kill(await pidOf('control'), 'SIGKILL');
    } finally {
      process.kill(media, 'SIGCONT');
    }
    await ready();
    await own.books(40_000);
    for (const { id } of await own.calls()) {
      const record = await own.ended(id);
      await paid(id, record.status);
    }
    expect(await own.calls()).to.have.length.at.least(own.carrier.received.length);
  });

  it('among many creations: the carrier sees no call that nobody knows, and each that is known ends and is settled', async () => {
    const pid = await pidOf('control');
    const asked = Array.from({ length: 20 }, async (_, n) => {
      if (n === 19) await until(() => own.carrier.received.length > 0, 'the first of them');
      if (n === 19) process.kill(pid, 'SIGKILL');
      else return own.post().catch(() => undefined);
      return undefined;
    });
    const replies = await Promise.all(asked);
    await healthy('control', pid);
    await ready();
    const known = await own.calls();
    expect(known.map(({ id }) => id)).to.include.members(
      replies.flatMap((reply) => (reply?.status === 201 ? [String(reply.body.id)] : [])),
    );
    expect(known.map(({ to }) => to)).to.include.members(
      own.carrier.received.map(({ invite }) => /sip:(\+\d+)@/.exec(invite?.uri ?? '')?.[1]),
    );
    for (const far of own.carrier.received) far.refuse(486);
    for (const { id } of known) expect(await own.settled(id, 40_000)).to.include({ cost_amount: '0.00' });
    expect((await own.books()).available).to.equal(10_000_000n);
  });

  it('between hang-up and settling, the database being away: settled by the next life, once', async () => {
    const { id, far } = await talking();
    await instance.stop('database');
    const pid = await pidOf('control');
    try {
      await far.hangup();
      await until(
        async () => (await metrics()).get('minivoice_holds_unsettled') === 1,
        'the end to be known, and nothing else',
      );
      process.kill(pid, 'SIGKILL');
    } finally {
      await instance.start('database');
    }
    await healthy('control', pid);
    await paid(id, 'completed');
    expect(Object.keys((await own.books()).legs)).to.deep.equal([`${id}/0`]);
  });

  it('the database restarts during a call: the call goes on, and is charged once', async () => {
    const { id, far } = await talking({ actions: [{ say: { text: LONG } }] });
    await far.heard.waitUntilHears(await spoken(LONG), { fraction: 0.1 });
    await instance.stop('database');
    await instance.start('database');
    await far.heard.waitUntilHears(await spoken(LONG), { timeoutMs: 20_000 });
    await far.ended();
    await ready();
    expect((await paid(id, 'completed')).hangup).to.include({ by: 'application' });
    expect(Object.keys((await own.books()).legs)).to.deep.equal([`${id}/0`]);
  });

  it('the call ends while the database is away: charged for what it was, when that is back', async () => {
    const { id, far } = await talking();
    await instance.stop('database');
    try {
      await far.hangup();
      await until(
        async () => (await metrics()).get('minivoice_holds_unsettled') === 1,
        'the end to be known',
      );
    } finally {
      await instance.start('database');
    }
    await ready();
    expect((await paid(id, 'completed')).hangup).to.include({ by: 'callee' });
  });
});

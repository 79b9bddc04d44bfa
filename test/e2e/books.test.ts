import { expect } from 'chai';
import type { Call } from '../support/call.ts';
import type { Phone } from '../support/phone.ts';
import { tone } from '../../cli/phone/sound.ts';
import { nothingLeft } from './leftovers.ts';
import { Payer } from './payer.ts';
import {
  api,
  callTo,
  crash,
  done,
  endedCallTo,
  healthy,
  instance,
  pidOf,
  ready,
  timeline,
  until,
  type Json,
  type Tenant,
} from './platform.ts';
import { SecondControl } from './second-control.ts';
import { phoneAt, stage, type Stage } from './stage.ts';

/** Longer than the control plane takes to compare its books with Kamailio's dialogs. */
const COMPARED_MS = 35_000;
const WAITING = { actions: [{ pause: { seconds: 60 } }] };

/** What is said of a call agrees with the wire, whichever part was away. */
describe('books and wire', function () {
  this.timeout(120_000);
  let own: Tenant;
  let place: Stage['place'];
  let callee: Phone;

  afterEach(ready);
  after(() => nothingLeft());

  /** A number that is relayed to a telephone, at a price. */
  async function relaying({ credit = '100.00', price = '0.60' as string | null } = {}): Promise<void> {
    ({ own, place } = await stage({}, { credit }));
    callee = await phoneAt('127.0.0.3');
    callee.listen('answer', { sound: () => tone(440) });
    if (price !== null)
      await done('POST', '/admin/v1/rates', {
        prefix: own.number,
        direction: 'inbound',
        price_per_minute: price,
        customer_id: own.customerId,
      });
    await done('PATCH', `/admin/v1/dids/${own.didId}`, {
      route_mode: 'sip',
      route_target: { sip_uri: callee.uri },
    });
  }

  async function talking(): Promise<{ id: string; call: Call; there: Call; path: string }> {
    const call = await place({ sound: tone(1000) });
    await call.answered();
    const there = await callee.incoming();
    const { id } = await until(async () => {
      const found = await callTo(own);
      return found.status === 'in_progress' && found;
    }, 'the call to be in progress');
    return { id, call, there, path: `/v1/calls/${id}` };
  }

  const heardAnew = async (call: Call, there: Call): Promise<void> => {
    for (const [who, frequency] of [
      [call, 440],
      [there, 1000],
    ] as const) {
      const from = who.heard.durationMs;
      await until(
        () =>
          who.heard.durationMs > from + 1000 && who.heard.tone(frequency, who.heard.durationMs - 300) > 0.9,
        'audio to go on',
      );
    }
  };

  for (const how of ['is killed', 'is restarted in order'] as const) {
    it(`Kamailio ${how}: a relayed call goes on, in the books too, and is ended on both sides through the API, charged to its end`, async () => {
      await relaying();
      const { call, there, path, id } = await talking();
      if (how === 'is killed') await crash('kamailio');
      else {
        await instance.stop('kamailio');
        await instance.start('kamailio');
      }
      const since = Date.now();
      await ready();
      await until(
        () => Date.now() - since > COMPARED_MS,
        'books and dialogs to be compared',
        COMPARED_MS + 5000,
      );
      await heardAnew(call, there);
      const still = await callTo(own);
      expect(still.status, JSON.stringify(still)).to.equal('in_progress');
      await done('POST', `${path}/hangup`, undefined, own.key);
      expect(await call.ended()).to.include({ by: 'remote', how: 'bye' });
      expect(await there.ended()).to.include({ by: 'remote', how: 'bye' });
      const record = await endedCallTo(own);
      expect(record).to.include({ status: 'completed' });
      expect(record.hangup).to.include({ by: 'api' });
      const settled = await until(async () => {
        const found = await callTo(own);
        return found.cost_amount !== undefined && found;
      }, 'its cost');
      expect(Number(settled.billsec_seconds)).to.be.at.least(COMPARED_MS / 1000);
      expect(Number(settled.cost_amount)).to.be.closeTo(Number(settled.billsec_seconds) * 0.01, 0.02);
      await own.server.webhook(id, 'call.completed');
      expect(own.server.of(id).filter(({ event }) => event === 'call.completed')).to.have.length(1);
    });
  }

  it('Kamailio is killed: who hangs up a relayed call ends it in the books at once, and is named', async () => {
    await relaying();
    const { there, call } = await talking();
    await crash('kamailio');
    expect(await there.hangup()).to.equal(200);
    expect(await call.ended()).to.include({ by: 'remote', how: 'bye' });
    const record = await endedCallTo(own, 5000);
    expect(record.hangup).to.include({ by: 'callee' });
  });

  it('Kamailio is killed, and later the media node: the caller, and whom it was connected to, get a BYE', async () => {
    const payer = await Payer.open({ manner: 'answer' });
    try {
      const { dial } = await stage();
      const inbound = await dial([{ pause: { seconds: 60 } }]);
      const placed = await payer.post(WAITING);
      expect(placed.status).to.equal(201);
      const outbound = await payer.carrier.incoming();
      await until(
        async () =>
          (await done('GET', `/v1/calls/${String(placed.body.id)}`, undefined, payer.key)).status ===
          'in_progress',
        'the placed call to be in progress',
      );
      await crash('kamailio');
      await ready();
      await crash('media');
      for (const call of [inbound, outbound])
        expect(await call.ended()).to.include({ by: 'remote', how: 'bye' });
    } finally {
      await ready();
      await payer.close();
    }
  });

  it('a relayed call that is not paid for any longer while Kamailio is away stays in the books, and is ended when it is back', async () => {
    await relaying({ credit: '0.60', price: '0.60' });
    const { call, there, id } = await talking();
    await instance.stop('kamailio');
    try {
      await until(
        async () => (await timeline(id, own.key)).some(({ kind }) => kind === 'call.end_delayed'),
        'the end to be tried in vain',
        75_000,
      );
      expect(await callTo(own)).to.include({ status: 'in_progress' });
      // The control plane is killed as well: its next life knows what is to be ended.
      process.kill(await pidOf('control'), 'SIGKILL');
    } finally {
      await instance.start('kamailio');
    }
    expect(await call.ended(40_000)).to.include({ by: 'remote', how: 'bye' });
    expect(await there.ended()).to.include({ by: 'remote', how: 'bye' });
    const record = await endedCallTo(own);
    expect(record).to.include({ status: 'failed' });
    expect(record.failure).to.include({ code: 'insufficient_balance' });
    const balance = await until(async () => {
      const found = await done('GET', '/v1/balance', undefined, own.key);
      return found.held_amount === '0.00' && found;
    }, 'the money to be settled');
    expect(balance.available_amount).to.equal('0.00');
  });

  it('the control plane hangs, and Kamailio relays a call without its decision: the call is in the books when it is back, and stays there', async () => {
    await relaying({ price: null });
    const control = await pidOf('control');
    process.kill(control, 'SIGSTOP');
    let call: Call;
    try {
      call = await place({ sound: tone(1000) });
      await call.answered();
    } finally {
      process.kill(control, 'SIGCONT');
    }
    const there = await callee.incoming();
    const { id } = await until(
      async () => {
        const found = await callTo(own);
        return found.status === 'in_progress' && found;
      },
      'the call to be in progress',
      30_000,
    );
    const since = Date.now();
    await until(
      () => Date.now() - since > COMPARED_MS,
      'books and dialogs to be compared',
      COMPARED_MS + 5000,
    );
    await heardAnew(call, there);
    expect(await callTo(own)).to.include({ status: 'in_progress' });
    await done('POST', `/v1/calls/${id}/hangup`, undefined, own.key);
    for (const end of [call, there]) expect(await end.ended()).to.include({ by: 'remote', how: 'bye' });
  });

  it('Kamailio does not answer: a hang-up of a relayed call is 503, and may be tried again', async () => {
    await relaying();
    const { call, there, path } = await talking();
    const kamailio = await pidOf('kamailio');
    process.kill(-kamailio, 'SIGSTOP');
    try {
      const reply = await api('POST', `${path}/hangup`, undefined, own.key);
      expect([reply.status, (reply.body.error as Json).code]).to.deep.equal([503, 'service_unavailable']);
      expect(Number(reply.headers.get('retry-after'))).to.be.at.least(1);
    } finally {
      process.kill(-kamailio, 'SIGCONT');
    }
    await healthy('kamailio');
    await until(
      async () => (await api('POST', `${path}/hangup`, undefined, own.key)).status === 202,
      'the hang-up to be taken',
    );
    expect(await call.ended()).to.include({ by: 'remote', how: 'bye' });
    expect(await there.ended()).to.include({ by: 'remote', how: 'bye' });
  });

  it('a relayed call that rings and is hung up through the API is canceled', async () => {
    await relaying();
    callee.listen('ring');
    const call = await place();
    const there = await callee.incoming();
    const { id } = await callTo(own);
    await done('POST', `/v1/calls/${id}/hangup`, undefined, own.key);
    expect((await call.final()).code).to.equal(487);
    expect((await there.ended()).how).to.equal('cancel');
    expect(await endedCallTo(own)).to.deep.include({
      status: 'canceled',
      hangup: { by: 'api', cause: 'ORIGINATOR_CANCEL', sip_code: 487 },
    });
  });

  it('the database hangs: a relayed call that costs something is refused, in the books too; calls in progress are read and hung up', async () => {
    await relaying();
    const up = await talking();
    const webhook = await stage();
    const other = await webhook.dial([{ pause: { seconds: 60 } }]);
    const { id } = await callTo(webhook.own);
    const database = await pidOf('database');
    process.kill(database, 'SIGSTOP');
    try {
      const call = await place();
      expect((await call.final()).code).to.equal(503);
      for (const [path, key] of [
        [up.path, own.key],
        [`/v1/calls/${id}`, webhook.own.key],
      ] as const) {
        expect((await api('GET', path, undefined, key)).status, path).to.equal(200);
        expect((await api('POST', `${path}/hangup`, undefined, key)).status, path).to.equal(202);
      }
      for (const ended of [up.call, up.there, other])
        expect(await ended.ended()).to.include({ by: 'remote', how: 'bye' });
    } finally {
      process.kill(database, 'SIGCONT');
    }
    await ready();
    const calls = await until(
      async () => {
        const all = (await done('GET', `/v1/calls?to=${encodeURIComponent(own.number)}`, undefined, own.key))
          .data as Json[];
        return (
          all.length === 2 &&
          all.every(({ status }) => status !== 'ringing' && status !== 'in_progress') &&
          all
        );
      },
      'both calls to be in the books',
      30_000,
    );
    expect(calls.map(({ status }) => status)).to.deep.equal(['failed', 'completed']);
    expect(callee.received).to.have.length(1);
  });

  it('the control process that has placed a call is away: another hangs it up, ringing or answered', async () => {
    const payer = await Payer.open();
    const second = await SecondControl.start();
    try {
      for (const manner of ['answer', 'ring'] as const) {
        payer.carrier.forget();
        payer.carrier.listen(manner);
        const placed = await payer.post(WAITING);
        const path = `/v1/calls/${String(placed.body.id)}`;
        const there = await payer.carrier.incoming();
        await until(
          async () =>
            (await done('GET', path, undefined, payer.key)).status ===
            (manner === 'answer' ? 'in_progress' : 'ringing'),
          `the call to be there (${manner})`,
        );
        await instance.stop('control');
        try {
          expect((await second.api('POST', `${path}/hangup`, undefined, payer.key)).status).to.equal(202);
          expect(await there.ended()).to.include({
            by: 'remote',
            how: manner === 'answer' ? 'bye' : 'cancel',
          });
        } finally {
          await instance.start('control');
          await ready();
        }
        await until(
          async () =>
            !['in_progress', 'ringing'].includes(
              String((await done('GET', path, undefined, payer.key)).status),
            ),
          'its record to be finished',
        );
      }
    } finally {
      await second.end();
      await payer.close();
    }
  });
});

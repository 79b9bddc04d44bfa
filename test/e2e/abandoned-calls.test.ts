import { expect } from 'chai';
import type { Call } from '../support/call.ts';
import { nothingLeft } from './leftovers.ts';
import { Payer } from './payer.ts';
import { api, callTo, done, endedCallTo, ready, timeline, until, type Tenant } from './platform.ts';
import { phoneAt, stage } from './stage.ts';

/** The contract's bound (section 13) for a call in which nobody is any more. */
const BOUND_MS = 60_000;

describe('a call whose far end is gone without having hung up', function () {
  this.timeout(200_000);

  // A BYE to nobody is repeated for half a minute.
  after(() => nothingLeft({ timeoutMs: 100_000 }));
  afterEach(ready);

  /** It neither sends audio nor answers anything from now on. */
  const gone = (...calls: Call[]): void => {
    for (const call of calls) call.drop();
  };
  /** It sends no audio, and is there. */
  const silent = (...calls: Call[]): void => {
    for (const call of calls) call.rtp.close();
  };
  const isUp = async (own: Tenant): Promise<void> =>
    void expect(await callTo(own)).to.include({ status: 'in_progress' });

  it('ends as abandoned, whatever it was doing; those on hold, and those who are silent, go on', async () => {
    const conference = await stage();
    const pausing = await stage();
    const holding = await stage();
    const quiet = await stage();
    await done('POST', '/admin/v1/rates', {
      customer_id: pausing.own.customerId,
      prefix: pausing.own.number,
      direction: 'inbound',
      price_per_minute: '0.60',
    });
    const pause = [{ pause: { seconds: 60 } }, { pause: { seconds: 60 } }, { pause: { seconds: 60 } }];
    const [inRoom, inPause, onHold, noAudio] = [
      await conference.dial([{ conference: { room: 'abandoned' } }]),
      await pausing.dial(pause),
      await holding.dial(pause),
      await quiet.dial(pause),
    ];
    const own = await Payer.open({ manner: 'answer' });
    const placed = await own.place({ actions: pause });
    const carrier = await own.carrier.incoming();
    await own.when(placed.id, 'in_progress');
    await onHold.hold();
    gone(inRoom, inPause, onHold, carrier);
    silent(noAudio);
    for (const one of [conference.own, pausing.own]) {
      const record = await endedCallTo(one, BOUND_MS);
      expect(record).to.include({ status: 'completed' });
      expect(record.hangup).to.include({ by: 'platform', cause: 'MEDIA_TIMEOUT' });
      expect((await timeline(record.id, one.key)).map(({ kind }) => kind)).to.include('media.timeout');
      await one.server.webhook(record.id, 'call.completed', 40_000);
    }
    const record = await own.settled(placed.id);
    expect(record.hangup).to.include({ by: 'platform', cause: 'MEDIA_TIMEOUT' });
    // What is held for it is given back, and nothing more is charged.
    await until(
      async () => (await done('GET', '/v1/balance', undefined, pausing.own.key)).held_amount === '0.00',
      'nothing to be held',
    );
    await isUp(holding.own);
    await isUp(quiet.own);
    await until(
      async () =>
        quiet.phone.messages.filter(
          ({ received, text }) => received && text.startsWith('OPTIONS') && text.includes(noAudio.callId),
        ).length > 1,
      'the silent one to be asked again',
    );
    await isUp(quiet.own);
    await isUp(holding.own);
    await noAudio.hangup();
    const { id } = await callTo(holding.own);
    await api('POST', `/v1/calls/${id}/hangup`, {}, holding.own.key);
    await own.close();
  });

  it('ends when it is relayed and both ends are gone; with one of them there, it goes on', async () => {
    const calls = [];
    for (const address of ['127.0.0.4', '127.0.0.5', '127.0.0.6']) {
      const relaying = await stage();
      const callee = await phoneAt(address);
      callee.listen('answer');
      await api('PATCH', `/admin/v1/dids/${relaying.own.didId}`, {
        route_mode: 'sip',
        route_target: { sip_uri: callee.uri },
      });
      const call = await relaying.place();
      await call.answered();
      calls.push({ own: relaying.own, call, far: await callee.incoming() });
    }
    const [both, one, held] = calls as [(typeof calls)[0], (typeof calls)[0], (typeof calls)[0]];
    await held.call.hold();
    gone(both.call, both.far, one.call);
    silent(one.far, held.call, held.far);
    const record = await endedCallTo(both.own, BOUND_MS);
    expect(record).to.include({ status: 'completed' });
    expect(record.hangup).to.include({ by: 'platform', cause: 'MEDIA_TIMEOUT' });
    await isUp(one.own);
    await isUp(held.own);
    one.far.leave();
    await held.far.hangup();
    await endedCallTo(one.own);
  });
});

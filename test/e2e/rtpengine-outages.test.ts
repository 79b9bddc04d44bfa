import { expect } from 'chai';
import type { Call } from '../support/call.ts';
import { tone } from '../../cli/phone/sound.ts';
import { nothingLeft } from './leftovers.ts';
import { Payer, refusalOf } from './payer.ts';
import { api, callTo, crash, endedCallTo, healthy, instance, pidOf, ready, until } from './platform.ts';
import { phoneAt, stage } from './stage.ts';

/** The call hears this tone now, whatever it has heard before. */
async function hearsNow(call: Call, frequency: number, timeoutMs = 40_000): Promise<void> {
  const { packets } = call.heard;
  await until(
    () => call.heard.packets > packets + 25 && call.heard.tone(frequency, call.heard.durationMs - 400) > 0.9,
    `${frequency} Hz to be heard`,
    timeoutMs,
  );
}

describe('when rtpengine', function () {
  this.timeout(150_000);

  after(() => nothingLeft());
  afterEach(ready);

  /** A number whose calls are relayed to a phone. */
  async function relayed() {
    const relaying = await stage();
    const callee = await phoneAt('127.0.0.4');
    callee.listen('answer', { sound: () => tone(800) });
    await api('PATCH', `/admin/v1/dids/${relaying.own.didId}`, {
      route_mode: 'sip',
      route_target: { sip_uri: callee.uri },
    });
    return { ...relaying, callee };
  }

  it('is killed and restarted, calls that a media node has are heard again, second legs too, and relayed ones end', async () => {
    const own = await Payer.open({ manner: 'manual' });
    const bridging = await stage();
    const relay = await relayed();
    const callee = await phoneAt('127.0.0.5');
    callee.listen('answer', { sound: () => tone(600) });
    const caller = await bridging.dial([{ transfer: { destination: callee.uri } }], { sound: tone(900) });
    const far = await callee.incoming();
    const { id } = await own.place({ actions: [{ pause: { seconds: 60 } }] });
    own.carrier.listen('manual', { sound: () => tone(700) });
    const placed = await own.carrier.incoming();
    placed.answer();
    await placed.answered();
    const relayedCall = await relay.place({ sound: tone(500) });
    await relayedCall.answered();
    const relayedFar = await relay.callee.incoming();
    await Promise.all([
      hearsNow(caller, 600),
      hearsNow(far, 900),
      hearsNow(relayedCall, 800),
      hearsNow(relayedFar, 500),
    ]);
    await crash('rtpengine');
    await Promise.all([hearsNow(caller, 600), hearsNow(far, 900)]);
    const record = await endedCallTo(relay.own, 60_000);
    expect(record).to.include({ status: 'failed' });
    expect(record.failure).to.include({ code: 'media_unavailable' });
    expect(record.hangup).to.include({ by: 'platform' });
    for (const side of [relayedCall, relayedFar])
      expect(await side.ended()).to.include({ by: 'remote', how: 'bye' });
    await until(
      () =>
        placed.messages.some(
          ({ received, text }) => received && text.startsWith('INVITE') && text.includes('tag='),
        ),
      'a re-INVITE to the carrier',
    );
    expect(await own.show(id)).to.include({ status: 'in_progress' });
    await own.hangUp(id);
    expect(await callTo(bridging.own)).to.include({ status: 'in_progress' });
    await caller.hangup();
    await own.close();
  });

  it('does not answer, no call is placed or taken, each says media_unavailable by the platform, and no audio of theirs is left', async () => {
    const own = await Payer.open({ manner: 'ring' });
    const webhook = await stage();
    const relay = await relayed();
    webhook.own.server.answers.set('/answer', [{ pause: { seconds: 1 } }]);
    const pid = await pidOf('rtpengine');
    process.kill(pid, 'SIGSTOP');
    try {
      // Before anybody has noticed.
      const reply = await own.post();
      const id = String(reply.body.id);
      if (reply.status === 201) {
        const record = await own.ended(id);
        expect(record.failure).to.include({ code: 'media_unavailable' });
        expect(record.hangup).to.include({ by: 'platform' });
      }
      await until(async () => (await own.post()).status === 503, 'calls to be refused');
      expect(refusalOf(await own.post())).to.deep.equal([503, 'service_unavailable']);
      expect(own.carrier.received).to.be.empty;
      for (const one of [webhook, relay]) {
        expect((await (await one.place()).final()).code).to.equal(503);
        const record = await endedCallTo(one.own);
        expect(record.failure).to.include({ code: 'media_unavailable' });
        expect(record.hangup).to.include({ by: 'platform' });
      }
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await healthy('rtpengine');
    await until(async () => (await own.post()).status === 201, 'calls to be placed again');
    for (const { id } of await own.calls()) await own.hangUp(id);
    await own.close();
    await nothingLeft({ timeoutMs: 100_000 });
  });

  it('is away for good, a call in progress is heard again when it is back', async () => {
    const { dial, own } = await stage();
    const callee = await phoneAt('127.0.0.5');
    callee.listen('answer', { sound: () => tone(600) });
    const call = await dial([{ transfer: { destination: callee.uri } }], { sound: tone(900) });
    const far = await callee.incoming();
    await hearsNow(call, 600);
    await instance.stop('rtpengine');
    const other = await Payer.open({ manner: 'ring' });
    await until(async () => (await other.post()).status === 503, 'that to be noticed');
    await other.close();
    expect(await callTo(own)).to.include({ status: 'in_progress' });
    await instance.start('rtpengine');
    await Promise.all([hearsNow(call, 600), hearsNow(far, 900)]);
    await call.hangup();
  });
});

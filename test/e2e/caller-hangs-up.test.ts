import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { spoken } from '../../cli/phone/voice.ts';
import { Payer } from './payer.ts';
import { callTo, endedCallTo, pidOf, sip, timeline, until, type Tenant } from './platform.ts';
import { CALLER, CARRIER, closing, phoneAt, stage, type Stage } from './stage.ts';

const LONG =
  'This is a rather long announcement, which nobody will ever hear to its end, because the caller always hangs up somewhere in the middle of it.';

describe('a caller who hangs up', () => {
  let own: Tenant;
  let place: Stage['place'];
  let dial: Stage['dial'];

  beforeEach(async () => void ({ own, place, dial } = await stage()));

  async function canceled(): Promise<void> {
    const record = await endedCallTo(own);
    expect(record).to.include({ status: 'canceled' });
    expect(record).to.not.have.property('answered_at');
    expect(record.hangup).to.include({ by: 'caller', sip_code: 487 });
    await own.server.webhook(record.id, 'call.canceled');
  }

  async function completed(): Promise<void> {
    const record = await endedCallTo(own);
    expect(record).to.include({ status: 'completed' });
    expect(record.hangup).to.include({ by: 'caller' });
    expect((await own.server.webhook(record.id, 'call.completed')).data).to.have.nested.property(
      'hangup.by',
      'caller',
    );
  }

  it('before the decision: the INVITE is ended with 487 and the call canceled', async () => {
    const control = await pidOf('control');
    process.kill(control, 'SIGSTOP');
    try {
      const call = await place();
      await call.cancel();
      expect((await call.final()).code).to.equal(487);
    } finally {
      process.kill(control, 'SIGCONT');
    }
    // The control plane finds the request in its socket, and the word of the caller's change of mind after
    // it.
    await canceled();
  });

  it('while the answer_url is asked: canceled, and the request is given up', async () => {
    let given: boolean | undefined;
    own.server.answers.set('/answer', (_request, response) =>
      response.on('close', () => (given = !response.writableEnded)),
    );
    const call = await place();
    await call.provisional(180);
    await until(() => own.server.requests.length > 0, 'the answer_url to be asked');
    await call.cancel();
    expect((await call.final()).code).to.equal(487);
    await canceled();
    await until(() => given, 'the request to be given up', 2000);
  });

  it('in the moment of the answer: canceled and not charged where the caller gets 487, completed where it gets 200', async () => {
    const payer = closing(await Payer.open());
    await payer.rate({ prefix: payer.number, direction: 'inbound', price_per_minute: '0.60' });
    let asked: () => void = () => undefined;
    payer.server.answers.set('/answer', (_request, response) => {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ actions: [{ pause: { seconds: 60 } }] }), () => asked());
    });
    const phone = await phoneAt(CARRIER);
    const codes: number[] = [];
    for (let i = 0; i < 60; i++) {
      const told = new Promise<void>((resolve) => (asked = resolve));
      const call = await phone.call({ to: payer.number, from: CALLER, via: sip });
      await Promise.all([told, call.provisional(180)]);
      // A little later each time, over the few milliseconds in which the answer comes.
      await sleep(i % 12);
      await call.cancel();
      codes.push((await call.final()).code);
      // The answer may have come before there was anything to cancel.
      if (!call.isOver) await call.hangup();
    }
    await until(
      async () => (await payer.calls()).every(({ ended_at }) => ended_at !== undefined),
      'all calls to end',
    );
    const { revenue, legs } = await payer.books();
    // Newest first, and one after the other: each is known by its place.
    const calls = (await payer.calls()).reverse();
    for (const [i, call] of calls.entries()) {
      const answered = codes[i] === 200;
      expect([codes[i], call.status, call.answered_at !== undefined], `call ${i}`).to.deep.equal([
        codes[i],
        answered ? 'completed' : 'canceled',
        answered,
      ]);
      if (!answered) expect(legs[`${call.id}/0`] ?? 0n, `the charge of call ${i}`).to.equal(0n);
      await payer.server.webhook(call.id, answered ? 'call.completed' : 'call.canceled');
    }
    expect(revenue).to.equal(BigInt(codes.filter((code) => code === 200).length) * 10_000n);
  }).timeout(60_000);

  it('in a prompt: completed', async () => {
    const call = await dial([{ say: { text: LONG } }]);
    await call.heard.waitUntilHears(await spoken(LONG), { fraction: 0.15 });
    expect(await call.hangup()).to.equal(200);
    await completed();
  });

  it('in a gather: completed, and the gather is told of', async () => {
    const call = await dial([
      { gather: { prompt: 'Your number please.', num_digits: 8, timeout_seconds: 30 } },
    ]);
    await call.heard.waitUntilHears(await spoken('Your number please.'));
    await call.press('12');
    await until(
      async () =>
        (await timeline((await callTo(own)).id, own.key)).filter(({ kind }) => kind === 'digit').length === 2,
      'two keys to arrive',
    );
    await call.hangup();
    await completed();
    const { id } = await endedCallTo(own);
    expect((await own.server.webhook(id, 'call.gathered')).data).to.include({
      digits: '12',
      status: 'hangup',
    });
  });

  it('in a pause: completed', async () => {
    const call = await dial([{ pause: { seconds: 30 } }]);
    await until(() => call.heard.durationMs > 300, 'audio to flow in the pause');
    await call.hangup();
    await completed();
  });
});

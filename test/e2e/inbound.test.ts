import { expect } from 'chai';
import type { Phone } from '../support/phone.ts';
import { tone } from '../../cli/phone/sound.ts';
import { spoken } from '../../cli/phone/voice.ts';
import { writeWav } from '../../cli/phone/wav.ts';
import {
  api,
  callTo,
  done,
  endedCallTo,
  freshNumber,
  inside,
  sip,
  timeline,
  until,
  type Tenant,
} from './platform.ts';
import { CALLER, CARRIER, customer, phoneAt, stage, type Stage } from './stage.ts';

describe('an inbound call', () => {
  let own: Tenant;
  let place: Stage['place'];
  let dial: Stage['dial'];

  beforeEach(async () => void ({ own, place, dial } = await stage()));

  it('runs the IVR: greeting, key, redirect by digit, good-bye, and tells it all in signed webhooks and one timeline', async () => {
    own.server.answers.set('/answer', [
      { say: { text: 'Welcome to the test company.' } },
      { gather: { prompt: 'Press one for sales or two for support.', num_digits: 1, timeout_seconds: 10 } },
      { type: 'redirect', url: `${own.server.base}/menu` },
    ]);
    own.server.answers.set('/menu', [
      { set_variable: { name: 'department', value: 'support' } },
      { say: { text: 'You have reached support. Good bye.' } },
    ]);
    const call = await place();
    await call.provisional(180);
    await call.answered();
    await call.heard.waitUntilHears(await spoken('Welcome to the test company.'));
    await call.heard.waitUntilHears(await spoken('Press one for sales or two for support.'), {
      fraction: 0.4,
    });
    await call.press('2');
    await call.heard.waitUntilHears(await spoken('You have reached support. Good bye.'));
    expect(await call.ended()).to.include({ by: 'remote', how: 'bye' });
    // The key stopped the prompt.
    expect(
      call.heard.recognises(await spoken('Press one for sales or two for support.')).fraction,
    ).to.be.below(0.9);

    const record = await endedCallTo(own);
    expect(record).to.include({
      status: 'completed',
      direction: 'inbound',
      from: '+15551230001',
      to: own.number,
      route_mode: 'webhook',
      application_id: own.applicationId,
    });
    expect(record).to.have.nested.property('hangup.by', 'application');
    expect(record.variables).to.deep.equal({ department: 'support' });
    expect(record.billsec_seconds).to.be.greaterThan(4);
    const menu = own.server.requests.find(({ path }) => path === '/menu');
    expect(Object.fromEntries(menu?.query ?? [])).to.include({
      call_id: record.id,
      digits: '2',
      gather_status: 'completed',
      timed_out: 'false',
      status: 'in_progress',
    });

    await own.server.webhook(record.id, 'call.completed');
    const hooks = own.server.of(record.id);
    expect(hooks.map(({ event }) => event)).to.deep.equal([
      'call.created',
      'call.answered',
      'call.gathered',
      'call.completed',
    ]);
    expect(hooks.every(({ signed }) => signed)).to.equal(true);
    expect(hooks.map(({ call: told }) => told.status)).to.deep.equal([
      'ringing',
      'in_progress',
      'in_progress',
      'completed',
    ]);
    expect(hooks[2]?.data).to.include({ digits: '2', status: 'completed' });
    expect(hooks[3]?.variables).to.deep.equal({ department: 'support' });

    const kinds = (await timeline(record.id, own.key)).map(({ kind }) => kind);
    expect(kinds).to.include.members([
      'call.created',
      'answer_url.requested',
      'answer_url.replied',
      'media.parked',
      'call.answered',
      'action.started',
      'action.ended',
      'digit',
      'call.gathered',
      'call.completed',
    ]);
    await until(
      async () =>
        (await timeline(record.id, own.key)).filter(({ kind }) => kind === 'webhook.attempted').length === 4,
      'four webhook attempts in the timeline',
    );
  });

  it('speaks A-law to a caller who speaks nothing else, and takes keys by SIP INFO', async () => {
    const call = await dial(
      [
        { gather: { prompt: 'Please enter your number.', num_digits: 3 } },
        { say: { text: 'Thank you very much.' } },
      ],
      { codecs: ['PCMA'], events: false },
    );
    await call.heard.waitUntilHears(await spoken('Please enter your number.'));
    await call.pressInfo('407');
    await call.heard.waitUntilHears(await spoken('Thank you very much.'));
    await call.ended();
    expect((await own.server.webhook((await endedCallTo(own)).id, 'call.gathered')).data).to.include({
      digits: '407',
    });
  });

  it('works over TCP', async () => {
    own.server.answers.set('/answer', [{ say: { text: 'This is over a stream.' } }]);
    const tcp = await phoneAt(CARRIER, { transport: 'tcp' });
    const call = await tcp.call({ to: own.number, from: CALLER, via: sip });
    await call.answered();
    await call.heard.waitUntilHears(await spoken('This is over a stream.'));
    await call.ended();
  });

  it('plays a WAV of the customer, pauses, and repeats', async () => {
    const samples = new Int16Array(8000);
    const beep = tone(1000);
    for (let at = 0; at < samples.length; at += 160) samples.set(beep(), at);
    own.server.answers.set('/beep.wav', (_request, response) =>
      response.setHeader('content-type', 'audio/wav').end(writeWav({ rate: 8000, samples })),
    );
    const call = await dial([
      { play: { url: `${own.server.base}/beep.wav`, loop: 2 } },
      { pause: { seconds: 1 } },
      { say: { text: 'The end is here.' } },
    ]);
    const end = await call.heard.waitUntilHears(await spoken('The end is here.'));
    // From where the tone begins: the file is fetched before, which takes as long as it takes.
    let begin = 0;
    while (call.heard.tone(1000, begin, begin + 100) < 0.85 && begin < end.startMs) begin += 20;
    expect(call.heard.tone(1000, begin, end.startMs - 1000)).to.be.greaterThan(0.85);
    expect(call.heard.silence(end.startMs - 800, end.startMs - 100)).to.equal(true);
    expect(end.startMs - begin).to.be.within(2800, 4200);
    await call.ended();
  });

  it('a timeout in a gather goes on with the flow', async () => {
    const call = await dial([{ gather: { timeout_seconds: 1 } }, { say: { text: 'Nobody pressed a key.' } }]);
    await call.heard.waitUntilHears(await spoken('Nobody pressed a key.'));
    await call.ended();
    expect((await own.server.webhook((await endedCallTo(own)).id, 'call.gathered')).data).to.include({
      digits: '',
      status: 'timeout',
      timed_out: true,
    });
  });

  it('a first reject refuses with its code, and nothing is answered', async () => {
    own.server.answers.set('/answer', [{ reject: { sip_code: 486 } }]);
    const call = await place();
    expect((await call.final()).code).to.equal(486);
    const record = await endedCallTo(own);
    expect(record).to.include({ status: 'failed' });
    expect(record.failure).to.include({ code: 'rejected' });
    expect(record).to.not.have.property('answered_at');
    expect((await own.server.webhook(record.id, 'call.failed')).data).to.include({
      code: 'rejected',
      sip_code: 486,
    });
  });

  it('the API hangs up, and the record says so', async () => {
    const call = await dial([
      {
        say: { text: 'This will not be heard to its end, since somebody hangs up before that, long before.' },
      },
    ]);
    const { id } = await callTo(own);
    expect((await api('POST', `/v1/calls/${id}/hangup`, {}, own.key)).status).to.equal(202);
    await call.ended();
    expect((await endedCallTo(own)).hangup).to.include({ by: 'api' });
    expect((await api('POST', `/v1/calls/${id}/hangup`, {}, own.key)).body).to.have.nested.property(
      'error.code',
      'call_not_active',
    );
  });

  it('other actions given through the API interrupt the prompt and take its place at once', async () => {
    const long =
      'This announcement is much too long for anybody to wait for its end, and nobody will, because something better comes.';
    const call = await dial([{ say: { text: long } }, { say: { text: 'Never heard.' } }]);
    await call.heard.waitUntilHears(await spoken(long), { fraction: 0.15 });
    const { id } = await callTo(own);
    const bad = await api(
      'POST',
      `/v1/calls/${id}/actions`,
      { actions: [{ say: { text: 'fine' } }, { gather: { timeout_seconds: 99 } }] },
      own.key,
    );
    expect([bad.status, (bad.body.error as { details: { path: string }[] }).details[0]?.path]).to.deep.equal([
      400,
      'actions[1].gather.timeout_seconds',
    ]);
    expect(
      (
        await api(
          'POST',
          `/v1/calls/${id}/actions`,
          { actions: [{ say: { text: 'Here is the better thing.' } }] },
          own.key,
        )
      ).status,
    ).to.equal(202);
    await call.heard.waitUntilHears(await spoken('Here is the better thing.'));
    await call.ended();
    expect(call.heard.recognises(await spoken(long)).fraction).to.be.below(0.7);
    expect((await timeline(id, own.key)).map(({ kind }) => kind)).to.include('flow.replaced');
    expect(
      (await api('POST', `/v1/calls/${id}/actions`, { actions: [] }, own.key)).body,
    ).to.have.nested.property('error.code', 'call_not_active');
  });

  it("another application's call does not exist", async () => {
    own.server.answers.set('/answer', [{ hangup: {} }]);
    await (await place()).ended();
    const other = await customer();
    const { id } = await endedCallTo(own);
    for (const [method, path] of [
      ['GET', ''],
      ['GET', '/events'],
      ['POST', '/hangup'],
    ] as const) {
      const reply = await api(
        method,
        `/v1/calls/${id}${path}`,
        method === 'POST' ? {} : undefined,
        other.key,
      );
      expect([reply.status, (reply.body.error as { code: string }).code]).to.deep.equal([
        404,
        'call_not_found',
      ]);
    }
  });

  it('numbers are understood with and without plus, with 00 and in national format', async () => {
    own.server.answers.set('/answer', [{ reject: { sip_code: 603 } }]);
    const digits = own.number.slice(1);
    for (const form of [own.number, digits, `00${digits}`, `0${digits.slice(1)}`, `tel:${own.number}`]) {
      expect((await (await place({ to: form })).final()).code, form).to.equal(603);
    }
  });

  it('a changed number is effective at once: reject, disabled, another application, deleted', async () => {
    own.server.answers.set('/answer', [{ reject: { sip_code: 603 } }]);
    const code = async () => (await (await place()).final()).code;
    const change = (body: object) => done('PATCH', `/admin/v1/dids/${own.didId}`, body);
    expect(await code()).to.equal(603);
    await change({ route_mode: 'reject', route_target: { sip_code: 486 } });
    expect(await code()).to.equal(486);
    await change({ status: 'disabled' });
    expect(await code()).to.equal(404);
    await change({ status: 'active', route_mode: 'webhook', route_target: null });
    expect(await code()).to.equal(603);
    await done('PATCH', `/admin/v1/customers/${own.customerId}`, { status: 'suspended' });
    expect(await code()).to.equal(403);
    await done('PATCH', `/admin/v1/customers/${own.customerId}`, { status: 'active' });
    expect(await code()).to.equal(603);
    await done('DELETE', `/admin/v1/dids/${own.didId}`);
    expect(await code()).to.equal(404);
  });

  it('a rejected and an unknown number leave no call behind', async () => {
    await done('PATCH', `/admin/v1/dids/${own.didId}`, { route_mode: 'reject' });
    expect((await (await place()).final()).code).to.equal(480);
    expect((await (await place({ to: freshNumber() })).final()).code).to.equal(404);
    expect((await done('GET', '/v1/calls', undefined, own.key)).count).to.equal(0);
  });

  it('from an unlisted source every number gets the same refusal', async () => {
    const stranger = await phoneAt('127.0.0.66');
    const known = await (await stranger.call({ to: own.number, from: CALLER, via: sip })).final();
    const unknown = await (await stranger.call({ to: freshNumber(), from: CALLER, via: sip })).final();
    expect([known.code, unknown.code]).to.deep.equal([403, 403]);
    expect(Object.keys(known.headers)).to.deep.equal(Object.keys(unknown.headers));
    expect(known.headers).to.not.have.any.keys('server', 'user-agent', 'warning');
  });

  it("a customer's trunk delivers the customer's own numbers and nobody else's", async () => {
    const other = await customer();
    const address = `127.0.1.${1 + (process.pid % 250)}`;
    await done('POST', '/v1/trunks', { name: 'own', proxy: address, inbound_ip: address }, other.key);
    own.server.answers.set('/answer', [{ reject: { sip_code: 603 } }]);
    other.server.answers.set('/answer', [{ reject: { sip_code: 603 } }]);
    const line = await phoneAt(address);
    expect((await (await line.call({ to: other.number, from: '+1555', via: sip })).final()).code).to.equal(
      603,
    );
    expect((await (await line.call({ to: own.number, from: '+1555', via: sip })).final()).code).to.equal(404);
  });

  it('nothing of the inside is in any message the carrier gets', async () => {
    const call = await dial([{ say: { text: 'Nothing to be seen here.' } }]);
    await call.hold();
    await call.resume();
    await call.heard.waitUntilHears(await spoken('Nothing to be seen here.'), { fraction: 0.3 });
    await call.ended();
    const text = call.receivedText;
    expect(text).to.not.match(/x-mv-/i);
    expect(text).to.not.match(/freeswitch|^server:|^user-agent:/im);
    expect(text).to.not.contain(inside.media);
  });

  describe('relayed to a SIP URI', () => {
    let callee: Phone;

    beforeEach(async () => {
      callee = await phoneAt('127.0.0.3');
      await done('PATCH', `/admin/v1/dids/${own.didId}`, {
        route_mode: 'sip',
        route_target: { sip_uri: callee.uri },
      });
    });

    it('connects both sides, with audio both ways, and says who hung up', async () => {
      callee.listen('answer', { sound: () => tone(600) });
      const call = await place({ sound: tone(900) });
      const far = await callee.incoming();
      await call.answered();
      await call.heard.waitUntilTone(600);
      await far.heard.waitUntilTone(900);
      await until(async () => (await callTo(own)).status === 'in_progress', 'the call to be in progress');
      await far.hangup();
      await call.ended();
      const record = await endedCallTo(own);
      expect(record).to.include({ status: 'completed', route_mode: 'sip' });
      expect(record.hangup).to.include({ by: 'callee' });
      expect(own.server.requests).to.deep.equal([]);
      expect(far.receivedText).to.not.match(/x-mv-/i);
    });

    it('a caller who hangs up ends both', async () => {
      callee.listen('answer');
      const call = await place();
      const far = await callee.incoming();
      await call.answered();
      await call.hangup();
      await far.ended();
      expect((await endedCallTo(own)).hangup).to.include({ by: 'caller' });
    });

    it('busy is busy for the caller, and for the record', async () => {
      callee.listen({ refuse: 486, reason: 'Busy Here' });
      expect((await (await place()).final()).code).to.equal(486);
      expect((await endedCallTo(own)).failure).to.include({ code: 'busy' });
    });

    it('a target that fails is followed by the next one', async () => {
      const second = await phoneAt('127.0.0.4');
      callee.listen({ refuse: 503 });
      second.listen('answer', { sound: () => tone(600) });
      await done('PATCH', `/admin/v1/dids/${own.didId}`, {
        route_target: { sip_uri: [callee.uri, second.uri] },
      });
      const call = await place();
      await call.answered();
      await call.heard.waitUntilTone(600);
      await call.hangup();
      expect((await endedCallTo(own)).status).to.equal('completed');
    });

    it('a caller who gives up while it rings cancels it', async () => {
      callee.listen('ring');
      const call = await place();
      await call.provisional(180);
      const far = await callee.incoming();
      await call.cancel();
      expect((await call.final()).code).to.equal(487);
      expect(await far.ended()).to.include({ how: 'cancel' });
      expect((await endedCallTo(own)).status).to.equal('canceled');
    });

    it('the API hangs up a relayed call', async () => {
      callee.listen('answer');
      const call = await place();
      await call.answered();
      const { id } = await until(async () => {
        const c = await callTo(own);
        return c.status === 'in_progress' && c;
      }, 'the call to be in progress');
      expect((await api('POST', `/v1/calls/${id}/hangup`, {}, own.key)).status).to.equal(202);
      await call.ended();
      expect((await endedCallTo(own)).hangup).to.include({ by: 'api' });
    });
  });
});

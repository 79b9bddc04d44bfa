import { expect } from 'chai';
import { spoken } from '../../cli/phone/voice.ts';
import {
  api,
  apiUrl,
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
import { phoneAt, stage, type Stage } from './stage.ts';

const LONG =
  'While you listen to this long announcement, somebody kills the control plane, and nobody on the telephone should ever notice anything of it at all.';

describe('when a part dies', function () {
  this.timeout(80_000);
  let own: Tenant;
  let place: Stage['place'];
  let dial: Stage['dial'];

  beforeEach(async () => void ({ own, place, dial } = await stage()));
  afterEach(ready);

  it('the control plane in a prompt: the caller hears it to the end, the flow goes on and ends right', async () => {
    const call = await dial([
      { set_variable: { name: 'kept', value: 'yes' } },
      { say: { text: LONG } },
      { say: { text: 'And this is the next one.' } },
    ]);
    await call.heard.waitUntilHears(await spoken(LONG), { fraction: 0.1 });
    const { id } = await callTo(own);
    process.kill(await pidOf('control'), 'SIGKILL');
    await call.heard.waitUntilHears(await spoken(LONG), { timeoutMs: 20_000 });
    await call.heard.waitUntilHears(await spoken('And this is the next one.'));
    expect(call.heard.occurrences(await spoken(LONG))).to.have.length(1);
    expect(await call.ended()).to.include({ by: 'remote' });
    await ready();
    const record = await endedCallTo(own);
    expect(record).to.include({ id, status: 'completed' });
    expect(record.hangup).to.include({ by: 'application' });
    expect(record.variables).to.deep.equal({ kept: 'yes' });
    await own.server.webhook(id, 'call.completed', 40_000);
    expect(new Set(own.server.of(id).map(({ event }) => event))).to.deep.equal(
      new Set(['call.created', 'call.answered', 'call.completed']),
    );
    expect((await timeline(id, own.key)).map(({ kind }) => kind)).to.include('flow.resumed');
    expect(own.server.requests).to.have.length(1);
  });

  it('the control plane, and the caller hangs up meanwhile: the call is ended by the next life', async () => {
    const call = await dial([{ pause: { seconds: 60 } }]);
    const { id } = await callTo(own);
    await until(async () => (await callTo(own)).status === 'in_progress', 'the call to be in progress');
    await instance.stop('control');
    await call.hangup();
    await instance.start('control');
    const record = await endedCallTo(own);
    expect(record).to.include({ id, status: 'completed' });
    await own.server.webhook(id, 'call.completed', 40_000);
  });

  it('the control plane: webhook numbers get 503 with Retry-After at once, reject and unknown numbers are unaffected, sip numbers go on', async () => {
    const rejecting = await stage();
    const relaying = await stage();
    const callee = await phoneAt('127.0.0.3');
    callee.listen('answer');
    await api('PATCH', `/admin/v1/dids/${rejecting.own.didId}`, {
      route_mode: 'reject',
      route_target: { sip_code: 603 },
    });
    await api('PATCH', `/admin/v1/dids/${relaying.own.didId}`, {
      route_mode: 'sip',
      route_target: { sip_uri: callee.uri },
    });
    await instance.stop('control');
    try {
      const final = await (await place()).final();
      expect(final.code).to.equal(503);
      expect(final.headers).to.have.property('retry-after');
      expect((await (await rejecting.place()).final()).code).to.equal(603);
      expect((await (await place({ to: '+15550000000' })).final()).code).to.equal(404);
      const relayed = await relaying.place();
      await relayed.answered();
      await relayed.hangup();
    } finally {
      await instance.start('control');
    }
  });

  it('a control plane that hangs: the decision times out, the caller gets 503 with Retry-After', async () => {
    const control = await pidOf('control');
    process.kill(control, 'SIGSTOP');
    try {
      const final = await (await place()).final();
      expect(final.code).to.equal(503);
      expect(final.headers).to.have.property('retry-after');
    } finally {
      process.kill(control, 'SIGCONT');
    }
    // It wakes up, decides, and nobody wants to know any more: the call it made does not stay.
    expect((await endedCallTo(own, 30_000)).failure).to.include({ code: 'internal_error' });
  });

  it('the media node in a call: the caller is let go, the call is failed and the webhook says so', async () => {
    const call = await dial([{ say: { text: LONG } }]);
    await call.heard.waitUntilHears(await spoken(LONG), { fraction: 0.1 });
    const media = await pidOf('media');
    process.kill(media, 'SIGKILL');
    const record = await endedCallTo(own);
    expect(record).to.include({ status: 'failed' });
    expect(record.failure).to.include({ code: 'media_unavailable' });
    expect((await own.server.webhook(record.id, 'call.failed')).data).to.include({
      code: 'media_unavailable',
    });
    expect(await call.ended()).to.include({ by: 'remote', how: 'bye' });
    await healthy('media', media);
  });

  it('the media node: calls are refused with 503 while it is away and served when it is back', async () => {
    await instance.stop('media');
    try {
      const final = await (await place()).final();
      expect(final.code).to.equal(503);
      expect((await endedCallTo(own)).failure).to.include({ code: 'media_unavailable' });
    } finally {
      await instance.start('media');
    }
    own.server.answers.set('/answer', [{ say: { text: 'Here again.' } }]);
    await ready();
    await until(
      async () => {
        const call = await place();
        return (await call.final()).code === 200 && (await call.ended());
      },
      'a call to be served again',
      30_000,
    );
  });

  it('rtpengine: /readyz and the overview of the edge say that it is away, and that it is back', async () => {
    const edge = async () =>
      (await done('GET', '/admin/v1/edge')) as Record<'kamailio' | 'rtpengine' | 'media', Json[]>;
    const well = await edge();
    expect(well.kamailio[0])
      .to.include({ healthy: true, synced: true })
      .and.to.have.property('version')
      .that.matches(/^\d+\.\d+/);
    expect(well.rtpengine[0]).to.include({ healthy: true }).and.to.have.property('calls').that.is.a('number');
    expect(well.media[0]).to.include({ healthy: true });
    await instance.stop('rtpengine');
    try {
      const reply = await until(async () => {
        const response = await fetch(`${apiUrl}/readyz`);
        return response.status === 503 && ((await response.json()) as { error: { message: string } });
      }, 'the platform not to be ready');
      expect(reply.error.message).to.contain('rtpengine: no rtpengine answers');
      expect((await edge()).rtpengine[0]).to.include({ healthy: false });
    } finally {
      await instance.start('rtpengine');
    }
    await ready();
    // Kamailio looks by itself, now and then, whether rtpengine is back.
    own.server.answers.set('/answer', [{ say: { text: 'Audio again.' } }]);
    await until(
      async () => {
        const call = await place();
        return (await call.final()).code === 200 && (await call.ended());
      },
      'a call to be served again',
      30_000,
    );
  });

  it('kamailio: it gets its numbers back and serves them', async () => {
    own.server.answers.set('/answer', [{ reject: { sip_code: 603 } }]);
    await crash('kamailio');
    await until(async () => (await (await place()).final()).code === 603, 'the number to be known again');
  });

  it('the database: calls are refused while it is away, and what was going on is written when it is back', async () => {
    const call = await dial([
      { gather: { num_digits: 1, timeout_seconds: 30 } },
      { say: { text: 'The call goes on.' } },
    ]);
    const { id } = await callTo(own);
    await instance.stop('database');
    try {
      await call.press('5');
      await call.heard.waitUntilHears(await spoken('The call goes on.'));
      await call.ended();
      await until(async () => (await (await place()).final()).code === 503, 'new calls to be refused');
    } finally {
      await instance.start('database');
    }
    await ready();
    expect(await endedCallTo(own)).to.include({ id, status: 'completed' });
    expect((await own.server.webhook(id, 'call.gathered')).data).to.include({ digits: '5' });
  });

  it('redis: calls go on and new ones are served', async () => {
    own.server.answers.set('/answer', [{ say: { text: 'Redis is not needed for this.' } }]);
    await instance.stop('redis');
    try {
      const call = await place();
      await call.answered();
      await call.heard.waitUntilHears(await spoken('Redis is not needed for this.'));
      await call.ended();
    } finally {
      await instance.start('redis');
    }
    expect((await endedCallTo(own)).status).to.equal('completed');
  });
});

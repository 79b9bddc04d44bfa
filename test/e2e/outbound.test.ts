import { expect } from 'chai';
import { tone } from '../../cli/phone/sound.ts';
import { channelsOf, toneShare } from '../support/stereo.ts';
import { spoken } from '../../cli/phone/voice.ts';
import { nothingLeft } from './leftovers.ts';
import { api, audio, inside, timeline, until } from './platform.ts';
import { FROM, Payer } from './payer.ts';

const GREETING = 'Good day, this is a reminder of your appointment.';
const PAUSE = { pause: { seconds: 60 } };

/** The example of the documentation of outbound calls, as it stands. */
const REQUEST = '{"from":"+15551230001","to":"+15551230002","metadata":{"campaign":"dev"},"record":true}';
const DOCUMENTED = {
  id: 'call_20260529T120000.000000000',
  status: 'dialing',
  direction: 'outbound',
  from: '+15551230001',
  to: '+15551230002',
  application_id: 'app_123',
  customer_id: 'cust_123',
  provider_call_id: 'uuid',
  answer_url: 'https://example.test/answer',
  metadata: { record: true },
  created_at: '2026-05-29T12:00:00Z',
  route_mode: 'webhook',
  routing_target: 'app_123',
  dialing_at: '2026-05-29T12:00:01Z',
};

describe('an outbound call', function () {
  this.timeout(30_000);
  let own: Payer;

  beforeEach(async () => {
    own = await Payer.open();
    own.server.answers.set('/answer', [{ say: { text: GREETING } }]);
  });
  after(() => nothingLeft());
  afterEach(async () => {
    await own.close();
  });

  const kindsOf = async (id: string): Promise<string[]> =>
    (await timeline(id, own.key)).map(({ kind }) => kind);
  const eventsOf = (id: string): string[] => own.server.of(id).map(({ event }) => event);

  it('the documented request gets the documented reply, field by field', async () => {
    own.carrier.listen({ refuse: 486 });
    const reply = await own.post(JSON.parse(REQUEST));
    expect(reply.status).to.equal(201);
    const { id, provider_call_id, created_at, dialing_at, variables, trunk_id, ...rest } = reply.body;
    expect(Object.keys(reply.body)).to.include.members(Object.keys(DOCUMENTED));
    expect(id).to.match(/^call_\d{8}T\d{6}\.\d{9}$/);
    expect(provider_call_id).to.match(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    for (const at of [created_at, dialing_at]) expect(at).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    expect(rest).to.deep.equal({
      status: 'dialing',
      direction: 'outbound',
      from: FROM,
      to: '+15551230002',
      application_id: own.applicationId,
      customer_id: own.customerId,
      answer_url: `${own.server.base}/answer`,
      metadata: { campaign: 'dev', record: true },
      route_mode: 'webhook',
      routing_target: own.applicationId,
    });
    // What the documentation does not show, since its calls have none of them.
    expect([variables, trunk_id]).to.deep.equal([{}, own.trunkId]);
    expect(await own.ended(String(id))).to.include({ id, provider_call_id, created_at, dialing_at });
  });

  it('rings, is answered, and asks for its flow only then: heard, and told in order by webhooks and in one timeline', async () => {
    const { id, to } = await own.place({ metadata: { campaign_id: 'spring_followup' } });
    const far = await own.carrier.incoming();
    expect(far.invite?.uri).to.contain(`sip:${to}@`);
    far.ring();
    await own.server.webhook(id, 'call.ringing');
    expect(await own.show(id))
      .to.include({ status: 'ringing', trunk_id: own.trunkId })
      .and.to.have.property('ringing_at');
    expect(own.server.requests, 'nobody is asked before the answer').to.be.empty;
    far.answer();
    await far.answered();
    await far.heard.waitUntilHears(await spoken(GREETING));
    expect(await far.ended()).to.include({ by: 'remote', how: 'bye' });
    expect(far.receivedText).to.not.include(inside.media).and.not.to.include('X-MV');
    expect(far.receivedText).to.match(new RegExp(`^From: .*${FROM.slice(1)}`, 'm'));

    const record = await own.settled(id);
    expect(record).to.include({
      status: 'completed',
      direction: 'outbound',
      from: FROM,
      to,
      trunk_id: own.trunkId,
      cost_currency: 'EUR',
    });
    expect(record.hangup).to.include({ by: 'application', cause: 'NORMAL_CLEARING' });
    expect(record.metadata).to.deep.equal({ campaign_id: 'spring_followup' });
    expect(own.server.requests).to.have.length(1);
    expect(Object.fromEntries(own.server.requests[0]?.query ?? [])).to.include({
      call_id: id,
      customer_id: own.customerId,
      application_id: own.applicationId,
      direction: 'outbound',
      from: FROM,
      to,
      status: 'in_progress',
    });

    await own.server.webhook(id, 'call.completed');
    const hooks = own.server.of(id);
    expect(hooks.map(({ event, call }) => [event, call.status])).to.deep.equal([
      ['call.created', 'dialing'],
      ['call.ringing', 'ringing'],
      ['call.answered', 'in_progress'],
      ['call.completed', 'completed'],
    ]);
    expect(hooks.every(({ signed, call }) => signed && call.direction === 'outbound')).to.equal(true);
    expect(hooks[3]?.data).to.include({
      billsec_seconds: record.billsec_seconds,
      duration_seconds: record.duration_seconds,
    });
    const kinds = (await kindsOf(id)).filter(
      (kind) => !['webhook.attempted', 'action.started', 'action.ended'].includes(kind),
    );
    expect(kinds.filter((kind) => /^call\.|^answer_url|^billing/.test(kind))).to.deep.equal([
      'call.created',
      'call.ringing',
      'call.answered',
      'answer_url.requested',
      'answer_url.replied',
      'call.completed',
      'billing.settled',
    ]);
  });

  it('early media of the far end counts as ringing, and its 200 without ringing as an answer', async () => {
    const { id } = await own.place();
    const early = await own.carrier.incoming();
    early.progress();
    await own.when(id, 'ringing');
    early.answer();
    await early.heard.waitUntilHears(await spoken(GREETING), { fraction: 0.3 });
    await early.hangup();
    const { id: second } = await own.place();
    const silent = await own.carrier.incoming();
    silent.answer();
    await silent.heard.waitUntilHears(await spoken(GREETING), { fraction: 0.3 });
    await silent.hangup();
    await own.server.webhook(second, 'call.completed');
    expect(eventsOf(second)).to.deep.equal(['call.created', 'call.answered', 'call.completed']);
  });

  it('runs actions that came with the request, and asks nobody', async () => {
    own.carrier.listen('answer');
    const { id } = await own.place({
      actions: [{ say: { text: 'These words came along.' } }, { type: 'hangup' }],
    });
    const far = await own.carrier.incoming();
    await far.heard.waitUntilHears(await spoken('These words came along.'));
    await far.ended();
    expect((await own.ended(id)).hangup).to.include({ by: 'application' });
    expect(own.server.requests).to.be.empty;
  });

  it('asks the answer_url of the request instead of that of the application', async () => {
    own.carrier.listen('answer');
    own.server.answers.set('/campaign', [{ say: { text: 'This is the campaign.' } }]);
    const { id, answer_url } = await own.place({ answer_url: `${own.server.base}/campaign?id=7` });
    expect(answer_url).to.equal(`${own.server.base}/campaign?id=7`);
    const far = await own.carrier.incoming();
    await far.heard.waitUntilHears(await spoken('This is the campaign.'));
    await far.ended();
    await own.ended(id);
    expect(
      own.server.requests.map(({ path, query }) => [path, query.get('id'), query.get('direction')]),
    ).to.deep.equal([['/campaign', '7', 'outbound']]);
  });

  it('record: true records from the answer: the far end left, what it hears right', async () => {
    own.carrier.listen('answer', { sound: () => tone(900) });
    const { id, metadata } = await own.place({ record: true });
    expect(metadata).to.deep.equal({ record: true });
    const far = await own.carrier.incoming();
    await far.heard.waitUntilHears(await spoken(GREETING));
    await far.ended();
    const { data } = await own.server.webhook(id, 'recording.completed');
    expect(data).to.include({ id: `rec_${id}`, status: 'completed' });
    expect(data.duration_seconds).to.be.greaterThan(1);
    const [left, right] = channelsOf((await audio(`/v1/recordings/rec_${id}/audio`, own.key)).body);
    expect(toneShare(left, 900), 'the far end, left').to.be.greaterThan(0.8);
    expect(toneShare(right, 900)).to.be.below(0.05);
    expect(
      right.some((sample) => Math.abs(sample) > 1000),
      'the greeting, right',
    ).to.equal(true);
  });

  it('a record inside of the metadata records nothing, and comes back as it was sent', async () => {
    own.carrier.listen('answer');
    const { id, metadata } = await own.place({
      metadata: { record: true, order: 1.5 },
      record: false,
      actions: [{ say: { text: 'Hello.' } }],
    });
    expect(metadata).to.deep.equal({ record: true, order: 1.5 });
    await (await own.carrier.incoming()).ended();
    expect((await own.ended(id)).metadata).to.deep.equal({ record: true, order: 1.5 });
    expect((await api('GET', `/v1/calls/${id}/recordings`, undefined, own.key)).body).to.include({
      count: 0,
    });
  });

  it('ends when max_duration_seconds after its answer have passed', async () => {
    own.carrier.listen('answer');
    const { id } = await own.place({ max_duration_seconds: 1, actions: [PAUSE] });
    expect(await (await own.carrier.incoming()).ended()).to.include({ by: 'remote', how: 'bye' });
    const record = await own.ended(id);
    expect(record).to.include({ status: 'completed' }).and.not.to.have.property('failure');
    expect(record.hangup).to.include({ by: 'platform', cause: 'ALLOTTED_TIMEOUT' });
    expect(record.billsec_seconds).to.be.within(1, 2);
  });

  it('the far end hangs up: completed, by the callee', async () => {
    own.carrier.listen('answer');
    const { id } = await own.place({ actions: [PAUSE] });
    const far = await own.carrier.incoming();
    await own.when(id, 'in_progress');
    await far.hangup();
    const record = await own.ended(id);
    expect(record).to.include({ status: 'completed' });
    expect(record.hangup).to.include({ by: 'callee', cause: 'NORMAL_CLEARING' });
    expect((await own.server.webhook(id, 'call.completed')).data.hangup).to.include({ by: 'callee' });
  });

  it('the API hangs up: completed, by the API, and it cannot be hung up twice', async () => {
    own.carrier.listen('answer');
    const { id } = await own.place({ actions: [PAUSE] });
    const far = await own.carrier.incoming();
    await own.when(id, 'in_progress');
    expect((await own.hangUp(id)).status).to.equal(202);
    expect(await far.ended()).to.include({ by: 'remote', how: 'bye' });
    const record = await own.ended(id);
    expect(record).to.include({ status: 'completed' });
    expect(record.hangup).to.include({ by: 'api' });
    expect((await own.hangUp(id)).body).to.have.nested.property('error.code', 'call_not_active');
  });

  it('a far end that hangs up right behind its 200 has answered, and pays the least there is', async () => {
    own.carrier.listen('manual');
    const { id } = await own.place();
    const far = await own.carrier.incoming();
    far.answer();
    await far.answered();
    await far.hangup();
    expect(await own.settled(id)).to.include({
      status: 'completed',
      billsec_seconds: 1,
      cost_amount: '0.01',
    });
    await own.server.webhook(id, 'call.completed');
    expect(eventsOf(id)).to.deep.equal(['call.created', 'call.answered', 'call.completed']);
  });

  it('a 200 that is sent twice is one answer', async () => {
    const { id } = await own.place();
    const far = await own.carrier.incoming();
    far.ring();
    far.answer();
    far.answerAgain();
    await far.answered();
    far.answerAgain();
    await until(
      () => far.messages.filter(({ received, text }) => received && text.startsWith('ACK')).length >= 2,
      'both to be acknowledged',
    );
    await far.heard.waitUntilHears(await spoken(GREETING));
    await far.ended();
    await own.server.webhook(id, 'call.completed');
    expect(eventsOf(id).filter((event) => event === 'call.answered')).to.have.length(1);
    expect(own.server.requests).to.have.length(1);
    expect(own.carrier.received).to.have.length(1);
  });

  for (const first of ['hangup', 'reject']) {
    it(`${first} as the first action ends the answered call`, async () => {
      own.carrier.listen('answer');
      own.server.answers.set('/answer', [{ [first]: {} }]);
      const { id } = await own.place();
      expect(await (await own.carrier.incoming()).ended()).to.include({ by: 'remote', how: 'bye' });
      const record = await own.ended(id);
      expect(record).to.include({ status: 'completed' });
      expect(record.hangup).to.include({
        by: 'application',
        cause: first === 'reject' ? 'CALL_REJECTED' : 'NORMAL_CLEARING',
      });
    });
  }

  it('an answer_url that cannot be asked ends the answered call failed', async () => {
    own.carrier.listen('answer');
    own.server.answers.set('/answer', (_request, response) => response.writeHead(500).end());
    const { id } = await own.place();
    await (await own.carrier.incoming()).ended();
    const record = await own.ended(id);
    expect(record).to.include({ status: 'failed' });
    expect(record.failure).to.include({ code: 'answer_url_error' });
    expect((await own.server.webhook(id, 'call.failed')).data).to.include({ code: 'answer_url_error' });
    expect((await own.settled(id)).cost_amount, 'it was answered').to.not.equal('0.00');
  });
});

import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { coordinates, nothingLeft } from './leftovers.ts';
import { FROM, Payer, refusalOf } from './payer.ts';
import { api, done, freshNumber, listed, tenant, until, type ApiReply, type Json } from './platform.ts';

const detailsOf = ({ body }: ApiReply): Json[] => ((body.error as Json).details ?? []) as Json[];

/** What is wrong with a request, and the path that the refusal names. */
const WRONG: [what: string, fields: Json, path: string][] = [
  ['no from', { from: undefined }, 'from'],
  ['a from without a plus sign', { from: '15551230001' }, 'from'],
  ['no to', { to: undefined }, 'to'],
  ['a to that is a SIP URI', { to: 'sip:somebody@example.com' }, 'to'],
  ['a to that begins with a zero', { to: '+0155512345' }, 'to'],
  ['metadata that is a list', { metadata: ['a'] }, 'metadata'],
  ['metadata that is a text', { metadata: 'a' }, 'metadata'],
  ['metadata of more than 4 KiB', { metadata: { text: 'x'.repeat(4096) } }, 'metadata'],
  ['a record that is a text', { record: 'yes' }, 'record'],
  ['ringing for less than five seconds', { ring_timeout_seconds: 4 }, 'ring_timeout_seconds'],
  ['ringing for more than two minutes', { ring_timeout_seconds: 121 }, 'ring_timeout_seconds'],
  ['half a second', { ring_timeout_seconds: 5.5 }, 'ring_timeout_seconds'],
  ['no time to talk', { max_duration_seconds: 0 }, 'max_duration_seconds'],
  ['more than a day to talk', { max_duration_seconds: 86_401 }, 'max_duration_seconds'],
  ['a field that does not exist', { callback_url: 'https://example.com' }, 'callback_url'],
  ['an answer_url that is no web address', { answer_url: 'ftp://example.com/flow' }, 'answer_url'],
  ['an action that does not exist', { actions: [{ say: { text: 'a' } }, { sing: {} }] }, 'actions[1]'],
  [
    'a field of an action out of range',
    { actions: [{ gather: { timeout_seconds: 99 } }] },
    'actions[0].gather.timeout_seconds',
  ],
];

describe('a call that is refused', function () {
  this.timeout(30_000);
  let own: Payer | undefined;

  after(() => nothingLeft());
  afterEach(async () => {
    await own?.close();
    own = undefined;
  });

  const open = async (options: Parameters<typeof Payer.open>[0] = {}): Promise<Payer> =>
    (own = await Payer.open(options));
  const patch = (fields: Json): Promise<Json> =>
    done('PATCH', `/admin/v1/customers/${String(own?.customerId)}`, fields);

  it('invalid_request: each field that is wrong is named by its path, and nothing has happened', async () => {
    const payer = await open();
    for (const [what, fields, path] of WRONG) {
      const reply = await payer.post(fields);
      expect(refusalOf(reply), what).to.deep.equal([400, 'invalid_request']);
      expect(
        detailsOf(reply)
          .map((detail) => String(detail.path))
          .some((one) => one === path || one.startsWith(`${path}.`)),
        `${what}: ${JSON.stringify(detailsOf(reply))}`,
      ).to.equal(true);
    }
    const both = await payer.post({ answer_url: `${payer.server.base}/answer`, actions: [{ hangup: {} }] });
    expect(refusalOf(both)).to.deep.equal([400, 'invalid_request']);
    expect(['answer_url', 'actions']).to.include(detailsOf(both)[0]?.path);
    const several = await payer.post({ from: 'x', to: 'y' });
    expect(detailsOf(several).map(({ path }) => path)).to.deep.equal(['from', 'to']);
    expect(await payer.calls()).to.be.empty;
  });

  it('invalid_request where nobody could say what to do with the call', async () => {
    const payer = await open();
    await done('PATCH', `/v1/applications/${payer.applicationId}`, { answer_url: null }, payer.key);
    const reply = await payer.post();
    expect(refusalOf(reply)).to.deep.equal([400, 'invalid_request']);
    expect(detailsOf(reply).map(({ path }) => path)).to.deep.equal(['answer_url']);
    await payer.place({ actions: [{ hangup: {} }] });
  });

  it('invalid_json, and what is no object', async () => {
    const payer = await open();
    const raw = async (body: string): Promise<[number, unknown]> => {
      const reply = await fetch(`${coordinates().api}/v1/calls`, {
        method: 'POST',
        headers: { authorization: `Bearer ${payer.key}`, 'content-type': 'application/json' },
        body,
      });
      return [reply.status, ((await reply.json()) as { error: Json }).error.code];
    };
    expect(await raw('{"from": "+15551230001",')).to.deep.equal([400, 'invalid_json']);
    expect(await raw('[]')).to.deep.equal([400, 'invalid_request']);
    expect(await raw('"+15551230001"')).to.deep.equal([400, 'invalid_request']);
  });

  it("unauthorized without a key, with one of nobody's, and with the operator's", async () => {
    const call = { from: FROM, to: freshNumber() };
    expect(refusalOf(await api('POST', '/v1/calls', call, ''))).to.deep.equal([401, 'unauthorized']);
    expect(refusalOf(await api('POST', '/v1/calls', call, `mv_live_${'a'.repeat(32)}`))).to.deep.equal([
      401,
      'unauthorized',
    ]);
    expect(refusalOf(await api('POST', '/v1/calls', call))).to.deep.equal([401, 'unauthorized']);
  });

  it('insufficient_balance, in the words of the documentation', async () => {
    const payer = await open({ credit: '0.59' });
    const reply = await payer.post();
    expect(reply.status).to.equal(402);
    expect(reply.body.error).to.include({
      code: 'insufficient_balance',
      message: 'balance is too low to create call',
    });
    expect(await payer.calls()).to.be.empty;
    await payer.credit('0.01');
    await payer.place();
  });

  it('rate_not_found for a number without a price, no_active_trunk without a way', async () => {
    const payer = await open();
    expect(refusalOf(await payer.post({ to: '+9995551234' }))).to.deep.equal([400, 'rate_not_found']);
    const stranger = await tenant();
    stranger.server.close();
    const foreign = await done(
      'POST',
      '/v1/trunks',
      { name: 'foreign', proxy: '127.0.0.4', probe: false },
      stranger.key,
    );
    for (const trunk_id of [foreign.id, 'trunk_that_does_not_exist'])
      expect(refusalOf(await payer.post({ trunk_id }))).to.deep.equal([400, 'no_active_trunk']);
    await done('PATCH', `/v1/trunks/${payer.trunkId}`, { is_active: false }, payer.key);
    expect(refusalOf(await payer.post({ trunk_id: payer.trunkId }))).to.deep.equal([400, 'no_active_trunk']);
  });

  it('no_active_trunk where neither the customer nor the operator has any', async () => {
    const payer = await open({ trunk: { is_active: false } });
    const operators = (await listed('/admin/v1/trunks')).filter(
      ({ customer_id, is_active }) => customer_id === undefined && is_active === true,
    );
    const all = (is_active: boolean) =>
      Promise.all(operators.map(({ id }) => done('PATCH', `/admin/v1/trunks/${String(id)}`, { is_active })));
    await all(false);
    try {
      expect(refusalOf(await payer.post())).to.deep.equal([400, 'no_active_trunk']);
    } finally {
      await all(true);
    }
  });

  it('customer_suspended and application_disabled, from the moment the operator has said so', async () => {
    const payer = await open();
    await patch({ status: 'suspended' });
    expect(refusalOf(await payer.post())).to.deep.equal([403, 'customer_suspended']);
    await patch({ status: 'active' });
    await done('PATCH', `/v1/applications/${payer.applicationId}`, { status: 'disabled' }, payer.key);
    expect(refusalOf(await payer.post())).to.deep.equal([403, 'application_disabled']);
    await done('PATCH', `/admin/v1/applications/${payer.applicationId}`, { status: 'active' });
  });

  it('spend_control_exceeded names the rule: prefixes, the highest price, the caps of a day and a month', async () => {
    const payer = await open();
    const refused = async (spend: Json, path: string): Promise<void> => {
      await patch({ spend });
      const reply = await payer.post();
      expect(refusalOf(reply), path).to.deep.equal([403, 'spend_control_exceeded']);
      expect(detailsOf(reply).map((detail) => detail.path)).to.deep.equal([path]);
    };
    await refused({ blocked_prefixes: ['+1555'] }, 'spend.blocked_prefixes');
    await refused({ blocked_prefixes: null, allowed_prefixes: ['+44'] }, 'spend.allowed_prefixes');
    await refused(
      { allowed_prefixes: ['+1'], max_price_per_minute: '0.599999' },
      'spend.max_price_per_minute',
    );
    await refused({ max_price_per_minute: '0.60', daily: '0.59' }, 'spend.daily');
    await refused({ daily: null, monthly: '0.59' }, 'spend.monthly');
    // What calls in progress may come to cost counts, and what they did not cost in the end does not.
    await patch({ spend: { daily: '1.19', monthly: '1.20' } });
    const { id } = await payer.place();
    await refused({}, 'spend.daily');
    await payer.hangUp(id);
    await payer.settled(id);
    await payer.place();
  });

  for (const [scope, limits, limit] of [
    [
      'customer',
      (most: number) => ({ customer: { limits: { cps: most, concurrent_calls: 100 } } }),
      'customer.limits.cps',
    ],
    ['application', (most: number) => ({ application: { max_cps: most } }), 'application.max_cps'],
    ['trunk', (most: number) => ({ trunk: { max_cps: most } }), 'trunk.max_cps'],
  ] as const) {
    it(`cps_limit_reached: more than the ${scope} allows in a second, with the time to wait`, async () => {
      const payer = await open(limits(1));
      const replies = await Promise.all(
        Array.from({ length: 10 }, () => payer.post({ trunk_id: payer.trunkId })),
      );
      const refused = replies.filter(({ status }) => status !== 201);
      expect(refused).to.have.length.greaterThan(0).and.lessThan(10);
      for (const reply of refused) {
        expect(refusalOf(reply)).to.deep.equal([429, 'cps_limit_reached']);
        expect(detailsOf(reply).map(({ path }) => path)).to.deep.equal([limit]);
        expect(Number(reply.headers.get('retry-after'))).to.be.at.least(1);
      }
      // Whoever waits as long as told gets through.
      await until(
        async () => (await payer.post({ trunk_id: payer.trunkId })).status === 201,
        'a second to pass',
      );
    });
  }

  for (const [scope, limits, limit] of [
    [
      'customer',
      { customer: { limits: { cps: 100, concurrent_calls: 2 } } },
      'customer.limits.concurrent_calls',
    ],
    ['application', { application: { max_concurrent: 2 } }, 'application.max_concurrent'],
    ['trunk', { trunk: { max_concurrent: 2 } }, 'trunk.max_concurrent'],
  ] as const) {
    it(`concurrent_call_limit_reached: more than the ${scope} may have at a time, until one has ended`, async () => {
      const payer = await open(limits);
      const { id } = await payer.place({ trunk_id: payer.trunkId });
      await payer.place({ trunk_id: payer.trunkId });
      const reply = await payer.post({ trunk_id: payer.trunkId });
      expect(refusalOf(reply)).to.deep.equal([429, 'concurrent_call_limit_reached']);
      expect(detailsOf(reply).map(({ path }) => path)).to.deep.equal([limit]);
      expect(Number(reply.headers.get('retry-after'))).to.be.at.least(1);
      await payer.hangUp(id);
      await payer.ended(id);
      await until(
        async () => (await payer.post({ trunk_id: payer.trunkId })).status === 201,
        'the place to be free',
      );
    });
  }

  it('the checks come in the order of the documentation: each that is put right shows the next', async () => {
    const payer = await open({
      credit: '0.60',
      customer: { limits: { cps: 100, concurrent_calls: 1 }, spend: { blocked_prefixes: ['+999'] } },
    });
    await patch({ status: 'suspended' });
    const to = '+9995551234';
    const trunk_id = 'trunk_that_does_not_exist';
    expect(refusalOf(await api('POST', '/v1/calls', { to }, 'nobody'))).to.deep.equal([401, 'unauthorized']);
    expect(refusalOf(await payer.post({ to, trunk_id, surprise: 1 }))).to.deep.equal([
      400,
      'invalid_request',
    ]);
    expect(refusalOf(await payer.post({ to, trunk_id }))).to.deep.equal([403, 'customer_suspended']);
    await patch({ status: 'active' });
    expect(refusalOf(await payer.post({ to, trunk_id }))).to.deep.equal([403, 'spend_control_exceeded']);
    await patch({ spend: { blocked_prefixes: null } });
    expect(refusalOf(await payer.post({ to, trunk_id }))).to.deep.equal([400, 'rate_not_found']);
    const { id } = await payer.place();
    expect(refusalOf(await payer.post({ trunk_id }))).to.deep.equal([400, 'no_active_trunk']);
    expect(refusalOf(await payer.post())).to.deep.equal([429, 'concurrent_call_limit_reached']);
    await patch({ limits: { concurrent_calls: 2 } });
    expect(refusalOf(await payer.post())).to.deep.equal([402, 'insufficient_balance']);
    await payer.hangUp(id);
    await payer.settled(id);
    await payer.place();
  });

  it('application_id is ignored: the call is that of the key', async () => {
    const payer = await open();
    const { id, application_id } = await payer.place({ application_id: 'app_of_somebody_else' });
    expect(application_id).to.equal(payer.applicationId);
    expect(await payer.show(id)).to.include({ application_id: payer.applicationId });
  });

  it('Idempotency-Key: the same request twice is one call, at once or later; another one with the same key is refused', async () => {
    const payer = await open();
    const headers = { 'idempotency-key': randomUUID() };
    const call = { to: freshNumber(), metadata: { n: 1 } };
    const [one, other] = await Promise.all([payer.post(call, { headers }), payer.post(call, { headers })]);
    const first = [one, other].find(
      ({ status, headers: got }) => status === 201 && !got.has('idempotency-replayed'),
    );
    const second = one === first ? other : one;
    if (second.status !== 201) expect(refusalOf(second)).to.deep.equal([409, 'idempotency_in_progress']);
    const again = await payer.post(call, { headers });
    expect(again.status).to.equal(201);
    expect(again.body).to.deep.equal(first?.body);
    expect(again.headers.get('idempotency-replayed')).to.equal('true');
    expect(refusalOf(await payer.post({ ...call, metadata: { n: 2 } }, { headers }))).to.deep.equal([
      422,
      'idempotency_mismatch',
    ]);
    await payer.carrier.incoming();
    expect(await payer.calls()).to.have.length(1);
    expect(payer.carrier.received).to.have.length(1);
  });
});

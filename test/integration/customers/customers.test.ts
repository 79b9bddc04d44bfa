import { expect } from 'chai';
import { startApi, type TestApi } from '../http/api.ts';

describe('customers', () => {
  let api: TestApi;
  before(async () => {
    api = await startApi();
  });
  after(() => api.close());

  it('start active, in EUR, with 2 calls per second and 10 at once', async () => {
    const { status, body } = await api.admin('POST', '/customers', { name: '  Acme Ltd ' });
    expect(status).to.equal(201);
    expect(body.id).to.match(/^cust_\d{8}T\d{6}\.\d{9}$/);
    expect(body.created_at).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    expect(body).to.include({ name: 'Acme Ltd', status: 'active', currency: 'EUR' });
    expect(body.limits).to.deep.equal({ cps: 2, concurrent_calls: 10 });
    expect(body.spend).to.deep.equal({});
    expect((await api.admin('GET', `/customers/${body.id}`)).body).to.deep.equal(body);
  });

  it('take a limit alone, and keep the default of the other', async () => {
    const { body } = await api.admin('POST', '/customers', { name: 'Acme', limits: { cps: 50 } });
    expect(body.limits).to.deep.equal({ cps: 50, concurrent_calls: 10 });
  });

  it('change field by field, inside limits and spend too', async () => {
    const spend = {
      daily: '25.00',
      monthly: '500',
      max_price_per_minute: '0.105',
      allowed_prefixes: ['+49', '+359'],
      blocked_prefixes: ['+4990'],
    };
    const {
      body: { id },
    } = await api.admin('POST', '/customers', { name: 'Acme', spend });
    await api.admin('PATCH', `/customers/${id}`, {
      limits: { concurrent_calls: 5 },
      spend: { daily: null, monthly: '600' },
    });
    const { body } = await api.admin('PATCH', `/customers/${id}`, { status: 'suspended' });
    expect(body).to.include({ name: 'Acme', status: 'suspended' });
    expect(body.limits).to.deep.equal({ cps: 2, concurrent_calls: 5 });
    expect(body.spend).to.deep.equal({
      monthly: '600',
      max_price_per_minute: '0.105',
      allowed_prefixes: ['+49', '+359'],
      blocked_prefixes: ['+4990'],
    });
  });

  it('lose no change when several come at once', async () => {
    const {
      body: { id },
    } = await api.admin('POST', '/customers', { name: 'Acme' });
    for (let round = 1; round <= 10; round++) {
      const changes = [
        { limits: { cps: round } },
        { limits: { concurrent_calls: round } },
        { spend: { daily: `${round}` } },
        { spend: { monthly: `${round}` } },
      ];
      await Promise.all(changes.map((change) => api.admin('PATCH', `/customers/${id}`, change)));
      const { body } = await api.admin('GET', `/customers/${id}`);
      expect(body.limits).to.deep.equal({ cps: round, concurrent_calls: round });
      expect(body.spend).to.deep.equal({ daily: `${round}`, monthly: `${round}` });
    }
  });

  it('are refused with a path for everything that is wrong', async () => {
    const { status, body } = await api.admin('POST', '/customers', {
      currency: 'euro',
      limits: { cps: 0, x: 1 },
      spend: { daily: 5, allowed_prefixes: ['49'] },
      id: 'cust_1',
    });
    expect(status).to.equal(400);
    expect(body.error.message).to.equal('name is required');
    expect(body.error.details.map((d: { path: string }) => d.path)).to.have.members([
      'name',
      'currency',
      'limits.cps',
      'limits.x',
      'spend.daily',
      'spend.allowed_prefixes[0]',
      'id',
    ]);
    expect(
      (await api.admin('PATCH', '/customers/cust_1', { currency: 'USD' })).body.error.details,
    ).to.deep.equal([
      { path: 'currency', message: 'is not a known field; the known ones are name, status, limits, spend' },
    ]);
  });

  it('are not found when they are not there', async () => {
    for (const [method, body] of [
      ['GET', undefined],
      ['PATCH', { name: 'x' }],
    ] as const) {
      expect((await api.admin(method, '/customers/cust_nobody', body)).body.error).to.include({
        code: 'not_found',
        message: 'customer not found',
      });
    }
    expect((await api.admin('GET', '/customers/%F0%9F%98%80')).status).to.equal(404);
  });

  it('tell of every change once it is written', async () => {
    const {
      body: { id },
    } = await api.admin('POST', '/customers', { name: 'Acme' });
    await api.admin('PATCH', `/customers/${id}`, { name: 'Acme 2' });
    expect(api.changes.filter((change) => change.id === id)).to.deep.equal([
      { room: 'customers', id },
      { room: 'customers', id },
    ]);
  });

  it('may read when suspended, but change nothing, from the next request on', async () => {
    const { customerId, key } = await api.customer();
    expect((await api.send('POST', '/v1/applications', { key, body: { name: 'x' } })).status).to.equal(201);
    await api.admin('PATCH', `/customers/${customerId}`, { status: 'suspended' });
    expect((await api.send('GET', '/v1/applications', { key })).status).to.equal(200);
    const refused = await api.send('POST', '/v1/applications', { key, body: { name: 'x' } });
    expect([refused.status, refused.body.error.code]).to.deep.equal([403, 'customer_suspended']);
    expect(
      (await api.send('POST', '/v1/applications', { key, body: {} })).status,
      'the body is looked at first',
    ).to.equal(400);
    await api.admin('PATCH', `/customers/${customerId}`, { status: 'active' });
    expect((await api.send('POST', '/v1/applications', { key, body: { name: 'x' } })).status).to.equal(201);
  });
});

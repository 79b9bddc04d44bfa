import { expect } from 'chai';
import fc from 'fast-check';
import { startApi, type TestApi } from '../http/api.ts';

let last = 0;
const freeNumber = (): string => `+1555${String(++last).padStart(7, '0')}`;

describe('numbers', () => {
  let api: TestApi;
  let mine: Awaited<ReturnType<TestApi['customer']>>;
  let other: Awaited<ReturnType<TestApi['customer']>>;

  before(async () => {
    api = await startApi({ production: true });
    mine = await api.customer('Mine');
    other = await api.customer('Other');
  });
  after(() => api.close());

  const create = async (more: object = {}) => {
    const { status, body } = await api.admin('POST', '/dids', {
      number_e164: freeNumber(),
      customer_id: mine.customerId,
      application_id: mine.applicationId,
      ...more,
    });
    expect(status, JSON.stringify(body)).to.equal(201);
    return body;
  };
  const patch = (id: string, body: unknown, key = mine.key) =>
    api.send('PATCH', `/v1/dids/${id}`, { key, body });

  it('read as the documentation shows them', async () => {
    const did = await create({ provider: 'didww' });
    expect(Object.keys(did)).to.deep.equal([
      'id',
      'customer_id',
      'application_id',
      'number_e164',
      'provider',
      'status',
      'route_mode',
      'created_at',
      'updated_at',
    ]);
    expect(did).to.include({
      customer_id: mine.customerId,
      application_id: mine.applicationId,
      provider: 'didww',
      status: 'active',
      route_mode: 'webhook',
    });
    expect(did.id).to.match(/^did_\d{8}T\d{6}\.\d{9}$/);
    for (const path of [
      `/v1/dids/${did.id}`,
      `/v1/dids/by-number/${did.number_e164}`,
      `/v1/dids/by-number/${encodeURIComponent(did.number_e164)}`,
      `/v1/dids/by-number/${did.number_e164.slice(1)}`,
      `/v1/dids/by-number/%20${did.number_e164.slice(1)}`,
    ]) {
      expect((await api.send('GET', path, { key: mine.key })).body, path).to.deep.equal(did);
    }
  });

  it('of another customer are not found', async () => {
    const did = await create();
    for (const [method, path, body] of [
      ['GET', `/v1/dids/${did.id}`, undefined],
      ['GET', `/v1/dids/by-number/${did.number_e164}`, undefined],
      ['PATCH', `/v1/dids/${did.id}`, { route_mode: 'reject' }],
    ] as const) {
      const reply = await api.send(method, path, { key: other.key, body });
      expect([reply.status, reply.body.error.code, reply.body.error.message], path).to.deep.equal([
        404,
        'not_found',
        'DID not found',
      ]);
    }
    expect((await api.send('GET', '/v1/dids', { key: other.key })).body).to.deep.equal({
      count: 0,
      data: [],
    });
    expect((await api.admin('GET', `/dids/${did.id}`)).body.route_mode).to.equal('webhook');
  });

  it('that nobody has are not found, nor is what is no number', async () => {
    for (const number of ['+19999999999', '15551230002', '+0', 'x', '%EF%BC%8B15550000001']) {
      expect(
        (await api.send('GET', `/v1/dids/by-number/${number}`, { key: mine.key })).status,
        number,
      ).to.equal(404);
    }
  });

  it('exist once', async () => {
    const did = await create();
    const { status, body } = await api.admin('POST', '/dids', {
      number_e164: did.number_e164,
      customer_id: other.customerId,
      application_id: other.applicationId,
    });
    expect([status, body.error.code]).to.deep.equal([409, 'number_exists']);
  });

  it('are E.164 by format alone', async () => {
    await fc.assert(
      fc.asyncProperty(fc.stringMatching(/^\+?[0-9]{5,17}$/), async (number) => {
        const { status } = await api.admin('POST', '/dids', {
          number_e164: number,
          customer_id: mine.customerId,
          application_id: mine.applicationId,
        });
        expect([201, 409].includes(status)).to.equal(/^\+[1-9]\d{6,14}$/.test(number));
      }),
      { numRuns: 40 },
    );
  });

  it('need an application of the same customer in route mode webhook', async () => {
    for (const [more, path] of [
      [{ application_id: undefined }, 'application_id'],
      [{ application_id: other.applicationId }, 'application_id'],
      [{ application_id: 'app_nobody' }, 'application_id'],
      [{ customer_id: 'cust_nobody' }, 'customer_id'],
      [{ route_target: { sip_uri: 'sip:a@pbx.example.com' } }, 'route_target.sip_uri'],
    ] as const) {
      const { status, body } = await api.admin(
        'POST',
        '/dids',
        Object.assign(
          { number_e164: freeNumber(), customer_id: mine.customerId, application_id: mine.applicationId },
          more,
        ),
      );
      expect([status, body.error.code, body.error.details[0].path], JSON.stringify(more)).to.deep.equal([
        400,
        'invalid_request',
        path,
      ]);
    }
    expect((await patch((await create()).id, { application_id: null })).body.error.details[0].path).to.equal(
      'application_id',
    );
    expect((await patch((await create()).id, { application_id: other.applicationId })).status).to.equal(400);
  });

  it('route to one SIP URI or an ordered list of up to ten', async () => {
    const { id } = await create();
    const one = await patch(id, {
      route_mode: 'sip',
      route_target: { sip_uri: 'sip:reception@pbx.example.com' },
    });
    expect(one.body).to.deep.include({
      route_mode: 'sip',
      route_target: { sip_uri: 'sip:reception@pbx.example.com' },
    });
    const list = Array.from(
      { length: 10 },
      (_, i) => `sips:+15551230002@pbx${9 - i}.example.com:5061;transport=tls`,
    );
    expect((await patch(id, { route_target: { sip_uri: list } })).body.route_target).to.deep.equal({
      sip_uri: list,
    });
    expect((await patch(id, { route_target: { sip_uri: [...list, 'sip:x.example.com'] } })).status).to.equal(
      400,
    );
    expect((await patch(id, { route_target: { sip_uri: [] } })).status).to.equal(400);
    expect(
      (await patch(id, { route_target: { sip_uri: ['sip:a@pbx.example.com\r\nX-Evil: 1'] } })).status,
    ).to.equal(400);
    expect((await patch(id, { route_target: null })).body.error.details[0].path).to.equal(
      'route_target.sip_uri',
    );
    expect((await api.stores.dids.get(id))?.routeTarget).to.deep.equal({ sip_uri: list });
  });

  it('need no application in route modes sip and reject', async () => {
    await create({
      application_id: undefined,
      route_mode: 'sip',
      route_target: { sip_uri: 'sip:pbx.example.com' },
    });
    await create({ application_id: undefined, route_mode: 'reject' });
  });

  it('reject with one of five codes', async () => {
    const { id } = await create();
    for (const sip_code of [403, 404, 480, 486, 603])
      expect(
        (await patch(id, { route_mode: 'reject', route_target: { sip_code } })).body.route_target,
      ).to.deep.equal({ sip_code });
    for (const sip_code of [200, 302, 500, '486', null])
      expect((await patch(id, { route_target: { sip_code } })).status, String(sip_code)).to.equal(400);
    expect((await patch(id, { route_target: null })).body).to.not.have.property('route_target');
  });

  it('lose the target of the old mode when the mode changes', async () => {
    const { id } = await create({ route_mode: 'sip', route_target: { sip_uri: 'sip:pbx.example.com' } });
    expect((await patch(id, { route_mode: 'reject' })).body).to.not.have.property('route_target');
    expect((await patch(id, { route_mode: 'sip' })).body.error.details[0].path).to.equal(
      'route_target.sip_uri',
    );
    expect((await patch(id, { route_mode: 'webhook' })).body).to.include({
      route_mode: 'webhook',
      application_id: mine.applicationId,
    });
  });

  it('are pointed at private addresses by the operator only', async () => {
    const { id } = await create();
    const target = {
      route_mode: 'sip',
      route_target: { sip_uri: ['sip:a@pbx.example.com', 'sip:a@10.0.0.7'] },
    };
    expect((await patch(id, target)).body.error.details[0].path).to.equal('route_target.sip_uri[1]');
    expect((await api.admin('PATCH', `/dids/${id}`, target)).status).to.equal(200);
    expect(
      (await patch(id, { application_id: null })).body.route_target,
      'the owner may change the rest',
    ).to.deep.equal(target.route_target);
  });

  it('let their owner change routing, and nothing else', async () => {
    const { id } = await create();
    const { status, body } = await patch(id, {
      status: 'disabled',
      customer_id: other.customerId,
      number_e164: '+15550000000',
      provider: 'x',
    });
    expect(status).to.equal(400);
    expect(body.error.details.map((d: { path: string }) => d.path)).to.have.members([
      'status',
      'customer_id',
      'number_e164',
      'provider',
    ]);
  });

  it('move to another customer only together with their application', async () => {
    const { id } = await create({ provider: 'didww' });
    expect(
      (await api.admin('PATCH', `/dids/${id}`, { customer_id: other.customerId })).body.error.details[0].path,
    ).to.equal('application_id');
    expect(
      (await api.admin('PATCH', `/dids/${id}`, { customer_id: 'cust_nobody' })).body.error.details[0].path,
    ).to.equal('customer_id');
    const moved = await api.admin('PATCH', `/dids/${id}`, {
      customer_id: other.customerId,
      application_id: other.applicationId,
      status: 'disabled',
      provider: null,
    });
    expect(moved.body).to.include({
      customer_id: other.customerId,
      application_id: other.applicationId,
      status: 'disabled',
    });
    expect(moved.body).to.not.have.property('provider');
    expect((await api.send('GET', `/v1/dids/${id}`, { key: mine.key })).status).to.equal(404);
  });

  it('are taken away', async () => {
    const { id, number_e164 } = await create();
    const reply = await api.admin('DELETE', `/dids/${id}`);
    expect([reply.status, reply.body]).to.deep.equal([204, undefined]);
    expect((await api.admin('DELETE', `/dids/${id}`)).status).to.equal(404);
    expect(
      (
        await api.admin('POST', '/dids', {
          number_e164,
          customer_id: other.customerId,
          application_id: other.applicationId,
        })
      ).status,
    ).to.equal(201);
  });

  it('tell of every change once it is written, a removal too', async () => {
    const { id } = await create();
    await patch(id, { route_mode: 'reject' });
    await patch(id, { route_mode: 'nonsense' });
    await api.admin('DELETE', `/dids/${id}`);
    expect(api.changes.filter((change) => change.id === id)).to.deep.equal(
      [1, 2, 3].map(() => ({ room: 'dids', id })),
    );
  });

  it('are listed per customer', async () => {
    const all = (await api.admin('GET', '/dids?limit=200')).body.data;
    const theirs = (await api.admin('GET', `/dids?limit=200&customer_id=${other.customerId}`)).body.data;
    expect(theirs).to.deep.equal(
      all.filter((did: { customer_id: string }) => did.customer_id === other.customerId),
    );
    expect((await api.send('GET', '/v1/dids?limit=200', { key: other.key })).body.data).to.deep.equal(theirs);
    let loaded = 0;
    for await (const page of api.stores.dids.loadAll()) loaded += page.length;
    expect(loaded).to.equal(all.length);
  });

  it('are read for the routing in pages, by when they were written, and by number', async () => {
    const { id, number_e164 } = await create();
    const { dids } = api.stores;
    const { next } = await dids.writtenSince(undefined);
    expect((await dids.writtenSince(undefined)).items).to.deep.equal([]);
    await patch(id, { route_mode: 'reject', route_target: { sip_code: 603 } });
    const { items } = await dids.writtenSince(next);
    const routed = items.find((did) => did.id === id);
    expect(routed).to.deep.include({
      number: number_e164,
      status: 'active',
      routeMode: 'reject',
      routeTarget: { sip_code: 603 },
    });
    expect(await dids.ofNumbers([number_e164, '+15559990000'])).to.deep.equal([routed]);
    expect(await dids.ofNumbers([])).to.deep.equal([]);
    const pages = [];
    for await (const page of dids.loadAll()) pages.push(...page);
    expect(pages.find((did) => did.id === id)).to.deep.equal(routed);
    expect(pages.map((did) => did.id)).to.deep.equal(pages.map((did) => did.id).sort());
    expect((await dids.writtenSince(new Date(Date.now() + 60_000))).items).to.deep.equal([]);
  });

  describe('in bulk', () => {
    it('are created one by one: a bad item stops no other, and results keep the order', async () => {
      const taken = (await create()).number_e164;
      const good = { customer_id: mine.customerId, application_id: mine.applicationId };
      const twice = freeNumber();
      const { status, body } = await api.admin('POST', '/dids/bulk', {
        dids: [
          { ...good, number_e164: freeNumber() },
          { ...good, number_e164: taken },
          { ...good, number_e164: '123' },
          'nonsense',
          { ...good, number_e164: twice },
          { ...good, number_e164: twice },
          { ...good, number_e164: freeNumber(), application_id: other.applicationId },
        ],
      });
      expect(status).to.equal(200);
      expect([body.count, body.created, body.failed]).to.deep.equal([7, 2, 5]);
      expect(
        body.data.map((item: { did?: unknown; error?: { code: string } }) => item.error?.code ?? 'created'),
      ).to.deep.equal([
        'created',
        'number_exists',
        'invalid_request',
        'invalid_request',
        'created',
        'number_exists',
        'invalid_request',
      ]);
      expect(body.data[2].error.details[0].path).to.equal('number_e164');
      expect((await api.send('GET', `/v1/dids/by-number/${twice}`, { key: mine.key })).body).to.deep.equal(
        body.data[4].did,
      );
      const told = api.changes.filter((change) =>
        [body.data[0].did.id, body.data[4].did.id].includes(change.id),
      );
      expect(told).to.have.length(2);
    });

    it('are up to a thousand at a time', async () => {
      const dids = Array.from({ length: 1000 }, () => ({
        number_e164: freeNumber(),
        customer_id: mine.customerId,
        application_id: mine.applicationId,
      }));
      expect((await api.admin('POST', '/dids/bulk', { dids })).body).to.include({ created: 1000, failed: 0 });
      expect((await api.admin('POST', '/dids/bulk', { dids: [...dids, dids[0]] })).status).to.equal(400);
      expect((await api.admin('POST', '/dids/bulk', { dids: [] })).status).to.equal(400);
    });
  });
});

import { expect } from 'chai';
import { TrunkService } from '../../../control/trunks/service.ts';
import { startApi, type TestApi } from '../http/api.ts';

let last = 0;
const freeIp = (): string => `185.10.${Math.floor(++last / 250)}.${(last % 250) + 1}`;

describe('trunks', () => {
  let api: TestApi;
  let mine: Awaited<ReturnType<TestApi['customer']>>;
  let other: Awaited<ReturnType<TestApi['customer']>>;

  before(async () => {
    api = await startApi({ production: true });
    mine = await api.customer('Mine');
    other = await api.customer('Other');
  });
  after(() => api.close());

  const post = (body: unknown, key = mine.key) => api.send('POST', '/v1/trunks', { key, body });
  const create = async (more: object = {}) => {
    const { status, body } = await post({ name: 'Carrier', proxy: 'sip.carrier.example', ...more });
    expect(status, JSON.stringify(body)).to.equal(201);
    return body;
  };
  const patch = (id: string, body: unknown, key = mine.key) =>
    api.send('PATCH', `/v1/trunks/${id}`, { key, body });

  it('need a name and a proxy, and have a default for the rest', async () => {
    const trunk = await create();
    const { id, gateway_name, created_at, updated_at, ...rest } = trunk;
    expect(id).to.match(/^trunk_\d{8}T\d{6}\.\d{9}$/);
    expect(gateway_name).to.equal(id.replace('trunk_', 'gw_'));
    expect(updated_at).to.equal(created_at);
    expect(rest).to.deep.equal({
      customer_id: mine.customerId,
      name: 'Carrier',
      direction: 'outbound',
      proxy: 'sip.carrier.example',
      transport: 'udp',
      register: false,
      priority: 10,
      weight: 1,
      number_format: 'e164',
      caller_id: 'passthrough',
      retry_on_404: false,
      probe: true,
      is_active: true,
      status: 'unknown',
    });
    expect((await api.send('GET', `/v1/trunks/${id}`, { key: mine.key })).body).to.deep.equal(trunk);
    expect((await post({ name: 'x' })).body.error.message).to.equal('proxy is required');
  });

  it('keep every field', async () => {
    const fields = {
      name: 'Full',
      gateway_name: 'full-gw_1.a',
      proxy: '203.0.114.9',
      port: 5080,
      transport: 'tls',
      username: 'user',
      realm: 'realm.example',
      from_domain: 'from.example',
      inbound_ip: freeIp(),
      country: 'BG',
      register: true,
      priority: 3,
      weight: 7,
      number_format: 'national',
      caller_id: 'fixed',
      caller_id_number: '+35921234567',
      max_cps: 5,
      max_concurrent: 20,
      is_active: false,
    };
    const trunk = await create({ ...fields, password: 'pa"ss word' });
    expect(trunk).to.deep.include({ ...fields, direction: 'both' });
    expect(trunk).to.not.have.property('password');
  });

  it('keep the password encrypted, and show it to nobody', async () => {
    const trunk = await create({ username: 'user', password: 'correct horse' });
    expect(JSON.stringify([trunk, await api.db('trunks')])).to.not.include('horse');
    expect((await api.stores.trunks.get(trunk.id))?.password).to.equal('correct horse');
    await patch(trunk.id, { name: 'Renamed' });
    expect((await api.stores.trunks.get(trunk.id))?.password, 'and lose it by no other change').to.equal(
      'correct horse',
    );
    await patch(trunk.id, { password: null });
    expect((await api.stores.trunks.get(trunk.id))?.password).to.equal(undefined);
  });

  it('have a gateway name that no other trunk of the same owner has, and nobody learns of those of others', async () => {
    await create({ gateway_name: 'taken' });
    const name = await post({ name: 'x', proxy: 'x.example', gateway_name: 'taken' });
    expect([name.status, name.body.error.code, name.body.error.message]).to.deep.equal([
      409,
      'gateway_name_exists',
      'gateway_name already exists',
    ]);
    expect((await post({ name: 'x', proxy: 'x.example', gateway_name: 'taken' }, other.key)).status).to.equal(
      201,
    );
    const carrier = { name: 'x', proxy: 'x.example', gateway_name: 'taken' };
    expect((await api.admin('POST', '/trunks', carrier)).status, "the operator's").to.equal(201);
    expect((await api.admin('POST', '/trunks', carrier)).body.error.code).to.equal('gateway_name_exists');
    expect((await patch((await create()).id, { gateway_name: 'taken' })).body.error.code).to.equal(
      'gateway_name_exists',
    );
  });

  it('have an inbound address that no other trunk of the same owner has: a carrier may serve several customers from it', async () => {
    const ip = freeIp();
    await create({ inbound_ip: ip });
    const again = await post({ name: 'x', proxy: 'x.example', inbound_ip: ip });
    expect([again.status, again.body.error.code]).to.deep.equal([409, 'inbound_ip_exists']);
    expect((await patch((await create()).id, { inbound_ip: ip })).body.error.code).to.equal(
      'inbound_ip_exists',
    );
    expect((await post({ name: 'x', proxy: 'x.example', inbound_ip: ip }, other.key)).status).to.equal(201);
    expect(
      (await api.admin('POST', '/trunks', { name: 'x', proxy: 'x.example', inbound_ip: ip })).status,
    ).to.equal(201);
    expect(
      (await api.admin('POST', '/trunks', { name: 'x', proxy: 'x.example', inbound_ip: ip })).body.error.code,
    ).to.equal('inbound_ip_exists');
  });

  it('have a status that is written, and told of, only when it is news', async () => {
    const { id, updated_at } = await create({ probe: false, retry_on_404: true });
    const told = api.changes.length;
    const service = new TrunkService({
      store: api.stores.trunks,
      customerExists: () => Promise.resolve(true),
      ids: api.ids,
      onChange: (change) => Promise.resolve(void api.changes.push(change)),
      allowPrivate: false,
    });
    await service.noteStatus(id, 'down');
    await service.noteStatus(id, 'down');
    expect(api.changes.slice(told)).to.deep.equal([{ room: 'trunks', id }]);
    expect((await api.send('GET', `/v1/trunks/${id}`, { key: mine.key })).body).to.include({
      status: 'down',
      probe: false,
      retry_on_404: true,
      updated_at,
    });
  });

  it('know one notation of an inbound address', async () => {
    expect((await create({ inbound_ip: '2606:4700:0000:0000:0000:0000:0000:ABCD' })).inbound_ip).to.equal(
      '2606:4700::abcd',
    );
    expect(
      (await post({ name: 'x', proxy: 'x.example', inbound_ip: '2606:4700::abcd' })).body.error.code,
    ).to.equal('inbound_ip_exists');
    const ip = freeIp();
    expect((await create({ inbound_ip: `::ffff:${ip}` })).inbound_ip).to.equal(ip);
  });

  it('become "both" with an inbound address, and "outbound" without', async () => {
    const { id } = await create();
    expect((await patch(id, { inbound_ip: freeIp() })).body.direction).to.equal('both');
    const without = await patch(id, { inbound_ip: null });
    expect(without.body.direction).to.equal('outbound');
    expect(without.body).to.not.have.property('inbound_ip');
  });

  it('refuse what does not belong together, also when a change brings it about', async () => {
    for (const [body, path] of [
      [{ register: true, password: 'x' }, 'username'],
      [{ register: true, username: 'x' }, 'password'],
      [{ caller_id: 'fixed' }, 'caller_id_number'],
      [{ number_format: 'national' }, 'country'],
    ] as const) {
      expect((await post({ name: 'x', proxy: 'x.example', ...body })).body.error.details[0].path).to.equal(
        path,
      );
      const { id } = await create();
      expect((await patch(id, body)).body.error.details[0].path).to.equal(path);
    }
  });

  it('refuse addresses that are none, and fields that could end a line of a SIP message', async () => {
    for (const [field, value] of [
      ['proxy', ''],
      ['proxy', 'a b'],
      ['proxy', 'sip:x.example'],
      ['proxy', 'x.example:5060'],
      ['proxy', '999.1.1.1'],
      ['proxy', 'x.example\r\nVia: y'],
      ['port', 0],
      ['port', 65_536],
      ['transport', 'ws'],
      ['inbound_ip', '10.0.0.0/8'],
      ['inbound_ip', 'x.example'],
      ['inbound_ip', '0.0.0.0'],
      ['inbound_ip', '224.0.0.1'],
      ['inbound_ip', '010.1.1.1'],
      ['username', 'a\r\nb'],
      ['username', 'a"b'],
      ['password', 'a\u0000b'],
      ['realm', '<x>'],
      ['from_domain', 'x;y'],
      ['country', 'bg'],
      ['caller_id_number', '123'],
      ['gateway_name', 'a b'],
      ['priority', -1],
      ['weight', 0],
      ['max_cps', 0],
      ['direction', 'inbound'],
      ['status', 'up'],
      ['customer_id', 'cust_1'],
    ] as const) {
      const { status, body } = await post({ name: 'x', proxy: 'x.example', [field]: value });
      expect([status, body.error?.details[0].path], `${field}: ${JSON.stringify(value)}`).to.deep.equal([
        400,
        field,
      ]);
    }
  });

  it('name private addresses only when the operator makes them', async () => {
    for (const address of ['10.0.0.1', '127.0.0.1', '192.168.7.7']) {
      expect((await post({ name: 'x', proxy: address })).body.error.details[0].path).to.equal('proxy');
      expect(
        (await post({ name: 'x', proxy: 'x.example', inbound_ip: address })).body.error.details[0].path,
      ).to.equal('inbound_ip');
      expect(
        (await api.admin('POST', '/trunks', { name: 'x', proxy: address, inbound_ip: address })).status,
      ).to.equal(201);
    }
  });

  it("of others are not found, and nor are the operator's", async () => {
    const theirs = (await post({ name: 'x', proxy: 'x.example' }, other.key)).body.id;
    const operators = (await api.admin('POST', '/trunks', { name: 'x', proxy: 'x.example' })).body;
    expect(operators).to.not.have.property('customer_id');
    for (const id of [theirs, operators.id, 'trunk_nobody']) {
      for (const [method, body] of [
        ['GET', undefined],
        ['PATCH', { name: 'stolen' }],
        ['DELETE', undefined],
      ] as const) {
        const reply = await api.send(method, `/v1/trunks/${id}`, { key: mine.key, body });
        expect([reply.status, reply.body.error.code], `${method} ${id}`).to.deep.equal([404, 'not_found']);
      }
    }
    const listed = (await api.send('GET', '/v1/trunks?limit=200', { key: mine.key })).body.data;
    expect(listed.every((trunk: { customer_id: string }) => trunk.customer_id === mine.customerId)).to.equal(
      true,
    );
  });

  it("are all the operator's to see and change, whoever has them", async () => {
    const trunk = (
      await api.admin('POST', '/trunks', {
        name: 'For them',
        proxy: 'x.example',
        customer_id: other.customerId,
      })
    ).body;
    expect((await api.send('GET', `/v1/trunks/${trunk.id}`, { key: other.key })).body).to.deep.equal(trunk);
    expect((await api.admin('PATCH', `/trunks/${trunk.id}`, { is_active: false })).body.is_active).to.equal(
      false,
    );
    expect(
      (await api.admin('GET', `/trunks?customer_id=${other.customerId}&limit=200`)).body.data.map(
        (t: { id: string }) => t.id,
      ),
    ).to.include(trunk.id);
    expect(
      (await api.admin('POST', '/trunks', { name: 'x', proxy: 'x.example', customer_id: 'cust_nobody' })).body
        .error.details[0].path,
    ).to.equal('customer_id');
    expect((await api.admin('DELETE', `/trunks/${trunk.id}`)).status).to.equal(204);
    expect((await api.send('GET', `/v1/trunks/${trunk.id}`, { key: other.key })).status).to.equal(404);
    expect((await api.stores.trunks.loadAll()).length).to.equal(
      (await api.admin('GET', '/trunks?limit=200')).body.count,
    );
  });

  it('tell of every change once it is written, a removal too', async () => {
    const { id } = await create();
    await patch(id, { weight: 2 });
    await api.send('DELETE', `/v1/trunks/${id}`, { key: mine.key });
    expect(api.changes.filter((change) => change.id === id)).to.deep.equal(
      [1, 2, 3].map(() => ({ room: 'trunks', id })),
    );
  });
});

import { expect } from 'chai';
import { Rates } from '../../../control/billing/rates/rates.ts';
import { RateStore } from '../../../control/billing/rates/store.ts';
import { OPERATOR, startApi, type ApiReply, type TestApi } from '../http/api.ts';

describe('rates', () => {
  let api: TestApi;
  before(async () => {
    api = await startApi();
  });
  after(() => api.close());
  beforeEach(() => api.db('rates').delete());

  const bring = (csv: string, query = ''): Promise<ApiReply> =>
    api.send('POST', `/admin/v1/rates/import${query}`, {
      key: OPERATOR,
      raw: csv,
      headers: { 'Content-Type': 'text/csv' },
    });
  const stored = async (): Promise<Record<string, unknown>[]> =>
    (await api.admin('GET', '/rates?limit=200')).body.data;

  it('need a prefix and a price, and get the rest', async () => {
    const { status, body } = await api.admin('POST', '/rates', { prefix: '+49', price_per_minute: '0.105' });
    expect(status).to.equal(201);
    expect(body.id).to.match(/^rate_/);
    expect(body).to.deep.include({
      direction: 'outbound',
      prefix: '+49',
      price_per_minute: '0.105',
      connection_fee: '0.00',
      minimum_seconds: 0,
      increment_seconds: 1,
      currency: 'EUR',
      is_active: true,
    });
    expect(body).to.not.have.any.keys('customer_id', 'valid_from');
    expect(await stored()).to.deep.equal([body]);
    expect(api.changes.at(-1)).to.deep.equal({ room: 'rates', id: body.id });
  });

  it('are refused with a path for everything that is wrong', async () => {
    const { status, body } = await api.admin('POST', '/rates', {
      prefix: '49',
      price_per_minute: 0.1,
      increment_seconds: 0,
      currency: 'euro',
      valid_from: 'soon',
      x: 1,
      customer_id: 'cust_nobody',
    });
    expect(status).to.equal(400);
    expect(body.error.details.map((d: { path: string }) => d.path)).to.have.members([
      'prefix',
      'price_per_minute',
      'increment_seconds',
      'currency',
      'valid_from',
      'x',
    ]);
    const nobody = await api.admin('POST', '/rates', {
      prefix: '+49',
      price_per_minute: '1',
      customer_id: 'cust_nobody',
    });
    expect(nobody.body.error.details).to.deep.equal([
      { path: 'customer_id', message: 'is not a known customer' },
    ]);
  });

  it('of a customer are in its currency', async () => {
    const {
      body: { id },
    } = await api.admin('POST', '/customers', { name: 'Acme', currency: 'CHF' });
    const { body } = await api.admin('POST', '/rates', {
      customer_id: id,
      prefix: '+41',
      price_per_minute: '0.05',
    });
    expect(body).to.include({ customer_id: id, currency: 'CHF' });
    const refused = await api.admin('POST', '/rates', {
      customer_id: id,
      prefix: '+42',
      price_per_minute: '0.05',
      currency: 'EUR',
    });
    expect(refused.body.error.message).to.equal('currency must be CHF, the currency of the customer');
    expect((await api.admin('GET', `/rates?customer_id=${id}`)).body.count).to.equal(1);
    expect((await api.admin('GET', '/rates?customer_id=default')).body.count).to.equal(0);
  });

  it('exist once for a prefix and a start, in each table, direction and currency', async () => {
    const { customerId } = await api.customer();
    const terms = { prefix: '+49', price_per_minute: '1' };
    for (const more of [
      {},
      { direction: 'inbound' },
      { currency: 'USD' },
      { customer_id: customerId },
      { valid_from: '2026-06-01T00:00:00Z' },
    ]) {
      expect((await api.admin('POST', '/rates', { ...terms, ...more })).status).to.equal(201);
      const again = await api.admin('POST', '/rates', { ...terms, ...more });
      expect([again.status, again.body.error.code]).to.deep.equal([409, 'rate_exists']);
    }
    const [first] = await stored();
    expect(
      (await api.admin('PATCH', `/rates/${String(first?.['id'])}`, { valid_from: null })).body.error.code,
    ).to.equal('rate_exists');
  });

  it('change field by field, and go', async () => {
    const {
      body: { id },
    } = await api.admin('POST', '/rates', {
      prefix: '+49',
      price_per_minute: '1',
      valid_from: '2026-06-01T00:00:00Z',
    });
    const { body } = await api.admin('PATCH', `/rates/${id}`, {
      price_per_minute: '0.5',
      valid_from: null,
      is_active: false,
    });
    expect(body).to.deep.include({ id, prefix: '+49', price_per_minute: '0.50', is_active: false });
    expect(body).to.not.have.key('valid_from');
    expect((await api.admin('DELETE', `/rates/${id}`)).status).to.equal(204);
    expect((await api.admin('DELETE', `/rates/${id}`)).body.error.code).to.equal('not_found');
    expect((await api.admin('PATCH', `/rates/${id}`, {})).body.error.code).to.equal('not_found');
  });

  it('come in as CSV: new ones are added, known ones changed, the others stay, and each line that did something is told', async () => {
    await api.admin('POST', '/rates', { prefix: '+49', price_per_minute: '0.10', connection_fee: '0.01' });
    await api.admin('POST', '/rates', { prefix: '+44', price_per_minute: '0.20' });
    await api.admin('POST', '/rates', { prefix: '+33', price_per_minute: '0.30' });
    const csv = 'prefix,price_per_minute,connection_fee\r\n49,0.12,0.01\r\n44,0.2,\r\n+4915,0.5,\r\n';
    const expected = {
      created: 1,
      updated: 1,
      unchanged: 1,
      lines: [
        {
          line: 2,
          action: 'update',
          direction: 'outbound',
          prefix: '+49',
          changes: [{ field: 'price_per_minute', from: '0.10', to: '0.12' }],
        },
        { line: 4, action: 'create', direction: 'outbound', prefix: '+4915' },
      ],
    };
    const before = await stored();
    expect((await bring(csv, '?dry_run=true')).body).to.deep.equal({ dry_run: true, ...expected });
    expect(await stored(), 'a dry run').to.deep.equal(before);
    expect((await bring(csv)).body).to.deep.equal({ dry_run: false, ...expected });
    expect((await stored()).map((rate) => [rate['prefix'], rate['price_per_minute']])).to.have.deep.members([
      ['+49', '0.12'],
      ['+44', '0.20'],
      ['+33', '0.30'],
      ['+4915', '0.50'],
    ]);
    expect(api.changes.at(-1)).to.deep.equal({ room: 'rates', id: 'all' });
    expect((await bring(csv)).body).to.deep.include({ created: 0, updated: 0, unchanged: 3, lines: [] });
  });

  it('come in all or not at all', async () => {
    const { status, body } = await bring('prefix,price_per_minute\n49,0.1\n44,cheap\n');
    expect(status).to.equal(400);
    expect(body.error).to.deep.include({
      code: 'invalid_request',
      details: [
        {
          path: 'line 3: price_per_minute',
          message: 'must be a decimal string such as "0.105", with at most six decimals',
        },
      ],
    });
    expect(await stored()).to.deep.equal([]);
  });

  it('come in by the ten thousand, into a table of their own', async () => {
    const { customerId } = await api.customer();
    const lines = Array.from(
      { length: 10_000 },
      (_, n) => `1${String(n).padStart(5, '0')},0.0${1 + (n % 9)}`,
    );
    const { body } = await bring(
      `prefix,price_per_minute\n${lines.join('\n')}`,
      `?customer_id=${customerId}`,
    );
    expect(body.created).to.equal(10_000);
    const rates = new Rates(new RateStore(api.db));
    await rates.load();
    expect(
      rates.table.find({ id: customerId, currency: 'EUR' }, 'outbound', '+1009990000', new Date()),
    ).to.include({ prefix: '+100999', priceMicros: 10_000n });
  });

  it('come in twice at once as if one after the other', async () => {
    const csv = (price: string): string =>
      `prefix,price_per_minute\n${Array.from({ length: 1200 }, (_, n) => `2${String(n).padStart(4, '0')},${price}`).join('\n')}`;
    const replies = await Promise.all([bring(csv('0.10')), bring(csv('0.20'))]);
    expect(replies.map(({ body }) => [body.created, body.updated]).sort()).to.deep.equal([
      [0, 1200],
      [1200, 0],
    ]);
    expect(
      new Set(
        (await api.db('rates').select('price_micros')).map(
          ({ price_micros: price }: { price_micros: unknown }) => String(price),
        ),
      ),
    ).to.have.property('size', 1);
  });

  it('brought in by the thousand with an Idempotency-Key are told again as they were', async () => {
    const csv = `prefix,price_per_minute\n${Array.from({ length: 3000 }, (_, n) => `3${String(n).padStart(4, '0')},0.10`).join('\n')}`;
    const send = () =>
      api.send('POST', '/admin/v1/rates/import', {
        key: OPERATOR,
        raw: csv,
        headers: { 'Content-Type': 'text/csv', 'Idempotency-Key': 'prices-1' },
      });
    const first = await send();
    expect([
      first.status,
      first.body.created,
      first.body.lines.length,
      first.body.lines_left_out,
    ]).to.deep.equal([200, 3000, 1000, 2000]);
    expect((await send()).body).to.deep.equal(first.body);
  });

  it('in memory are all there where thousands have changed within the same millisecond', async () => {
    const row = {
      customer_id: '',
      direction: 'outbound',
      price_micros: 1,
      fee_micros: 0,
      minimum_seconds: 0,
      increment_seconds: 1,
      currency: 'EUR',
      valid_from: new Date(0),
      is_active: 1,
    };
    await api.db.batchInsert(
      'rates',
      Array.from({ length: 1500 }, (_, n) => ({
        ...row,
        id: `rate_${n}`,
        prefix: `+4${1000 + n}`,
        created_at: '2026-10-01 00:00:00.000123',
        updated_at: '2026-10-01 00:00:00.000123',
      })),
      500,
    );
    const rates = new Rates(new RateStore(api.db));
    await rates.load();
    expect(rates.table.size).to.equal(1500);
  });

  it('are taken as text/csv alone, and not without end', async () => {
    expect(
      (await api.send('POST', '/admin/v1/rates/import', { key: OPERATOR, body: {} })).body.error,
    ).to.include({ code: 'unsupported_media_type', message: 'the body must be text/csv' });
    expect((await bring('')).body.error.details).to.deep.equal([{ path: '', message: 'must not be empty' }]);
    expect((await bring(`prefix,price_per_minute\n${' '.repeat(2 * 1024 * 1024)}`)).body.error).to.include({
      code: 'payload_too_large',
      message: 'the body is larger than 2 MiB',
    });
    expect(
      (await bring('prefix,price_per_minute\n49,1', '?dry_run=yes')).body.error.details[0].path,
    ).to.equal('dry_run');
  });

  it('in memory follow the database: at once by news of a change, and by looking now and then where that was missed', async () => {
    const rates = new Rates(new RateStore(api.db));
    await rates.load();
    const find = () =>
      rates.table.find({ id: 'cust_1', currency: 'EUR' }, 'outbound', '+493012345', new Date())?.priceMicros;
    const {
      body: { id },
    } = await api.admin('POST', '/rates', { prefix: '+49', price_per_minute: '1' });
    expect(find()).to.equal(undefined);
    await rates.refresh(id);
    expect(find()).to.equal(1_000_000n);
    for (const [change, expected] of [
      [{ price_per_minute: '2' }, 2_000_000n],
      [{ is_active: false }, undefined],
      [{ is_active: true }, 2_000_000n],
    ] as const) {
      await api.admin('PATCH', `/rates/${id}`, change);
      await rates.reload();
      expect(find()).to.equal(expected);
    }
    await api.admin('DELETE', `/rates/${id}`);
    await rates.reload();
    expect(find()).to.equal(undefined);
  });
});

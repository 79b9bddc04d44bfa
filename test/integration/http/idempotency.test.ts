import { expect } from 'chai';
import { z } from 'zod';
import { endpoint } from '../../../control/http/endpoint.ts';
import { ApiError } from '../../../control/lib/errors.ts';
import { startApi, type TestApi } from './api.ts';

const DAY_MS = 24 * 3600 * 1000;

describe('Idempotency-Key', () => {
  let api: TestApi;
  let key: string;
  let runs = 0;
  let hold: Promise<void> | undefined;
  let entered = (): void => undefined;
  let fail: (() => Error) | undefined;

  // What is done once: the test sees how often, can hold it in the middle, and can make it fail.
  const work = endpoint({
    method: 'post',
    path: '/v1/jobs',
    auth: 'customer',
    tag: 'Test',
    summary: 'counts',
    status: 201,
    body: z.strictObject({ a: z.int().optional() }),
    reply: z.strictObject({ run: z.int() }),
    errors: ['rate_limited', 'originate_failed', 'insufficient_balance'],
    handle: async () => {
      const run = ++runs;
      entered();
      await hold;
      if (fail) throw fail();
      return { run };
    },
  });

  before(async () => {
    api = await startApi({ endpoints: [work] });
    ({ key } = await api.customer());
  });
  after(() => api.close());
  beforeEach(() => {
    runs = 0;
    hold = undefined;
    fail = undefined;
  });

  const post = (idempotencyKey: string, body: unknown = {}, as = key) =>
    api.send('POST', '/v1/jobs', { key: as, body, headers: { 'Idempotency-Key': idempotencyKey } });

  it('gives the stored answer again instead of doing the work again', async () => {
    const first = await post('again');
    const second = await post('again');
    expect([first.status, first.body]).to.deep.equal([201, { run: 1 }]);
    expect([second.status, second.body]).to.deep.equal([201, { run: 1 }]);
    expect([
      first.headers.get('idempotency-replayed'),
      second.headers.get('idempotency-replayed'),
    ]).to.deep.equal([null, 'true']);
    expect(runs).to.equal(1);
  });

  it('does the work every time without a key', async () => {
    await api.send('POST', '/v1/jobs', { key, body: {} });
    await api.send('POST', '/v1/jobs', { key, body: {} });
    expect(runs).to.equal(2);
  });

  it('refuses the same key with another body, and keeps the first answer', async () => {
    await post('mismatch', { a: 1 });
    const reply = await post('mismatch', { a: 2 });
    expect([reply.status, reply.body.error.code]).to.deep.equal([422, 'idempotency_mismatch']);
    expect((await post('mismatch', { a: 1 })).body).to.deep.equal({ run: 1 });
  });

  it('refuses the same key on another path', async () => {
    await post('path');
    const reply = await api.send('POST', '/v1/trunks', {
      key,
      body: { name: 'x', proxy: 'sip.example.com' },
      headers: { 'Idempotency-Key': 'path' },
    });
    expect(reply.status).to.equal(422);
  });

  it('answers 409 while the first request runs', async () => {
    let release = (): void => undefined;
    hold = new Promise((resolve) => {
      release = resolve;
    });
    const started = new Promise<void>((resolve) => {
      entered = resolve;
    });
    const first = post('running');
    await started;
    const second = await post('running');
    expect([second.status, second.body.error.code]).to.deep.equal([409, 'idempotency_in_progress']);
    release();
    expect((await first).body).to.deep.equal({ run: 1 });
    expect((await post('running')).body).to.deep.equal({ run: 1 });
  });

  it('does the work once, however many come at the same time', async () => {
    const replies = await Promise.all(Array.from({ length: 20 }, () => post('storm')));
    expect(runs).to.equal(1);
    expect(replies.every(({ status }) => status === 201 || status === 409)).to.equal(true);
  });

  it('keeps errors too, also those of ours', async () => {
    fail = () => new ApiError('originate_failed');
    expect((await post('bad gateway')).status).to.equal(400); // a space is no part of a key
    expect((await post('bad-gateway')).status).to.equal(502);
    fail = () => new Error('unforeseen');
    const crashed = await post('crash');
    expect(crashed.status).to.equal(500);
    fail = undefined;
    expect((await post('bad-gateway')).body.error.code).to.equal('originate_failed');
    expect((await post('crash')).body).to.deep.equal(crashed.body);
  });

  it('does not keep an answer that asks to be tried again', async () => {
    fail = () => new ApiError('rate_limited', undefined, { retryAfter: 1.2 });
    const limited = await post('limited');
    expect([limited.status, limited.headers.get('retry-after')]).to.deep.equal([429, '2']);
    fail = undefined;
    expect((await post('limited')).body).to.deep.equal({ run: 2 });
  });

  it('does not keep what was refused before any work began', async () => {
    expect((await post('typo', { b: 1 })).status).to.equal(400);
    expect((await post('typo', { a: 1 })).status).to.equal(201);
  });

  it('belongs to one application', async () => {
    const other = await api.customer('Other');
    await post('mine');
    expect((await post('mine', {}, other.key)).body).to.deep.equal({ run: 2 });
  });

  it('lasts 24 hours', async () => {
    await post('day');
    api.clock.offsetMs += DAY_MS - 60_000;
    expect((await post('day')).headers.get('idempotency-replayed')).to.equal('true');
    api.clock.offsetMs += 120_000;
    expect((await post('day')).body).to.deep.equal({ run: 2 });
    api.clock.offsetMs = 0;
  });

  it('says that the outcome is not known when the first request died with its process', async () => {
    await post('died');
    await api.db('idempotency_keys').update({ status: null, reply: null });
    expect((await post('died')).body.error.code).to.equal('idempotency_in_progress');
    api.clock.offsetMs += 10 * 60_000;
    const reply = await post('died');
    api.clock.offsetMs = 0;
    expect([reply.status, runs]).to.deep.equal([500, 1]);
    expect(reply.body.error.message).to.match(/did not finish/);
  });

  it('does not store an API key in the clear', async () => {
    const reply = await api.send('POST', '/v1/applications', {
      key,
      body: { name: 'Second' },
      headers: { 'Idempotency-Key': 'create' },
    });
    const again = await api.send('POST', '/v1/applications', {
      key,
      body: { name: 'Second' },
      headers: { 'Idempotency-Key': 'create' },
    });
    expect(again.body).to.deep.equal(reply.body);
    expect(JSON.stringify(await api.db('idempotency_keys'))).to.not.include('mv_live_');
  });

  it('leaves nothing behind for ever: old answers are cleared away', async () => {
    await post('old');
    api.clock.offsetMs += 4 * DAY_MS; // a test above has left an answer in the future
    await post('new');
    while ((await api.idempotency.purge(2)) > 0);
    const left: { n: number }[] = await api.db('idempotency_keys').count('* as n');
    api.clock.offsetMs = 0;
    expect(Number(left[0]?.n)).to.equal(1);
  });
});

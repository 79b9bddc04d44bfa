import { expect } from 'chai';
import { z } from 'zod';
import { endpoint } from '../../../control/http/endpoint.ts';
import { connectDatabase } from '../../../control/lib/database.ts';
import { RequestLimits } from '../../../control/http/request-limits.ts';
import { OPERATOR, startApi, type TestApi } from './api.ts';

const boom = endpoint({
  method: 'get',
  path: '/v1/boom',
  auth: 'none',
  tag: 'Test',
  summary: 'fails',
  status: 204,
  handle: async () => {
    throw new Error('the password of the database is hunter2');
  },
});
const away = endpoint({
  method: 'get',
  path: '/v1/away',
  auth: 'none',
  tag: 'Test',
  summary: 'needs a database that is not there',
  status: 204,
  handle: async () => {
    await connectDatabase('mysql://nobody@127.0.0.1:1/none').raw('SELECT 1');
  },
});
const echo = endpoint({
  method: 'post',
  path: '/v1/echo',
  auth: 'none',
  tag: 'Test',
  summary: 'echoes',
  status: 200,
  body: z.looseObject({}),
  reply: z.looseObject({}),
  handle: async ({ body }) => body,
});

describe('the HTTP server', () => {
  let api: TestApi;
  const missing: { database?: string } = {};

  before(async () => {
    api = await startApi({
      endpoints: [boom, away, echo],
      readiness: [
        { name: 'database', check: async () => missing.database },
        {
          name: 'media',
          check: async () => {
            if (missing.database !== undefined) throw new Error('secret detail');
            return undefined;
          },
        },
      ],
    });
  });
  after(() => api.close());

  it("gives every reply a request id, the client's own where it is a sane one", async () => {
    const own = await api.send('GET', '/healthz', { headers: { 'X-Request-Id': 'trace-7:1.a_b' } });
    expect(own.headers.get('x-request-id')).to.equal('trace-7:1.a_b');
    for (const insane of ['a'.repeat(65), 'a b', '<script>']) {
      const reply = await api.send('GET', '/healthz', { headers: { 'X-Request-Id': insane } });
      expect(reply.headers.get('x-request-id')).to.match(/^req_\d{8}T\d{6}\.\d{9}$/);
    }
  });

  it('answers 404 where there is nothing, with the request id in the error', async () => {
    const reply = await api.unchecked('GET', '/v1/nothing');
    expect(reply.status).to.equal(404);
    expect(reply.body).to.deep.equal({
      error: {
        code: 'not_found',
        message: 'there is nothing at this path',
        request_id: reply.headers.get('x-request-id'),
      },
    });
  });

  it('answers 405 for another method on a known path, and says which are allowed', async () => {
    const reply = await api.unchecked('PUT', '/v1/applications/app_1');
    expect([reply.status, reply.body.error.code]).to.deep.equal([405, 'method_not_allowed']);
    expect(reply.headers.get('allow')).to.equal('GET, PATCH');
    expect((await api.unchecked('POST', '/docs')).status).to.equal(405);
    expect((await api.unchecked('GET', '/metrics')).status, 'what is measured is not for customers').to.equal(
      404,
    );
  });

  it('refuses a body that is not JSON, with invalid_json', async () => {
    for (const raw of ['{"a":', 'hello', '{"a":1}x', '\u0000']) {
      const reply = await api.send('POST', '/v1/echo', { raw });
      expect([reply.status, reply.body.error.code], raw).to.deep.equal([400, 'invalid_json']);
    }
  });

  it('refuses JSON that is no object, as a request that is not valid', async () => {
    for (const raw of ['1', '"text"', 'null', '[]', 'true']) {
      const reply = await api.send('POST', '/v1/echo', { raw });
      expect([reply.status, reply.body.error.code, reply.body.error.message], raw).to.deep.equal([
        400,
        'invalid_request',
        'must be an object',
      ]);
    }
  });

  it('takes a body of 256 KiB, and refuses one byte more', async () => {
    const filled = (bytes: number): string => JSON.stringify({ a: 'x'.repeat(bytes - '{"a":""}'.length) });
    expect((await api.send('POST', '/v1/echo', { raw: filled(256 * 1024) })).status).to.equal(200);
    const reply = await api.send('POST', '/v1/echo', { raw: filled(256 * 1024 + 1) });
    expect([reply.status, reply.body.error.code]).to.deep.equal([413, 'payload_too_large']);
  });

  it('refuses a body of another type or encoding', async () => {
    const wrong: Record<string, string>[] = [
      { 'Content-Type': 'text/plain' },
      { 'Content-Type': 'application/x-www-form-urlencoded' },
      { 'Content-Encoding': 'rot13' },
      { 'Content-Type': 'application/json; charset=klingon' },
    ];
    for (const headers of wrong) {
      const reply = await api.send('POST', '/v1/echo', { raw: '{}', headers });
      expect([reply.status, reply.body.error.code], JSON.stringify(headers)).to.deep.equal([
        415,
        'unsupported_media_type',
      ]);
    }
    expect(
      (
        await api.send('POST', '/v1/echo', {
          raw: '{"a":1}',
          headers: { 'Content-Type': 'application/json; charset=utf-8' },
        })
      ).body,
    ).to.deep.equal({ a: 1 });
  });

  it('refuses a path with broken percent-encoding', async () => {
    const reply = await api.unchecked('GET', '/v1/dids/%E0%A4%A');
    expect([reply.status, reply.body.error.code]).to.deep.equal([400, 'invalid_request']);
  });

  it('says nothing to the client about an error nobody foresaw', async () => {
    const reply = await api.send('GET', '/v1/boom');
    expect(reply.status).to.equal(500);
    expect(reply.body.error).to.deep.equal({
      code: 'internal_error',
      message: 'internal error',
      request_id: reply.headers.get('x-request-id'),
    });
  });

  it('answers 503, and when to try again, while the database is away', async () => {
    const reply = await api.send('GET', '/v1/away');
    expect([reply.status, reply.body.error.code, reply.headers.get('retry-after')]).to.deep.equal([
      503,
      'service_unavailable',
      '1',
    ]);
    expect(JSON.stringify(reply.body)).to.not.include('127.0.0.1');
  });

  it('asks for a key before anything else, and says how', async () => {
    const reply = await api.send('POST', '/v1/applications', { raw: 'not json' });
    expect([reply.status, reply.body.error.code]).to.deep.equal([401, 'unauthorized']);
    expect(reply.headers.get('www-authenticate')).to.equal('Bearer');
  });

  it('keeps customers and the operator apart', async () => {
    const { key } = await api.customer();
    expect((await api.send('GET', '/v1/applications', { key: OPERATOR })).status).to.equal(401);
    expect((await api.send('GET', '/admin/v1/customers', { key })).status).to.equal(401);
  });

  it('does not name its software, and is not cached', async () => {
    const { headers } = await api.send('GET', '/healthz');
    expect(headers.get('x-powered-by')).to.equal(null);
    expect(headers.get('x-content-type-options')).to.equal('nosniff');
    expect(headers.get('content-security-policy')).to.match(/default-src 'self'/);
    expect(headers.get('cache-control')).to.equal('no-store');
  });

  it('is alive, and ready when nothing is missing', async () => {
    expect((await api.send('GET', '/healthz')).body).to.deep.equal({ status: 'ok' });
    expect((await api.send('GET', '/readyz')).body).to.deep.equal({
      status: 'ready',
      checks: ['database', 'media'],
    });
  });

  it('is not ready while something is missing, and says what without details of ours', async () => {
    missing.database = 'not connected';
    const reply = await api.send('GET', '/readyz');
    delete missing.database;
    expect(reply.status).to.equal(503);
    expect(reply.headers.get('retry-after')).to.equal('5');
    expect(reply.body.error.details).to.deep.equal([
      { path: 'database', message: 'not connected' },
      { path: 'media', message: 'the check failed' },
    ]);
    expect(reply.body.error.message).to.equal('not ready: database: not connected; media: the check failed');
  });

  it('limits what one key and one address may ask, says when to come back, and counts nothing of it against others', async () => {
    const limited = await startApi({
      limits: new RequestLimits({ perKey: 1, perAddress: 5, proxies: ['127.0.0.1'], now: () => 0 }),
    });
    try {
      const [one, two] = [await limited.customer(), await limited.customer()];
      const ask = (key: string | undefined, address: string) =>
        limited.send('GET', '/v1/applications', { key, headers: { 'X-Forwarded-For': address } });
      const statuses = async (count: number, key: string | undefined, address: string): Promise<number[]> => {
        const replies = [];
        for (let i = 0; i < count; i++) replies.push(await ask(key, address));
        return [...new Set(replies.map(({ status }) => status))];
      };
      expect(await statuses(10, one.key, '203.0.113.1')).to.deep.equal([200]);
      const refused = await ask(one.key, '203.0.113.2');
      expect([refused.status, refused.body.error.code, refused.headers.get('retry-after')]).to.deep.equal([
        429,
        'rate_limited',
        '1',
      ]);
      expect(await statuses(5, two.key, '203.0.113.1')).to.deep.equal([200]);
      const flood = await Promise.all(Array.from({ length: 200 }, () => ask(undefined, '203.0.113.3')));
      expect(new Set(flood.map(({ status }) => status))).to.deep.equal(new Set([401, 429]));
      expect(
        flood.filter(({ status }) => status === 401).length,
        'as many as keys, or requests, are let through at once',
      ).to.be.within(30, 50);
      const page = await limited.unchecked('GET', '/docs', { headers: { 'X-Forwarded-For': '203.0.113.3' } });
      expect([page.status, page.body.error.code]).to.deep.equal([429, 'rate_limited']);
      expect(await statuses(1, two.key, '203.0.113.4')).to.deep.equal([200]);
    } finally {
      await limited.close();
    }
  });

  it('measures itself by path pattern, never by what was typed', async () => {
    await api.unchecked('GET', '/v1/some/strange/path');
    await api.send('GET', '/v1/dids/did_42', { key: 'nonsense' });
    const text = await api.registry.metrics();
    expect(text).to.match(
      /minivoice_http_request_duration_seconds_count\{method="GET",path="\/v1\/dids\/:id",status="401"\} 1/,
    );
    expect(text).to.match(/path="unknown",status="404"/);
    expect(text).to.not.match(/strange|did_42/);
    expect(text).to.match(/process_cpu_seconds_total/);
  });

  it('shows its documentation as one page that fetches nothing', async () => {
    const response = await fetch(`${api.url}/docs`);
    const html = await response.text();
    expect(response.headers.get('content-type')).to.match(/^text\/html/);
    for (const path of Object.keys(api.document.paths)) expect(html).to.include(`<code>${path}</code>`);
    expect(html).to.not.match(/<script|src=|<link|@import|url\(/);
  });

  it('leads from / to its documentation', async () => {
    const response = await fetch(`${api.url}/`);
    expect(response.status).to.equal(200);
    expect(response.url).to.equal(`${api.url}/docs`);
    expect((await api.unchecked('POST', '/')).status).to.equal(405);
  });
});

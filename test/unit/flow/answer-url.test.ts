import { createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { pino } from 'pino';
import type { Call } from '../../../control/calls/call.ts';
import { Calls } from '../../../control/calls/calls.ts';
import { Lifecycle } from '../../../control/calls/lifecycle.ts';
import type { TimelineEntry } from '../../../control/calls/store.ts';
import { FlowFailure } from '../../../control/flow/action.ts';
import { answerUrlRequests } from '../../../control/flow/answer-url-docs.ts';
import { AnswerUrl, type Question } from '../../../control/flow/answer-url.ts';
import { createGuardedFetch } from '../../../control/lib/guarded-fetch.ts';
import { Ids } from '../../../control/lib/ids.ts';

const HELLO = { actions: [{ say: { text: 'Hello' } }] };

describe('the answer_url exchange', () => {
  let server: Server;
  let base: string;
  let answer: (request: IncomingMessage, response: ServerResponse, body: string) => void;
  let seen: { url: URL; raw: string; method: string; headers: IncomingMessage['headers']; body: string }[];
  let call: Call;
  let calls: Calls;
  let timeline: TimelineEntry[];
  let fallbackUrl: string | undefined;
  let webhookSecrets: string[];
  let allowPrivate: boolean;
  let names: Record<string, string[]> | undefined;

  beforeEach(async () => {
    seen = [];
    timeline = [];
    fallbackUrl = undefined;
    webhookSecrets = [];
    allowPrivate = true;
    names = undefined;
    answer = (_request, response) => response.end(JSON.stringify(HELLO));
    server = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk) => (body += chunk));
      request.on('end', () => {
        seen.push({
          url: new URL(request.url ?? '', base),
          raw: request.url ?? '',
          method: request.method ?? '',
          headers: request.headers,
          body,
        });
        answer(request, response, body);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    calls = new Calls({
      lifecycle: new Lifecycle(pino({ enabled: false })),
      ids: new Ids(0),
      hasWebhook: () => false,
      journal: {
        accepting: true,
        append: ({ timeline: entries }: { timeline: TimelineEntry[] }) => timeline.push(...entries),
        onCommit: () => undefined,
      } as never,
    });
    call = calls.createInbound({
      customerId: 'cust_1',
      applicationId: 'app_1',
      from: '+15551230001',
      to: '+15551230002',
      routeMode: 'webhook',
      routingTarget: 'app_1',
    });
  });
  afterEach(() => {
    server.close();
    server.closeAllConnections();
  });

  const ask = async (more: Partial<Question> = {}): Promise<unknown> => {
    const fetch = createGuardedFetch({
      allowPrivate,
      ...(names && { resolve: (host: string) => Promise.resolve(names?.[host] ?? []) }),
    });
    const answerUrl = new AnswerUrl({
      calls,
      fetch,
      applicationOf: () => ({ fallbackUrl, webhookSecrets }),
      now: () => new Date(1_700_000_000_000),
    });
    try {
      return await answerUrl.ask({
        call,
        url: `${base}/answer?menu=1`,
        method: 'GET',
        gathered: undefined,
        signal: new AbortController().signal,
        ...more,
      });
    } catch (error) {
      return error;
    } finally {
      fetch.close();
    }
  };
  const failure = async (more: Partial<Question> = {}): Promise<FlowFailure> => {
    const error = await ask(more);
    expect(error).to.be.instanceOf(FlowFailure).and.have.property('code', 'answer_url_error');
    return error as FlowFailure;
  };
  const signatureOf = (signed: string): string =>
    `v1=${createHmac('sha256', 'secret').update(`1700000000.${signed}`).digest('hex')}`;
  const noted = (kind: string) =>
    timeline.filter((entry) => entry.kind === kind).map((entry) => entry.detail);

  it('a GET carries the call, its variables and the gathered digits, beside what the URL had', async () => {
    calls.setVariable(call, 'agent', 'Ann & Bob');
    await ask({ gathered: { digits: '42#', status: 'completed', timedOut: false } });
    expect(Object.fromEntries(seen[0]?.url.searchParams ?? [])).to.deep.equal({
      menu: '1',
      call_id: call.id,
      customer_id: 'cust_1',
      application_id: 'app_1',
      direction: 'inbound',
      from: '+15551230001',
      to: '+15551230002',
      status: 'ringing',
      var_agent: 'Ann & Bob',
      digits: '42#',
      gather_status: 'completed',
      timed_out: 'false',
    });
    expect(seen[0]?.headers['x-minivoice-call-id']).to.equal(call.id);
  });

  it('both methods ask as it is documented, the fallback too, and what the document replies is taken', async () => {
    const [get, post] = answerUrlRequests;
    webhookSecrets = ['secret'];
    fallbackUrl = `${base}/fallback`;
    answer = (request, response) =>
      request.url?.startsWith('/fallback')
        ? response.end(JSON.stringify(get.reply.content.example))
        : response.writeHead(500).end();
    calls.setVariable(call, 'NAME', 'Ann');
    const gathered = { digits: '', status: 'timeout', timedOut: true };
    for (const method of ['GET', 'POST'] as const)
      expect(await ask({ url: `${base}/answer`, method, gathered })).to.have.length(2);

    expect(seen.map(({ method }) => method)).to.deep.equal(['GET', 'GET', 'POST', 'POST']);
    for (const { method, url, headers, body } of seen) {
      const documented = method === 'GET' ? get : post;
      documented.query.strict().parse(Object.fromEntries(url.searchParams));
      for (const name of Object.keys(documented.headers.shape))
        expect(headers, `${method} ${name}`).to.have.property(name.toLowerCase());
      if (method === 'POST') post.body.schema.parse(JSON.parse(body));
    }
  });

  it('a GET is signed over its raw query string, with every secret while one is rotating', async () => {
    webhookSecrets = ['new-secret', 'old-secret'];
    await ask();
    const query = seen[0]?.url.search.slice(1) ?? '';
    const expected = webhookSecrets
      .map((secret) => `v1=${createHmac('sha256', secret).update(`1700000000.${query}`).digest('hex')}`)
      .join(',');
    expect(seen[0]?.headers['x-minivoice-signature']).to.equal(expected);
    expect(seen[0]?.headers['x-minivoice-timestamp']).to.equal('1700000000');
  });

  it('a POST carries the signed envelope', async () => {
    webhookSecrets = ['secret'];
    await ask({ method: 'POST', gathered: { digits: '1', status: 'completed', timedOut: false } });
    const body = JSON.parse(seen[0]?.body ?? '') as Record<string, unknown>;
    expect(body).to.include({ event: 'call.instructions', created_at: '2023-11-14T22:13:20Z' });
    expect(body.data).to.deep.equal({ gather: { digits: '1', status: 'completed', timed_out: false } });
    expect(body.call).to.include({ id: call.id, status: 'ringing' });
    expect(seen[0]?.headers['x-minivoice-signature']).to.equal(
      `v1=${createHmac('sha256', 'secret').update(`1700000000.${seen[0]?.body}`).digest('hex')}`,
    );
  });

  it('request and reply are in the timeline', async () => {
    await ask();
    expect(noted('answer_url.requested')[0]).to.have.property('url').that.contains('/answer?menu=1&call_id=');
    expect(noted('answer_url.replied')[0]).to.deep.include({ status: 200, actions: ['say'] });
  });

  it('a status that is not 2xx fails, and the timeline shows the reply', async () => {
    answer = (_request, response) => response.writeHead(500).end('out of order');
    expect((await failure()).message).to.equal('the server answered 500');
    expect(noted('answer_url.failed')[0]).to.include({ status: 500, reply: 'out of order' });
  });

  it('a reply that is not JSON fails, shown to its first 4 KiB', async () => {
    answer = (_request, response) => response.end('<html>'.padEnd(10_000, 'x'));
    expect((await failure()).message).to.contain('not valid JSON');
    expect(noted('answer_url.failed')[0]?.reply).to.have.length(4096);
  });

  it('an invalid action fails with its path', async () => {
    answer = (_request, response) =>
      response.end(
        JSON.stringify({ actions: [{ say: { text: 'fine' } }, { gather: { timeout_seconds: 60 } }] }),
      );
    expect((await failure()).message).to.contain('actions[1].gather.timeout_seconds');
    expect(noted('answer_url.failed')[0]).to.have.nested.property(
      'details[0].path',
      'actions[1].gather.timeout_seconds',
    );
  });

  it('a reply over 256 KiB fails', async () => {
    answer = (_request, response) => response.end(JSON.stringify(HELLO) + ' '.repeat(256 * 1024));
    await failure();
    expect(noted('answer_url.failed')[0]).to.include({ error: 'too_large' });
  });

  it('a server that is silent fails after 5 s and is not asked again', async () => {
    answer = () => undefined;
    await failure();
    expect(noted('answer_url.failed')[0]).to.include({ error: 'timeout' });
    expect(seen).to.have.length(1);
  });

  it('a server that cannot be reached is tried once more, and no third time', async () => {
    const closed = createTcpServer();
    await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
    const { port } = closed.address() as AddressInfo;
    await new Promise((resolve) => closed.close(resolve));
    await failure({ url: `http://127.0.0.1:${port}/answer` });
    expect(noted('answer_url.requested')).to.have.length(2);
  });

  it('a connection that is made and broken is not tried again', async () => {
    answer = (request) => request.socket.destroy();
    await failure();
    expect(noted('answer_url.requested')).to.have.length(1);
  });

  it('redirects are followed three times, and a fourth fails', async () => {
    let left = 3;
    answer = (_request, response) =>
      left-- > 0 ? response.writeHead(302, { location: '/next' }).end() : response.end(JSON.stringify(HELLO));
    expect(await ask()).to.be.an('array');
    left = 4;
    await failure();
    expect(noted('answer_url.failed')[0]).to.include({ error: 'too_many_redirects' });
  });

  it('a redirect to a private address fails without a request to it', async () => {
    answer = (_request, response) => response.writeHead(302, { location: 'http://10.0.0.1/internal' }).end();
    await failure();
    expect(noted('answer_url.failed')[0]).to.include({ error: 'forbidden_address' });
  });

  it('a name that resolves to a private address fails, and nothing is connected to', async () => {
    names = { 'inside.example.com': ['192.168.1.1'], 'both.example.com': ['93.184.216.34', '10.0.0.1'] };
    for (const host of Object.keys(names)) await failure({ url: `http://${host}/answer` });
    expect(noted('answer_url.failed').map(({ error }) => error)).to.deep.equal([
      'forbidden_address',
      'forbidden_address',
    ]);
  });

  it('outside the development profile loopback is a private address too', async () => {
    allowPrivate = false;
    await failure();
    expect(noted('answer_url.failed')[0]).to.include({ error: 'forbidden_address' });
    expect(seen).to.deep.equal([]);
  });

  it('the fallback is asked once, with what went wrong, and its actions are used', async () => {
    fallbackUrl = `${base}/fallback?x=1`;
    answer = (request, response) =>
      request.url?.startsWith('/fallback')
        ? response.end(JSON.stringify(HELLO))
        : response.writeHead(500).end();
    expect(await ask()).to.deep.equal([{ action: 'say', fields: { text: 'Hello', loop: 1 } }]);
    expect(seen.map(({ url }) => url.pathname)).to.deep.equal(['/answer', '/fallback']);
    expect(seen[1]?.url.searchParams.get('error_code')).to.equal('answer_url_error');
    expect(seen[1]?.url.searchParams.get('error_url')).to.equal(`${base}/answer?menu=1`);
  });

  it("the customer's own query arrives byte for byte, and what is added stands behind it", async () => {
    webhookSecrets = ['secret'];
    const own = "x=a%20b&flag&sig=%2f~*'()&from=mine&name=\u0444";
    await ask({ url: `${base}/a?${own}#part` });
    const query = seen[0]?.raw.slice('/a?'.length) ?? '';
    expect(query.startsWith("x=a%20b&flag&sig=%2f~*'()&from=mine&name=%D1%84&call_id=call_"), query).to.equal(
      true,
    );
    expect(query).to.contain('&from=%2B15551230001&');
    expect(signatureOf(query)).to.equal(seen[0]?.headers['x-minivoice-signature']);
  });

  it('a redirected request is signed for the query with which it arrives, and no other host gets a signature', async () => {
    webhookSecrets = ['secret'];
    answer = (request, response) =>
      request.url?.startsWith('/answer')
        ? response.writeHead(302, { location: "/b?k='1'&s=%2f" }).end()
        : response.end(JSON.stringify(HELLO));
    for (const method of ['GET', 'POST'] as const) {
      await ask({ method });
      expect(seen.at(-1)).to.include({ raw: "/b?k='1'&s=%2f", method: 'GET' });
      expect(seen.at(-1)?.headers['x-minivoice-signature'], method).to.equal(signatureOf("k='1'&s=%2f"));
    }
    answer = (request, response) =>
      request.url?.startsWith('/answer')
        ? response.writeHead(307, { location: '/b' }).end()
        : response.end(JSON.stringify(HELLO));
    await ask({ method: 'POST' });
    expect(seen.at(-1)?.headers['x-minivoice-signature']).to.equal(signatureOf(seen.at(-1)?.body ?? ''));
    answer = (request, response) => {
      const back = request.headers.host?.startsWith('localhost');
      const location = back ? `${base}/end` : `${base.replace('127.0.0.1', 'localhost')}/elsewhere`;
      if (request.url?.startsWith('/end')) response.end(JSON.stringify(HELLO));
      else response.writeHead(302, { location }).end();
    };
    seen.length = 0;
    await ask();
    expect(
      seen.map(({ url, headers }) => [
        url.pathname,
        headers['x-minivoice-signature'] !== undefined,
        headers['x-minivoice-timestamp'] !== undefined,
      ]),
    ).to.deep.equal([
      ['/answer', true, true],
      ['/elsewhere', false, false],
      ['/end', true, true],
    ]);
  });

  it('variables are not held against the limit of the URL, up to 8 KiB with them; beyond that it says so', async () => {
    calls.setVariable(call, 'note', '\u0444'.repeat(350));
    calls.setVariable(call, 'long', 'x'.repeat(4096));
    expect(await ask({ url: `${base}/a?${'y'.repeat(1000)}` })).to.be.an('array');
    expect(seen[0]?.url.searchParams.get('var_note')).to.equal('\u0444'.repeat(350));
    calls.setVariable(call, 'note', '\u0444'.repeat(4096));
    expect((await failure()).message).to.equal(
      'the URL with what is added to it is longer than 8192 characters: POST has no such limit',
    );
    expect(await ask({ method: 'POST' })).to.be.an('array');
  });

  it('the fallback is asked though the URL that failed, or the variables, would not fit into its own', async () => {
    fallbackUrl = `${base}/f?${'z'.repeat(2000)}`;
    answer = (request, response) =>
      request.url?.startsWith('/f?') ? response.end(JSON.stringify(HELLO)) : response.writeHead(500).end();
    calls.setVariable(call, 'long', 'x'.repeat(4096));
    const url = `${base}/${'%41%'.repeat(340)}`;
    expect(await ask({ url })).to.be.an('array');
    expect(seen[1]?.url.searchParams.get('error_url')).to.equal(url);
    expect(seen[1]?.url.searchParams.get('call_id')).to.equal(call.id);
    expect(seen[1]?.url.searchParams.has('var_long')).to.equal(false);
  });

  it('a reply may begin with a byte order mark, and may come as gzip though identity was asked for', async () => {
    const plain = Buffer.from(`\ufeff${JSON.stringify(HELLO)}`);
    const replies: [Buffer, Record<string, string>][] = [
      [plain, {}],
      [gzipSync(plain), { 'content-encoding': 'gzip' }],
      [gzipSync(plain), { 'content-encoding': 'X-GZIP' }],
      [plain, { 'content-encoding': 'identity' }],
      [plain, { 'content-type': 'application/json; charset=windows-1252' }],
    ];
    for (const [body, headers] of replies) {
      answer = (_request, response) => response.writeHead(200, headers).end(body);
      expect(await ask(), JSON.stringify(headers)).to.deep.equal([
        { action: 'say', fields: { text: 'Hello', loop: 1 } },
      ]);
    }
    expect(seen[0]?.headers['accept-encoding']).to.equal('identity');
  });

  it('a reply with half a character, or nested without end, is refused with its place', async () => {
    for (const [body, message] of [
      [
        '{"actions":[{"play":{"url":"https://a.example/\\ud83d"}}]}',
        'invalid action payload: actions[0].play.url: must be of whole Unicode characters',
      ],
      [
        `{"actions":${'['.repeat(60_000)}${']'.repeat(60_000)}}`,
        'invalid action payload: actions: must not be nested deeper than 32 levels',
      ],
    ]) {
      answer = (_request, response) => response.end(body);
      expect((await failure()).message).to.equal(message);
    }
  });

  it('a reply in another coding or character set is refused with its name', async () => {
    const text = JSON.stringify({ actions: [{ say: { text: 'Gr\u00fc\u00df Gott' } }] });
    const replies: [Buffer, Record<string, string>, string, string][] = [
      [
        Buffer.from('xx'),
        { 'content-encoding': 'br' },
        'content_encoding',
        'the reply has Content-Encoding br: it may be plain or gzip',
      ],
      [
        Buffer.from('xx'),
        { 'content-encoding': 'gzip' },
        'content_encoding',
        'the reply has Content-Encoding gzip, but is not gzip (incorrect header check)',
      ],
      [gzipSync(text), {}, 'content_encoding', 'the reply is gzip, but has no Content-Encoding that says so'],
      [
        gzipSync(Buffer.alloc(64 * 1024 * 1024)),
        { 'content-encoding': 'gzip' },
        'too_large',
        'the reply unpacks to more than 262144 bytes',
      ],
      [Buffer.from(`\ufeff${text}`, 'utf16le'), {}, 'charset', 'the reply is UTF-16: it must be UTF-8'],
      [Buffer.from(text, 'utf16le'), {}, 'charset', 'the reply is UTF-16 or UTF-32: it must be UTF-8'],
      [
        Buffer.from(text, 'latin1'),
        { 'content-type': 'application/json; charset=iso-8859-1' },
        'charset',
        'the reply is not UTF-8 (its Content-Type says iso-8859-1)',
      ],
    ];
    for (const [body, headers, error, message] of replies) {
      answer = (_request, response) => response.writeHead(200, headers).end(body);
      expect((await failure()).message).to.equal(message);
      expect(noted('answer_url.failed').at(-1)).to.include({ error, message });
    }
    answer = (_request, response) => response.writeHead(500, { 'content-encoding': 'br' }).end('xx');
    expect((await failure()).message).to.equal('the server answered 500');
  });

  it('a fallback that fails too ends it, and both reasons are named', async () => {
    fallbackUrl = `${base}/fallback`;
    answer = (request, response) =>
      response.writeHead(request.url?.startsWith('/fallback') ? 404 : 500).end();
    expect((await failure()).message).to.equal(
      'the server answered 500; fallback_url: the server answered 404',
    );
  });

  it('a caller who is gone ends the request and nothing more is asked', async () => {
    const gone = new AbortController();
    fallbackUrl = `${base}/fallback`;
    answer = () => gone.abort();
    const error = await ask({ signal: gone.signal });
    expect(error).to.be.instanceOf(Error).and.not.instanceOf(FlowFailure);
    expect(seen).to.have.length(1);
  });
});

import { createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { expect } from 'chai';
import type { Call } from '../../../control/calls/call.ts';
import { Calls } from '../../../control/calls/calls.ts';
import type { TimelineEntry } from '../../../control/calls/store.ts';
import { FlowFailure } from '../../../control/flow/action.ts';
import { AnswerUrl, type Question } from '../../../control/flow/answer-url.ts';
import { createGuardedFetch } from '../../../control/lib/guarded-fetch.ts';
import { Ids } from '../../../control/lib/ids.ts';

const HELLO = { actions: [{ say: { text: 'Hello' } }] };

describe('the answer_url exchange', () => {
  let server: Server;
  let base: string;
  let answer: (request: IncomingMessage, response: ServerResponse, body: string) => void;
  let seen: { url: URL; method: string; headers: IncomingMessage['headers']; body: string }[];
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
        seen.push({ url: new URL(request.url ?? '', base), method: request.method ?? '', headers: request.headers, body });
        answer(request, response, body);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    calls = new Calls({
      ids: new Ids(0), hasWebhook: () => false,
      journal: { accepting: true, append: ({ timeline: entries }: { timeline: TimelineEntry[] }) => timeline.push(...entries), onCommit: () => undefined } as never,
    });
    call = calls.createInbound({ customerId: 'cust_1', applicationId: 'app_1', from: '+15551230001', to: '+15551230002', routeMode: 'webhook', routingTarget: 'app_1' });
  });
  afterEach(() => {
    server.close();
    server.closeAllConnections();
  });

  const ask = async (more: Partial<Question> = {}): Promise<unknown> => {
    const fetch = createGuardedFetch({ allowPrivate, ...(names && { resolve: (host: string) => Promise.resolve(names?.[host] ?? []) }) });
    const answerUrl = new AnswerUrl({ calls, fetch, applicationOf: () => ({ fallbackUrl, webhookSecrets }), now: () => new Date(1_700_000_000_000) });
    try {
      return await answerUrl.ask({ call, url: `${base}/answer?menu=1`, method: 'GET', gathered: undefined, signal: new AbortController().signal, ...more });
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
  const noted = (kind: string) => timeline.filter((entry) => entry.kind === kind).map((entry) => entry.detail);

  it('a GET carries the call, its variables and the gathered digits, beside what the URL had', async () => {
    calls.setVariable(call, 'agent', 'Ann & Bob');
    await ask({ gathered: { digits: '42#', status: 'completed', timedOut: false } });
    expect(Object.fromEntries(seen[0]?.url.searchParams ?? [])).to.deep.equal({
      menu: '1', call_id: call.id, customer_id: 'cust_1', application_id: 'app_1', direction: 'inbound', from: '+15551230001', to: '+15551230002', status: 'ringing',
      var_agent: 'Ann & Bob', digits: '42#', gather_status: 'completed', timed_out: 'false',
    });
    expect(seen[0]?.headers['x-minivoice-call-id']).to.equal(call.id);
  });

  it('a GET is signed over its raw query string, with every secret while one is rotating', async () => {
    webhookSecrets = ['new-secret', 'old-secret'];
    await ask();
    const query = seen[0]?.url.search.slice(1) ?? '';
    const expected = webhookSecrets.map((secret) => `v1=${createHmac('sha256', secret).update(`1700000000.${query}`).digest('hex')}`).join(',');
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
    expect(seen[0]?.headers['x-minivoice-signature']).to.equal(`v1=${createHmac('sha256', 'secret').update(`1700000000.${seen[0]?.body}`).digest('hex')}`);
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
    answer = (_request, response) => response.end(JSON.stringify({ actions: [{ say: { text: 'fine' } }, { gather: { timeout_seconds: 60 } }] }));
    expect((await failure()).message).to.contain('actions[1].gather.timeout_seconds');
    expect(noted('answer_url.failed')[0]).to.have.nested.property('details[0].path', 'actions[1].gather.timeout_seconds');
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
    answer = (_request, response) => (left-- > 0 ? response.writeHead(302, { location: '/next' }).end() : response.end(JSON.stringify(HELLO)));
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
    expect(noted('answer_url.failed').map(({ error }) => error)).to.deep.equal(['forbidden_address', 'forbidden_address']);
  });

  it('outside the development profile loopback is a private address too', async () => {
    allowPrivate = false;
    await failure();
    expect(noted('answer_url.failed')[0]).to.include({ error: 'forbidden_address' });
    expect(seen).to.deep.equal([]);
  });

  it('the fallback is asked once, with what went wrong, and its actions are used', async () => {
    fallbackUrl = `${base}/fallback?x=1`;
    answer = (request, response) => (request.url?.startsWith('/fallback') ? response.end(JSON.stringify(HELLO)) : response.writeHead(500).end());
    expect(await ask()).to.deep.equal([{ action: 'say', fields: { text: 'Hello', loop: 1 } }]);
    expect(seen.map(({ url }) => url.pathname)).to.deep.equal(['/answer', '/fallback']);
    expect(seen[1]?.url.searchParams.get('error_code')).to.equal('answer_url_error');
    expect(seen[1]?.url.searchParams.get('error_url')).to.equal(`${base}/answer?menu=1`);
  });

  it('a fallback that fails too ends it, and both reasons are named', async () => {
    fallbackUrl = `${base}/fallback`;
    answer = (request, response) => response.writeHead(request.url?.startsWith('/fallback') ? 404 : 500).end();
    expect((await failure()).message).to.equal('the server answered 500; fallback_url: the server answered 404');
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

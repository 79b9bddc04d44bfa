import { expect } from 'chai';
import { createHmac } from 'node:crypto';
import { PROMPTS, startSimpleIvr, type Received } from '../../../examples/simple-ivr/server.ts';
import { verify } from '../../../examples/verify.ts';

const secret = 'a secret for tests';

/** Signed here on its own, from the words of the contract. */
function signed(text: string, seconds = Math.floor(Date.now() / 1000), key = secret): Record<string, string> {
  return {
    'x-minivoice-timestamp': String(seconds),
    'x-minivoice-signature': `v1=${createHmac('sha256', key).update(`${seconds}.${text}`).digest('hex')}`,
  };
}

describe('examples/simple-ivr', () => {
  let ivr: Awaited<ReturnType<typeof startSimpleIvr>>;
  let told: Received[];

  beforeEach(async () => {
    told = [];
    ivr = await startSimpleIvr({ secret, onEvent: (entry) => told.push(entry) });
  });
  afterEach(async () => ivr.close());

  async function ask(
    pathAndQuery: string,
    headers = signed(pathAndQuery.split('?')[1] ?? ''),
  ): Promise<{ status: number; actions: unknown[] }> {
    const response = await fetch(`${ivr.url}${pathAndQuery}`, {
      headers: { ...headers, 'x-minivoice-call-id': 'call_1' },
    });
    return { status: response.status, actions: ((await response.json()) as { actions: unknown[] }).actions };
  }

  function deliver(body: string, headers: Record<string, string>): Promise<Response> {
    return fetch(`${ivr.url}/webhooks`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json', 'x-minivoice-event-id': 'e1', ...headers },
    });
  }

  const menu = (attempt: number): unknown[] => [
    { gather: { prompt: PROMPTS.menu, num_digits: 1, timeout_seconds: 5, finish_on_key: '#' } },
    { type: 'redirect', url: `${ivr.url}/choice?attempt=${attempt}` },
  ];

  it('greets and gathers one digit', async () => {
    expect((await ask('/answer?call_id=call_1')).actions).to.deep.equal([
      { say: { text: PROMPTS.greeting } },
      ...menu(1),
    ]);
  });

  it('sends one to sales and two to support', async () => {
    expect((await ask('/choice?attempt=1&digits=1&gather_status=completed')).actions).to.deep.equal([
      { type: 'redirect', url: `${ivr.url}/sales` },
    ]);
    expect((await ask('/choice?attempt=2&digits=2&gather_status=completed')).actions).to.deep.equal([
      { type: 'redirect', url: `${ivr.url}/support` },
    ]);
    expect((await ask('/sales')).actions).to.deep.include({ say: { text: PROMPTS.sales } });
    expect((await ask('/support')).actions).to.deep.include({ say: { text: PROMPTS.support } });
  });

  it('repeats the menu once when no key came, or a wrong one, and then says good-bye', async () => {
    for (const got of ['digits=&gather_status=timeout&timed_out=true', 'digits=9&gather_status=completed']) {
      expect((await ask(`/choice?attempt=1&${got}`)).actions).to.deep.equal([
        { say: { text: PROMPTS.sorry } },
        ...menu(2),
      ]);
      expect((await ask(`/choice?attempt=2&${got}`)).actions).to.deep.equal([
        { say: { text: PROMPTS.goodbye } },
      ]);
    }
  });

  it('answers nobody but MiniVoice', async () => {
    expect((await ask('/answer?call_id=call_1', {})).status).to.equal(401);
    expect((await ask('/answer?call_id=call_1', signed('call_id=call_2'))).status).to.equal(401);
    expect(told.map(({ verified, actions }) => [verified, actions])).to.deep.equal([
      [false, undefined],
      [false, undefined],
    ]);
  });

  it('takes a signed webhook, once', async () => {
    const body = JSON.stringify({ event: 'call.created', call: { id: 'call_1' } });
    expect((await deliver(body, signed(body))).status).to.equal(200);
    expect((await deliver(body, signed(body))).status).to.equal(200);
    expect(
      told.map(({ event, call_id, duplicate, verified }) => ({ event, call_id, duplicate, verified })),
    ).to.deep.equal([
      { event: 'call.created', call_id: 'call_1', duplicate: false, verified: true },
      { event: 'call.created', call_id: 'call_1', duplicate: true, verified: true },
    ]);
    const log = (await (await fetch(`${ivr.url}/events`)).json()) as Received[];
    expect(log.map(({ event_id }) => event_id)).to.deep.equal(['e1', 'e1']);
  });

  it('refuses a webhook with a changed body, an old signature, another secret or none', async () => {
    const body = JSON.stringify({ event: 'call.created', call: { id: 'call_1' } });
    const now = Math.floor(Date.now() / 1000);
    for (const headers of [
      signed(`${body} `),
      signed(body, now - 301),
      signed(body, now + 310),
      signed(body, now, 'another'),
      {},
    ]) {
      expect((await deliver(body, headers)).status).to.equal(401);
    }
  });

  it('accepts either of two signatures while a secret rotates, and a delay of less than five minutes', () => {
    const now = 1_800_000_000;
    const mine = signed('body', now);
    const both = {
      ...mine,
      'x-minivoice-signature': `${signed('body', now, 'old')['x-minivoice-signature']}, ${mine['x-minivoice-signature']}`,
    };
    expect(verify(secret, both, 'body', now * 1000)).to.equal(true);
    expect(verify(secret, mine, 'body', (now + 299) * 1000)).to.equal(true);
    expect(verify(secret, mine, 'body', (now + 301) * 1000)).to.equal(false);
    expect(verify(secret, { ...mine, 'x-minivoice-signature': 'v1=' }, 'body', now * 1000)).to.equal(false);
  });

  it('answers bad input with 4xx: not JSON, too large, unknown path', async () => {
    expect((await deliver('{', signed('{'))).status).to.equal(400);
    const large = 'x'.repeat(300 * 1024);
    expect((await deliver(large, signed(large))).status).to.equal(413);
    expect((await ask('/nothing')).status).to.equal(404);
  });
});

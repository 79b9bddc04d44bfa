import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { Phone } from '../../support/phone.ts';
import { ADDRESS, Edge, freePort, NUMBER } from './edge.ts';
import { codeOf, RawSip, requestText } from './raw-sip.ts';
import type { Answer } from './stub-control.ts';

describe('A decision of the control plane', () => {
  let edge: Edge;
  let carrier: RawSip;
  let phone: Phone;
  let node: Phone;
  let customer: Phone;

  before(async () => {
    const port = await freePort();
    node = await Phone.open({ address: ADDRESS.media, port });
    edge = await Edge.start({
      media: [`${ADDRESS.media}:${port}`],
      environment: { DECISION_MS: '500', DECISION_GUARD_MS: '3000' },
    });
    carrier = await RawSip.open(ADDRESS.operator);
    phone = await Phone.open({ address: ADDRESS.operator });
    customer = await Phone.open({ address: ADDRESS.customer });
    await edge.set('sip_targets', NUMBER.sip, `${customer.uri}|sip:nobody@127.0.0.1:9`);
  });
  after(async () => {
    carrier?.close();
    for (const one of [phone, node, customer]) await one?.close();
    await edge?.stop();
  });

  const dial = async (user: string, headers: string[] = []): Promise<string> =>
    carrier.ask(requestText(carrier, { user, headers }), edge.sip);

  it('asks once, with who calls whom from where', async () => {
    edge.control.answer = () => ({ action: 'reject', code: 486, reason: 'Busy Here' });
    const callId = 'asked-once@raw';
    const reply = await carrier.ask(
      requestText(carrier, { user: NUMBER.webhook, callId, branch: 'z9hG4bKasked' }),
      edge.sip,
    );
    expect(reply.split('\r\n')[0]).to.equal('SIP/2.0 486 Busy Here');
    const asked = edge.control.routes.filter((route) => route.sip_call_id === callId);
    expect(asked).to.deep.equal([
      {
        sip_call_id: callId,
        from_tag: 'raw',
        branch: 'z9hG4bKasked',
        from: '+491711234567',
        to: NUMBER.webhook,
        trunk: 'trunk_operator',
        source: `${ADDRESS.operator}:${carrier.port}`,
      },
    ]);
  });

  it('refuses with the code and reason it names, and says when to come back if told to', async () => {
    edge.control.answer = () => ({
      action: 'reject',
      code: 503,
      reason: 'Service Unavailable',
      retry_after: 17,
    });
    const reply = await dial(NUMBER.webhook);
    expect(codeOf(reply)).to.equal(503);
    expect(reply).to.match(/^Retry-After: 17\r$/m);
    edge.control.answer = () => ({ action: 'reject', code: 404, reason: 'Not Found' });
    expect(await dial(NUMBER.webhook)).not.to.include('Retry-After');
  });

  const undecided: [string, Answer][] = [
    ['HTTP 500', { status: 500 }],
    ['HTTP 204', { status: 204 }],
    ['no reply in time', 'silence'],
    ['a closed connection', 'close'],
    ['no JSON', { raw: 'not json' }],
    ['an empty body', { raw: '' }],
    ['an array', { raw: '[]' }],
    ['null', { raw: 'null' }],
    ['an action nobody knows', { action: 'fly', call: 'call_x', headers: 'X-MV-Call-ID: call_x\r\n' }],
    ['no action', { call: 'call_x', headers: 'X-MV-Call-ID: call_x\r\n' }],
    ['an action that is null', { action: null, call: 'call_x', headers: '' }],
    ['media without a call', { action: 'media', headers: 'X-MV-Call-ID: \r\n' }],
    ['media without headers', { action: 'media', call: 'call_x' }],
    ['sip without targets', { action: 'sip', call: 'call_x' }],
    ['sip with targets that are a text', { action: 'sip', call: 'call_x', targets: 'sip:a@127.0.0.1' }],
    ['a rejection without a code', { action: 'reject', reason: 'No' }],
    ['a rejection with a code that is none', { action: 'reject', code: 200, reason: 'OK' }],
    ['a rejection with a code out of range', { action: 'reject', code: 4863, reason: 'Busy' }],
    ['more than Kamailio can hold', { raw: `{"action":"media","call":"${'x'.repeat(400_000)}` }],
  ];
  for (const [what, answer] of undecided) {
    it(`${what} is no decision: 503 with Retry-After, and nobody else's call is repeated`, async () => {
      // The call before fills every variable of the worker with a valid decision.
      edge.control.answer = () => edge.control.media();
      node.listen({ refuse: 486, reason: 'Busy Here' });
      const placed = node.received.length;
      for (let i = 0; i < 4; i++) expect(codeOf(await dial(NUMBER.webhook))).to.equal(486);
      edge.control.answer = () => answer;
      for (let i = 0; i < 4; i++) {
        const reply = await dial(NUMBER.webhook);
        expect(codeOf(reply)).to.equal(503);
        expect(reply).to.match(/^Retry-After: 5\r$/m);
      }
      expect(node.received.length - placed).to.equal(4);
    });
  }

  it('text that a stranger chose arrives as text, whatever it is', async () => {
    edge.control.answer = () => ({ action: 'reject', code: 486, reason: 'Busy Here' });
    const hostile = [
      'a"b\\c@x',
      '","to":"+15550001111',
      '%00%0d%0a',
      'é\u2028ü',
      '{}[]:,',
      "</script>'",
      '\\u0000',
    ];
    for (const callId of hostile) {
      expect(
        codeOf(
          await carrier.ask(
            requestText(carrier, {
              user: NUMBER.webhook,
              callId,
              from: `<sip:${encodeURIComponent(callId)}@h>;tag=t`,
            }),
            edge.sip,
          ),
        ),
      ).to.equal(486);
      expect(edge.control.routes.at(-1)).to.include({ sip_call_id: callId, to: NUMBER.webhook });
    }
    expect(edge.alive).to.equal(true);
  });

  it('a reason with a line break in it cannot add headers', async () => {
    edge.control.answer = () => ({
      action: 'reject',
      code: 486,
      reason: 'Busy\r\nContact: <sip:evil@127.0.0.66>',
    });
    const reply = await dial(NUMBER.webhook);
    expect(reply.split('\r\n')[0]).to.equal('SIP/2.0 486 Busy Here');
    expect(reply).not.to.include('evil');
  });

  it('an INVITE that is repeated while its decision is awaited is asked for once, and answered with 100', async () => {
    let decide: (answer: Answer) => void = () => undefined;
    edge.control.answer = () => new Promise((resolve) => (decide = resolve));
    const callId = `${randomUUID()}@raw`;
    const text = requestText(carrier, { user: NUMBER.webhook, callId });
    const from = carrier.received.length;
    const heard = (code: number): number =>
      carrier.received.slice(from).filter((reply) => codeOf(reply) === code).length;
    carrier.send(text, edge.sip);
    await edge.control.until(
      () => edge.control.routes.find((route) => route.sip_call_id === callId),
      'the request',
    );
    for (let copies = 0; copies < 3; copies++) {
      const before = heard(100);
      carrier.send(text, edge.sip);
      await carrier.until(() => heard(100) > before || undefined, 'one more 100');
    }
    decide({ action: 'reject', code: 480, reason: 'Temporarily Unavailable' });
    await carrier.until(() => heard(480) > 0 || undefined, 'the refusal');
    expect(edge.control.routes.filter((route) => route.sip_call_id === callId)).to.have.length(1);
  });

  it('a CANCEL before the decision ends the call at once, and is told', async () => {
    let decide: (answer: Answer) => void = () => undefined;
    edge.control.answer = () => new Promise((resolve) => (decide = resolve));
    const placed = node.received.length;
    const call = await phone.call({ to: NUMBER.webhook, from: '+491711234567', via: edge.sip });
    await edge.control.until(
      () => edge.control.routes.find((route) => route.sip_call_id === call.callId),
      'the request',
    );
    await call.cancel();
    expect((await call.final()).code).to.equal(487);
    const told = await edge.control.notice('canceled', call.callId);
    expect(told).to.deep.include({ call: '', from_tag: call.dialog.localTag, code: 487, by: 'caller' });
    decide(edge.control.media());
    // The late decision must not place a call: one that follows it does.
    edge.control.answer = () => edge.control.media();
    node.listen({ refuse: 486, reason: 'Busy Here' });
    expect(codeOf(await dial(NUMBER.webhook))).to.equal(486);
    expect(node.received.length - placed).to.equal(1);
    expect(edge.control.notices.filter((notice) => notice.sip_call_id === call.callId)).to.have.length(1);
  });

  it('a CANCEL for nothing gets 481', async () => {
    expect(
      codeOf(await carrier.ask(requestText(carrier, { method: 'CANCEL', user: NUMBER.webhook }), edge.sip)),
    ).to.equal(481);
  });

  it('without a decision a relayed number goes where it last went', async () => {
    edge.control.answer = () => 'silence';
    customer.listen('answer');
    const call = await phone.call({ to: NUMBER.sip, from: '+491711234567', via: edge.sip });
    await call.answered();
    await call.heard.waitUntilTone(440);
    expect(await call.hangup()).to.equal(200);
    await (await customer.incoming()).ended();
  });

  it('with the control plane gone, relayed numbers work on and webhook calls are refused at once; both heal', async () => {
    await edge.control.stop();
    customer.listen('answer');
    const call = await phone.call({ to: NUMBER.sip, from: '+491711234567', via: edge.sip });
    await call.answered();
    await call.hangup();
    const reply = await dial(NUMBER.webhook);
    expect(codeOf(reply)).to.equal(503);
    expect(reply).to.match(/^Retry-After: 5\r$/m);
    await edge.control.comeBack();
    edge.control.answer = () => ({ action: 'reject', code: 486, reason: 'Busy Here' });
    expect(codeOf(await dial(NUMBER.webhook))).to.equal(486);
  });

  it('leaves no transaction waiting', async () => {
    const pending = await edge.rpc('htable.dump', ['pending']).catch(() => []);
    expect(pending).to.be.empty;
  });
});

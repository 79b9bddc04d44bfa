import { expect } from 'chai';
import { ADDRESS, Edge, NUMBER } from './edge.ts';
import { codeOf, RawSip, requestText } from './raw-sip.ts';

describe('What the SIP edge refuses from its own memory', () => {
  let edge: Edge;
  let carrier: RawSip;

  before(async () => {
    edge = await Edge.start();
    carrier = await RawSip.open(ADDRESS.operator);
  });
  after(async () => {
    carrier?.close();
    await edge?.stop();
  });

  const dial = async (user: string): Promise<string> => carrier.ask(requestText(carrier, { user }), edge.sip);

  for (const [code, reason] of [
    [403, 'Forbidden'],
    [404, 'Not Found'],
    [480, 'Temporarily Unavailable'],
    [486, 'Busy Here'],
    [603, 'Decline'],
  ] as const) {
    it(`a number in mode reject is refused with its ${code}`, async () => {
      await edge.set('dids', NUMBER.reject, `r;cust_a;${code}`);
      const reply = await dial(NUMBER.reject);
      expect(reply.split('\r\n')[0]).to.equal(`SIP/2.0 ${code} ${reason}`);
      expect(reply).not.to.match(/^(Server|User-Agent|Warning):/im);
    });
  }

  it('a number of a suspended customer gets 403', async () => {
    expect(codeOf(await dial(NUMBER.suspended))).to.equal(403);
  });

  it('an unknown number gets 404, and so does one that has been disabled', async () => {
    expect(codeOf(await dial(NUMBER.unknown))).to.equal(404);
    await edge.rpc('htable.delete', ['dids', NUMBER.reject]);
    expect(codeOf(await dial(NUMBER.reject))).to.equal(404);
  });

  it('none of it asks the control plane or makes a transaction', async () => {
    const before = (await edge.rpc('tm.stats')) as { created: number };
    await dial(NUMBER.unknown);
    await dial(NUMBER.suspended);
    expect(((await edge.rpc('tm.stats')) as { created: number }).created).to.equal(before.created);
    expect(edge.control.routes).to.be.empty;
  });

  it('a known source is told that this is alive, and which methods are served', async () => {
    expect(codeOf(await carrier.ask(requestText(carrier, { method: 'OPTIONS' }), edge.sip))).to.equal(200);
    const refused = await carrier.ask(requestText(carrier, { method: 'REGISTER' }), edge.sip);
    expect(codeOf(refused)).to.equal(405);
    expect(refused).to.match(/^Allow: INVITE, /m);
  });

  it('refusals hold while the control plane is gone', async () => {
    await edge.control.stop();
    expect(codeOf(await dial(NUMBER.unknown))).to.equal(404);
    expect(codeOf(await dial(NUMBER.suspended))).to.equal(403);
  });
});

describe('A SIP edge that has just been started', () => {
  let edge: Edge;
  let carrier: RawSip;

  before(async () => {
    edge = await Edge.start({ synced: false });
    carrier = await RawSip.open(ADDRESS.operator);
  });
  after(async () => {
    carrier?.close();
    await edge?.stop();
  });

  it('tells callers to come back until it has been told who they are, and bans none of them meanwhile', async () => {
    for (let i = 0; i < 100; i++) carrier.send(requestText(carrier, { user: NUMBER.unknown }), edge.sip);
    const reply = await carrier.ask(requestText(carrier, { user: NUMBER.webhook }), edge.sip);
    expect(codeOf(reply)).to.equal(503);
    expect(reply).to.match(/^Retry-After: 5\r$/m);
  });

  it('does not call a number unknown before it knows all of them', async () => {
    await edge.set('trunks', ADDRESS.operator, 'trunk_operator;*;49');
    const reply = await carrier.ask(requestText(carrier, { user: NUMBER.reject }), edge.sip);
    expect(codeOf(reply)).to.equal(503);
    expect(reply).to.match(/^Retry-After: 5\r$/m);
  });

  it('serves as soon as everything has been pushed, and again after it was killed and pushed to anew', async () => {
    await edge.push();
    expect(codeOf(await carrier.ask(requestText(carrier, { user: NUMBER.reject }), edge.sip))).to.equal(480);
    await edge.stopKamailio('SIGKILL');
    await edge.startKamailio();
    expect(codeOf(await carrier.ask(requestText(carrier, { user: NUMBER.reject }), edge.sip))).to.equal(503);
    await edge.push();
    expect(codeOf(await carrier.ask(requestText(carrier, { user: NUMBER.reject }), edge.sip))).to.equal(480);
    expect(codeOf(await carrier.ask(requestText(carrier, { user: NUMBER.unknown }), edge.sip))).to.equal(404);
  });
});

import { expect } from 'chai';
import { Phone } from '../../support/phone.ts';
import { header, type HeaderLine } from '../../../cli/phone/sip-message.ts';
import type { Call } from '../../support/call.ts';
import { ADDRESS, Edge, freePort, NUMBER } from './edge.ts';
import { codeOf, RawSip, requestText } from './raw-sip.ts';
import { SipCarrier } from './sip-carrier.ts';

const SECRET = '+491711234567';
const SECRET_DIGITS = SECRET.slice(4);

describe('Who is calling, at the SIP edge', () => {
  let edge: Edge;
  let node: Phone;
  let carrier: Phone;
  let raw: RawSip;
  let customer: SipCarrier;

  before(async () => {
    const port = await freePort();
    node = await Phone.open({ address: ADDRESS.media, port });
    node.listen({ refuse: 486 });
    edge = await Edge.start({ media: [`${ADDRESS.media}:${port}`] });
    carrier = await Phone.open({ address: ADDRESS.operator });
    raw = await RawSip.open(ADDRESS.operator);
    await edge.carrier('trunk_1', { fromDomain: 'customer.example' });
  });
  after(async () => {
    raw?.close();
    for (const phone of [carrier, node]) await phone?.close();
    await edge?.stop();
  });
  beforeEach(async () => {
    customer = await SipCarrier.open(ADDRESS.customer);
  });
  afterEach(async () => {
    await customer?.close();
  });

  const gotBye = (callId: string): Promise<unknown> =>
    customer.wire.until(
      () => customer.got('BYE').find((bye) => header(bye, 'call-id') === callId),
      'the BYE',
    );

  const PAI = `P-Asserted-Identity: "Karl" <sip:${SECRET}@carrier.example>`;
  const callers: [from: string, headers: string[], told: string][] = [
    [`<sip:${SECRET}@c.example>;tag=1`, [], SECRET],
    [`<sip:${SECRET}@c.example>;tag=1`, ['Privacy: none'], SECRET],
    [`<sip:${SECRET}@c.example>;tag=1`, ['Privacy: session'], SECRET],
    [`<sip:${SECRET}@c.example>;tag=1`, ['Privacy: id', PAI], 'anonymous'],
    [`<sip:${SECRET}@c.example>;tag=1`, ['Privacy: user;id'], 'anonymous'],
    [`<sip:${SECRET}@c.example>;tag=1`, ['Privacy: session; Header ; critical'], 'anonymous'],
    [`<sip:${SECRET}@c.example>;tag=1`, ['Privacy: critical', 'Privacy: user'], 'anonymous'],
    ['"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1', [PAI], 'anonymous'],
    ['<sip:Anonymous@c.example>;tag=1', [PAI], 'anonymous'],
    ['<sip:restricted@anonymous.invalid>;tag=1', [PAI], 'anonymous'],
    ['<sip:c.example>;tag=1', [], 'anonymous'],
    ['<sip:c.example>;tag=1', [PAI], SECRET],
    ['<sip:c.example>;tag=1', [`P-Asserted-Identity: <tel:+49-171-1234567>, <sip:k@c.example>`], SECRET],
    ['<sip:c.example>;tag=1', [PAI, 'Privacy: id'], 'anonymous'],
    ['<sip:c.example>;tag=1', ['P-Asserted-Identity: <sip:c.example>'], 'anonymous'],
    ['<sip:John%20Doe@c.example>;tag=1', [], 'John%20Doe'],
    ['<sip:*31@c.example>;tag=1', [], '*31'],
    ['"A/B \\"C\\" & D" <sip:unavailable!@c.example>;tag=1', [], 'unavailable!'],
    ['<sip:user=x&y@c.example>;tag=1', [], 'user=x&y'],
    ["<sip:o'neill~@c.example>;tag=1", [], "o'neill~"],
  ];
  for (const [from, headers, told] of callers) {
    it(`${[`From: ${from}`, ...headers].join(' | ')} is ${told}`, async () => {
      edge.control.answer = () => ({ action: 'reject', code: 486, reason: 'Busy Here' });
      expect(
        codeOf(await raw.ask(requestText(raw, { user: NUMBER.webhook, from, headers }), edge.sip)),
      ).to.equal(486);
      expect(edge.control.routes.at(-1)?.from).to.equal(told);
    });
  }

  const relayed = async (headers: HeaderLine[]): Promise<Call> => {
    edge.control.answer = () => ({ action: 'sip', call: 'call_1', targets: [customer.uri('desk')] });
    return carrier.call({ to: NUMBER.sip, from: SECRET, via: edge.sip, headers });
  };

  it("a number that is withheld is shown to no customer's PBX, whoever ends the call", async () => {
    for (const end of ['caller', 'callee', 'platform']) {
      const call = await relayed([
        ['Privacy', 'user;id'],
        ['P-Asserted-Identity', `<sip:${SECRET}@carrier.example>`],
        // RFC 3323 §5.3.
        ['Subject', `call of ${SECRET}`],
      ]);
      await call.answered();
      await call.hold();
      if (end === 'caller') expect(await call.hangup()).to.equal(200);
      else if (end === 'callee') expect(await customer.bye(call.callId)).to.equal(200);
      else await edge.rpc('dlg.terminate_dlg', [call.callId, call.dialog.localTag, call.dialog.remoteTag]);
      await call.ended();
      if (end !== 'callee') await gotBye(call.callId);
      const seen = customer.requests.filter((request) => header(request, 'call-id') === call.callId);
      expect(seen.map(({ method }) => method)).to.include.members(['INVITE', 'ACK']);
      for (const request of seen) {
        expect(request.text, end).not.to.include(SECRET_DIGITS);
        expect(header(request, 'from')).to.match(/<sip:anonymous@anonymous\.invalid>;tag=/);
      }
      expect(header(seen[0] ?? customer.requests[0] ?? never(), 'from')).to.match(/^"Anonymous" </);
      expect(header(seen[0] ?? never(), 'privacy')).to.equal('user;id');
      // What the caller is told in return is what it wrote.
      expect((await call.final()).headers['from']).to.include(SECRET);
    }
  });

  it('a withheld number is shown to no customer after a restart of the edge either', async () => {
    for (const end of ['caller', 'callee']) {
      const call = await relayed([['Privacy', 'user;id']]);
      await call.answered();
      await edge.stopKamailio('SIGKILL');
      await edge.startKamailio();
      await edge.push();
      await edge.carrier('trunk_1', { fromDomain: 'customer.example' });
      // Twice: the side called is given another Contact with the first one.
      await call.hold();
      await call.resume();
      if (end === 'caller') expect(await call.hangup()).to.equal(200);
      else expect(await customer.bye(call.callId)).to.equal(200);
      await call.ended();
      if (end === 'caller') await gotBye(call.callId);
      const seen = customer.requests.filter((request) => header(request, 'call-id') === call.callId);
      expect(seen.filter(({ method }) => method === 'INVITE')).to.have.length(3);
      for (const request of seen) {
        expect(request.text, end).not.to.include(SECRET_DIGITS);
        expect(header(request, 'from')).to.match(/<sip:anonymous@anonymous\.invalid>;tag=/);
      }
    }
  });

  it('a withheld number is not in a CANCEL either', async () => {
    customer.script(() => ['180 Ringing']);
    customer.answerOther = (request) => {
      if (request.method === 'CANCEL')
        customer.respond(customer.invites[0] ?? request, '487 Request Terminated');
      return '200 OK';
    };
    const call = await relayed([['Privacy', 'id']]);
    await call.provisional(180);
    await call.cancel();
    expect((await call.final()).code).to.equal(487);
    const cancel = await customer.request('CANCEL');
    expect(cancel.text).not.to.include(SECRET_DIGITS);
  });

  it('a caller who hides nothing is shown as ever', async () => {
    const call = await relayed([['Privacy', 'none']]);
    await call.answered();
    expect(header(await customer.request('INVITE'), 'from')).to.include(`<sip:${SECRET}@`);
    await call.hangup();
  });

  it("an anonymous caller of a media node's leg has an identity its trunk can accept, and is anonymous to whoever is called", async () => {
    const call = await node.call({
      to: '+4930111',
      from: 'anonymous',
      via: edge.sip,
      headers: [
        ['X-MV-Call-ID', 'call_1'],
        ['X-MV-Targets', customer.uri()],
        ['X-MV-Trunks', 'trunk_1'],
        ['X-MV-Callers', 'anonymous'],
        ['X-MV-Identities', '493012345601'],
        ['Privacy', 'none'],
      ],
    });
    await call.answered();
    const invite = await customer.request('INVITE');
    expect(header(invite, 'from')).to.match(/^"Anonymous" <sip:anonymous@anonymous\.invalid>;tag=/);
    expect(header(invite, 'p-asserted-identity')).to.equal('<sip:493012345601@customer.example>');
    expect(invite.text.match(/^Privacy: .*$/gm)?.map((line) => line.trim())).to.deep.equal(['Privacy: id']);
    expect((await call.final()).headers['from']).to.match(/^<sip:anonymous@127\.0\.0\.5/);
    expect(await call.hangup()).to.equal(200);
    expect(header(await customer.request('BYE'), 'from')).to.equal(header(invite, 'from'));
  });

  it('an anonymous caller of a leg to a SIP URI is anonymous by the standard', async () => {
    const call = await node.call({
      to: 'alice',
      from: 'anonymous',
      via: edge.sip,
      headers: [
        ['X-MV-Call-ID', 'call_2'],
        ['X-MV-Targets', customer.uri()],
      ],
    });
    await call.answered();
    const invite = await customer.request('INVITE');
    expect(header(invite, 'from')).to.match(/^"Anonymous" <sip:anonymous@anonymous\.invalid>;tag=/);
    expect(header(invite, 'privacy')).to.equal('id');
    expect((await call.final()).headers['from']).to.match(/^<sip:anonymous@127\.0\.0\.5/);
    expect(await call.hangup()).to.equal(200);
    expect(header(await customer.request('BYE'), 'from')).to.equal(header(invite, 'from'));
  });
});

function never(): never {
  throw new Error('there is none');
}

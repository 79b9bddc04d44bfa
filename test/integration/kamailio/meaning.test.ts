import { expect } from 'chai';
import { header, parseSip, type SipMessage } from '../../../cli/phone/sip-message.ts';
import { Phone, type Call } from '../../support/phone.ts';
import { ADDRESS, Edge, freePort, NUMBER } from './edge.ts';
import { codeOf, RawSip, requestText } from './raw-sip.ts';

describe('What the SIP edge refuses for everybody is said with what helps', () => {
  let edge: Edge;
  let raw: RawSip;
  let carrier: Phone;
  let node: Phone;
  let customer: Phone;

  before(async () => {
    const port = await freePort();
    node = await Phone.open({ address: ADDRESS.media, port });
    customer = await Phone.open({ address: ADDRESS.customer });
    carrier = await Phone.open({ address: ADDRESS.operator });
    raw = await RawSip.open(ADDRESS.operator);
    edge = await Edge.start({ media: [`${ADDRESS.media}:${port}`] });
    edge.control.answer = (request) =>
      request.to === NUMBER.sip
        ? { action: 'sip', call: 'call_sip', targets: [customer.uri] }
        : edge.control.media();
  });
  after(async () => {
    raw?.close();
    for (const phone of [carrier, node, customer]) await phone?.close();
    await edge?.stop();
  });
  beforeEach(() => {
    node.forget();
    customer.forget();
    node.listen('answer');
    customer.listen('answer');
  });

  const ask = async (options: Parameters<typeof requestText>[1]): Promise<SipMessage> =>
    parseSip(await raw.ask(requestText(raw, options), edge.sip));
  const dial = (to: string): Promise<Call> => carrier.call({ to, from: '+491711234567', via: edge.sip });

  it('OPTIONS is answered with the methods and the body that are taken (RFC 3261 §11.2)', async () => {
    const reply = await ask({ method: 'OPTIONS' });
    expect(reply.code).to.equal(200);
    expect(header(reply, 'allow')).to.equal('INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, PRACK, INFO');
    expect(header(reply, 'accept')).to.equal('application/sdp');
  });

  for (const [required, unsupported] of [
    ['100rel', '100rel'],
    ['timer, foo', 'foo'],
    ['Foo\r\nRequire: timer,100rel', 'foo, 100rel'],
  ]) {
    it(`an INVITE that requires ${JSON.stringify(required)} gets 420 with Unsupported, and nobody is asked about it`, async () => {
      const asked = edge.control.routes.length;
      const reply = await ask({ user: NUMBER.webhook, headers: [`Require: ${required}`] });
      expect(reply.code).to.equal(420);
      expect(header(reply, 'unsupported')).to.equal(unsupported);
      expect(edge.control.routes.length).to.equal(asked);
    });
  }

  it('an INVITE that requires timer is taken', async () => {
    const call = await carrier.call({
      to: NUMBER.webhook,
      from: '+491711234567',
      via: edge.sip,
      headers: [['Require', 'timer']],
    });
    await call.answered();
    expect(await call.hangup()).to.equal(200);
  });

  for (const [what, number] of [
    ['webhook', NUMBER.webhook],
    ['sip', NUMBER.sip],
  ] as const) {
    it(`an INVITE to a ${what} number without a Contact is refused with 400, and nobody is asked about it`, async () => {
      const asked = edge.control.routes.length;
      for (const contact of ['', 'Contact: *\r\n', 'Contact: \r\n']) {
        const text = requestText(raw, { user: number }).replace(/^Contact: .*\r\n/m, contact);
        expect(codeOf(await raw.ask(text, edge.sip))).to.equal(400);
      }
      expect(edge.control.routes.length).to.equal(asked);
    });

    for (const [code, name, value] of [
      [420, 'Unsupported', '100rel'],
      [422, 'Min-SE', '120'],
    ] as const) {
      it(`a ${code} of the side called at a ${what} number comes with its ${name}, and is told at once`, async () => {
        const manner = { refuse: code, headers: [[name, value]] as [string, string][] };
        (what === 'sip' ? customer : node).listen(manner);
        const call = await dial(number);
        const final = await call.final();
        expect(final.code).to.equal(code);
        expect(final.headers[name.toLowerCase()]).to.equal(value);
        expect(await edge.control.notice('failed', call.callId)).to.include({ code });
      });
    }

    it(`methods that lose their meaning on the way get 405 with Allow on either side of a call to a ${what} number, and do not pass`, async () => {
      const call = await dial(number);
      await call.answered();
      const called = await (what === 'sip' ? customer : node).incoming();
      for (const side of [call, called]) {
        for (const method of ['REFER', 'NOTIFY', 'SUBSCRIBE', 'MESSAGE', 'PUBLISH']) {
          const reply = await side.request(method, [
            ['Refer-To', '<sip:+15551230009@127.0.0.8>'],
            ['Event', 'refer'],
          ]);
          expect(reply.code).to.equal(405);
          expect(reply.headers.allow)
            .to.match(/^INVITE, /)
            .and.not.to.include(method);
        }
        const info = await side.request('INFO', [['Info-Package', 'foo']]);
        expect(info.code).to.equal(469);
        expect(info.headers).to.have.property('recv-info', '');
        expect((await side.request('INFO')).code).to.equal(200);
      }
      expect(`${call.receivedText}${called.receivedText}`).not.to.match(
        /^(REFER|NOTIFY|SUBSCRIBE|MESSAGE|PUBLISH) sip/m,
      );
      expect(await call.hangup()).to.equal(200);
    });
  }

  it('no side is told that the other takes what is refused on the way', async () => {
    customer.listen('manual');
    const call = await dial(NUMBER.sip);
    const called = await customer.incoming();
    called.ring();
    called.answer([['Allow', 'REFER, INVITE, ACK,BYE , NOTIFY,SUBSCRIBE, CANCEL, MESSAGE']]);
    const final = await call.answered();
    expect(final.headers.allow?.replace(/ *, */g, ' ').trim()).to.equal('INVITE ACK BYE CANCEL');
    expect(await call.hangup()).to.equal(200);
  });

  it('a caller who hangs up a ringing call by BYE has canceled it', async () => {
    customer.listen('manual');
    const call = await dial(NUMBER.sip);
    const called = await customer.incoming();
    called.ring();
    const ringing = await call.provisional(180);
    call.dialog.answeredBy(ringing.message);
    const bye = call.request('BYE');
    expect((await called.ended()).how).to.equal('bye');
    called.refuse(487, 'Request Terminated');
    expect((await bye).code).to.equal(200);
    expect((await call.final()).code).to.equal(487);
    expect(await edge.control.notice('canceled', call.callId)).to.include({ by: 'caller', code: 487 });
    expect(
      edge.control.notices.filter(
        ({ sip_call_id, event }) => sip_call_id === call.callId && event === 'failed',
      ),
    ).to.deep.equal([]);
  });
});

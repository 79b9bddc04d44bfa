import { expect } from 'chai';
import {
  header,
  headerValues,
  parseSip,
  tagOf,
  uriOf,
  type SipMessage,
} from '../../../cli/phone/sip-message.ts';
import { ADDRESS, Edge, NUMBER } from './edge.ts';
import { codeOf, RawSip, requestText } from './raw-sip.ts';
import { SipCarrier } from './sip-carrier.ts';

const cseqOf = (message: SipMessage): number => Number(header(message, 'cseq')?.split(' ')[0]);

describe('A caller that tries again within the same minute, with the same Call-ID and tag and the next CSeq', () => {
  let edge: Edge;
  let carrier: RawSip;
  let customer: SipCarrier;

  before(async () => {
    edge = await Edge.start({ environment: { TARGET_SILENCE_MS: '600', TARGET_RING_MS: '1500' } });
    carrier = await RawSip.open(ADDRESS.operator);
  });
  after(async () => {
    carrier?.close();
    await edge?.stop();
  });
  beforeEach(async () => {
    customer = await SipCarrier.open(ADDRESS.customer);
    edge.control.answer = () => ({ action: 'sip', call: 'call_again', targets: [customer.uri()] });
  });
  afterEach(async () => customer?.close());

  const invite = (callId: string, number: number): string =>
    requestText(carrier, { user: NUMBER.sip, callId }).replace('CSeq: 1', `CSeq: ${number}`);

  /** Resolves with the final answer to the INVITE with this number. */
  async function answerTo(callId: string, number: number): Promise<SipMessage> {
    const text = await carrier.until(
      () =>
        carrier.received.find(
          (one) =>
            codeOf(one) >= 200 &&
            one.includes(`Call-ID: ${callId}`) &&
            one.includes(`CSeq: ${number} INVITE`),
        ),
      `an answer to ${number}`,
    );
    return parseSip(text);
  }

  /** ACKs the answer and hangs up; resolves with the code of the answer to BYE. */
  async function hangUp(answer: SipMessage, callId: string, number: number): Promise<number> {
    const within = (method: string, cseq: number): string =>
      requestText(carrier, { method, uri: uriOf(header(answer, 'contact') ?? ''), callId })
        .replace(
          /^To: .*$/m,
          `To: ${header(answer, 'to') ?? ''}\r\nRoute: ${headerValues(answer, 'record-route').join(', ')}\r`,
        )
        .replace('CSeq: 1', `CSeq: ${cseq}`);
    carrier.send(within('ACK', number), edge.sip);
    await customer.request('ACK');
    return codeOf(await carrier.ask(within('BYE', number + 1), edge.sip));
  }

  /** The first INVITE gets no answer, the next ones do. */
  const silentAtFirst = (sent: SipMessage): string[] => (cseqOf(sent) === 1 ? [] : ['180 Ringing', '200 OK']);

  it('is answered after its first INVITE has timed out; and a late answer to that is hung up, and nothing else', async () => {
    customer.script(silentAtFirst);
    carrier.send(invite('again-1@raw', 1), edge.sip);
    expect((await answerTo('again-1@raw', 1)).code).to.equal(408);
    carrier.send(invite('again-1@raw', 2), edge.sip);
    const answer = await answerTo('again-1@raw', 2);
    expect(answer.code).to.equal(200);
    const [first] = customer.invites;
    if (!first) throw new Error('the customer was not called');
    customer.respond(first, '200 OK', [], 'late');
    const bye = await customer.request('BYE');
    expect(tagOf(header(bye, 'to'))).to.equal('late');
    // The answer to the living call is repeated, as when its ACK is lost: it passes once more.
    const before = carrier.received.length;
    customer.respond(customer.invites.at(-1) ?? first, '200 OK');
    await carrier.until(
      () => carrier.received.slice(before).find((text) => /^CSeq: 2 INVITE\r$/m.test(text)),
      'the repeated answer',
    );
    expect(await hangUp(answer, 'again-1@raw', 2)).to.equal(200);
    expect(customer.got('BYE').map((one) => tagOf(header(one, 'to')) === 'late')).to.deep.equal([
      true,
      false,
    ]);
  });

  it('is answered after it has canceled its first INVITE', async () => {
    customer.script((sent) => (cseqOf(sent) === 1 ? ['180 Ringing'] : ['180 Ringing', '200 OK']));
    const first = invite('again-2@raw', 1);
    carrier.send(first, edge.sip);
    await carrier.until(
      () => carrier.received.find((text) => codeOf(text) === 180 && text.includes('again-2@raw')),
      'ringing',
    );
    carrier.send(first.replace('INVITE', 'CANCEL').replace('CSeq: 1 INVITE', 'CSeq: 1 CANCEL'), edge.sip);
    await customer.request('CANCEL');
    customer.respond(customer.invites[0] ?? parseSip(first), '487 Request Terminated');
    expect((await answerTo('again-2@raw', 1)).code).to.equal(487);
    carrier.send(invite('again-2@raw', 2), edge.sip);
    const answer = await answerTo('again-2@raw', 2);
    expect(answer.code).to.equal(200);
    expect(await hangUp(answer, 'again-2@raw', 2)).to.equal(200);
    expect(customer.got('BYE')).to.have.length(1);
  });
});

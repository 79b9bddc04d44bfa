import { expect } from 'chai';
import { Phone } from '../../support/phone.ts';
import { header, headerValues, parseSip, uriOf } from '../../../cli/phone/sip-message.ts';
import { ADDRESS, Edge, freePort, NUMBER } from './edge.ts';
import { codeOf, RawSip, requestText } from './raw-sip.ts';

const ADVERTISED = '203.0.113.9:5060';

describe('A SIP edge behind a NAT of its own', () => {
  let edge: Edge;
  let carrier: RawSip;
  let node: Phone;
  let inside: number;

  before(async () => {
    const port = await freePort();
    node = await Phone.open({ address: ADDRESS.media, port });
    node.listen('answer');
    inside = await freePort();
    edge = await Edge.start({
      media: [`${ADDRESS.media}:${port}`],
      environment: { SIP_ADVERTISE: ADVERTISED, SIP_INSIDE: `${ADDRESS.edge}:${inside}` },
    });
    edge.control.answer = () => edge.control.media();
    carrier = await RawSip.open(ADDRESS.operator);
  });
  after(async () => {
    carrier?.close();
    await node?.close();
    await edge?.stop();
  });

  it('names its advertised address to a carrier and knows itself by it, and shows a media node the other', async () => {
    const sdp = `v=0\r\no=- 1 1 IN IP4 ${ADDRESS.operator}\r\ns=-\r\nc=IN IP4 ${ADDRESS.operator}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n`;
    const text = requestText(carrier, { user: NUMBER.webhook, callId: 'advertised@raw' }).replace(
      'Content-Length: 0\r\n\r\n',
      `Content-Type: application/sdp\r\nContent-Length: ${sdp.length}\r\n\r\n${sdp}`,
    );
    const answer = parseSip(await carrier.ask(text, edge.sip));
    expect(answer.code).to.equal(200);
    const [route = ''] = headerValues(answer, 'record-route');
    const target = uriOf(header(answer, 'contact') ?? '');
    expect(route).to.match(/^<sip:203\.0\.113\.9[;:]/);
    expect(target).to.match(/^sip:mv\..*@203\.0\.113\.9:5060$/);
    expect(answer.text).not.to.include(`${edge.sip.host}:${edge.sip.port}`);

    const within = (method: string): string =>
      requestText(carrier, { method, uri: target, callId: 'advertised@raw' })
        .replace(/^To: .*$/m, `To: ${header(answer, 'to') ?? ''}\r\nRoute: ${route}\r`)
        .replace('CSeq: 1', method === 'ACK' ? 'CSeq: 1' : 'CSeq: 2');
    carrier.send(within('ACK'), edge.sip);
    const call = await node.incoming();
    expect(headerValues(call.invite ?? answer, 'via')[0]).to.include(`${ADDRESS.edge}:${inside}`);
    expect(call.invite?.text).not.to.include('203.0.113.9');
    expect(codeOf(await carrier.ask(within('BYE'), edge.sip))).to.equal(200);
    expect(await call.ended()).to.include({ by: 'remote', how: 'bye' });
  });
});

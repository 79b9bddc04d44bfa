import { expect } from 'chai';
import { Phone } from '../../support/phone.ts';
import { ADDRESS, Edge, freePort, NUMBER } from './edge.ts';
import { codeOf, RawSip, requestText } from './raw-sip.ts';

describe('What a media node could not read is answered by the SIP edge', () => {
  let edge: Edge;
  let carrier: RawSip;
  let node: Phone;

  before(async () => {
    const port = await freePort();
    node = await Phone.open({ address: ADDRESS.media, port });
    node.listen({ refuse: 486, reason: 'Busy Here' });
    edge = await Edge.start({ media: [`${ADDRESS.media}:${port}`] });
    edge.control.answer = () => edge.control.media();
    carrier = await RawSip.open(ADDRESS.operator);
  });
  after(async () => {
    carrier?.close();
    await node?.close();
    await edge?.stop();
  });

  const invite = (more: { headers?: string[]; user?: string } = {}): string =>
    requestText(carrier, { user: NUMBER.webhook, ...more });
  const lines = (count: number): string[] => Array.from({ length: count }, (_, i) => `X-Line-${i}: ${i}`);

  const refused: [what: string, text: () => string][] = [
    ['a CSeq of 2^31', () => invite().replace('CSeq: 1 ', 'CSeq: 2147483648 ')],
    ['a CSeq of 2^32', () => invite().replace('CSeq: 1 ', 'CSeq: 4294967296 ')],
    ['a CSeq of many digits', () => invite().replace('CSeq: 1 ', `CSeq: ${'9'.repeat(40)} `)],
    ['a NUL in a header', () => invite({ headers: ['Subject: a\0b'] })],
    ['a From without a tag', () => invite().replace(/^(From: [^;\r]*);tag=[^\r]*/m, '$1')],
    ['a From with an empty tag', () => invite().replace(/^(From: [^;\r]*;tag=)[^\r]*/m, '$1')],
    ['200 header lines', () => invite({ headers: lines(200) })],
    ['1000 short header lines', () => invite({ headers: lines(1000).map((_, i) => `X${i}:`) })],
  ];
  for (const [what, text] of refused) {
    it(`${what} is refused with 400, and no node sees it`, async () => {
      const [placed, asked] = [node.received.length, edge.control.routes.length];
      expect(codeOf(await carrier.ask(text(), edge.sip))).to.equal(400);
      expect(node.received.length).to.equal(placed);
      expect(edge.control.routes.length).to.equal(asked);
    });
  }

  it('a NUL in the From, which makes it none, is met with silence, and no node sees it', async () => {
    const placed = node.received.length;
    carrier.send(invite().replace('From: <', 'From: "a\0b" <'), edge.sip);
    expect(codeOf(await carrier.ask(invite(), edge.sip))).to.equal(486);
    expect(node.received.length).to.equal(placed + 1);
  });

  it('the highest CSeq there is, and 100 more header lines, are taken', async () => {
    expect(codeOf(await carrier.ask(invite().replace('CSeq: 1 ', 'CSeq: 2147483647 '), edge.sip))).to.equal(
      486,
    );
    expect(codeOf(await carrier.ask(invite({ headers: lines(100) }), edge.sip))).to.equal(486);
  });

  it("a NUL in a body that may hold one is none of the edge's business", async () => {
    const body = '--x\r\nContent-Type: application/isup\r\n\r\n\x01\0\x02\r\n--x--\r\n';
    const text = invite({ headers: ['Content-Type: multipart/mixed;boundary=x'] }).replace(
      'Content-Length: 0\r\n\r\n',
      `Content-Length: ${body.length}\r\n\r\n${body}`,
    );
    expect(codeOf(await carrier.ask(text, edge.sip))).not.to.equal(400);
  });

  it('empty lines before a request are skipped: what leaves begins with the request', async () => {
    const placed = node.received.length;
    expect(codeOf(await carrier.ask(`\r\n\r\n${invite()}`, edge.sip))).to.equal(486);
    expect(node.received[placed]?.invite?.text).to.match(/^INVITE /);
  });
});

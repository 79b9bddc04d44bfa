import { expect } from 'chai';
import { ADDRESS, Edge, NUMBER } from './edge.ts';
import { codeOf, overTcp, RawSip, requestText } from './raw-sip.ts';
import { INVALID, LAYERS } from './torture/invalid.ts';
import { VALID } from './torture/valid.ts';

const ALL = [...VALID, ...INVALID, ...LAYERS];

describe('The torture messages of RFC 4475 at the SIP edge', () => {
  let edge: Edge;
  let trunk: RawSip;
  let stranger: RawSip;

  before(async () => {
    // One worker, so that messages are taken in order: what comes before the answer to a later one is all
    // there is.
    edge = await Edge.start({ environment: { KAMAILIO_WORKERS: '1', FLOOD_REQUESTS: '10000' } });
    trunk = await RawSip.open(ADDRESS.operator);
    stranger = await RawSip.open(ADDRESS.stranger);
  });
  after(async () => {
    trunk?.close();
    stranger?.close();
    await edge?.stop();
  });

  /** What this message, and it alone, was answered with. */
  async function answersTo(socket: RawSip, bytes: Buffer): Promise<number[]> {
    const from = socket.received.length;
    socket.send(bytes, edge.sip);
    const callId = `after-${from}@raw`;
    await socket.ask(requestText(socket, { method: 'OPTIONS', callId }), edge.sip);
    return socket.received
      .slice(from)
      .filter((text) => !text.includes(callId))
      .map(codeOf);
  }

  it('are all 49 of them', () => {
    expect(new Set(ALL.map(({ section }) => section)).size).to.equal(49);
  });

  for (const { section, name, what, bytes, trunk: wanted } of ALL) {
    it(`${section} ${name}: ${what} gets ${wanted}`, async () => {
      expect(await answersTo(trunk, bytes)).to.deep.equal(wanted === 'silence' ? [] : [wanted]);
      expect(edge.alive).to.equal(true);
    });
  }

  const faults: [what: string, code: number, change: (text: string) => string][] = [
    [
      'a Content-Length larger than the message',
      400,
      (text) => text.replace('Content-Length: 0', 'Content-Length: 9999'),
    ],
    ['another method in CSeq', 400, (text) => text.replace('CSeq: 1 INVITE', 'CSeq: 1 OPTIONS')],
    [
      'a CSeq out of range',
      400,
      (text) => text.replace('CSeq: 1 INVITE', 'CSeq: 36893488147419103232 INVITE'),
    ],
    ['Max-Forwards of zero', 483, (text) => text.replace('Max-Forwards: 70', 'Max-Forwards: 0')],
    [
      'Proxy-Require with an unknown value',
      420,
      (text) => text.replace('Max-Forwards: 70', 'Max-Forwards: 70\r\nProxy-Require: foldAndStaple'),
    ],
  ];
  for (const [what, code, change] of faults) {
    it(`an INVITE to a number that is served, but with ${what}, gets ${code} before anybody is asked`, async () => {
      expect(
        codeOf(await trunk.ask(change(requestText(trunk, { user: NUMBER.webhook })), edge.sip)),
      ).to.equal(code);
      expect(edge.control.routes).to.be.empty;
    });
  }

  it('get a stranger nothing but the refusal everybody gets, or silence', async () => {
    for (const { name, bytes } of ALL) {
      const answers = await answersTo(stranger, bytes);
      expect(
        answers.every((code) => code === 403) && answers.length <= 1,
        `${name}: ${answers.join()}`,
      ).to.equal(true);
    }
  });

  it('do not stop it over TCP either, where the length of a message is what it says it is', async () => {
    for (const { bytes } of ALL) await overTcp(bytes, edge.sip, ADDRESS.operator, 200).catch(() => '');
    expect(
      await overTcp(
        requestText({ address: ADDRESS.operator, port: trunk.port }, { method: 'OPTIONS' }).replace(
          '/UDP',
          '/TCP',
        ),
        edge.sip,
        ADDRESS.operator,
      ),
    ).to.match(/^SIP\/2\.0 200 /);
    expect(edge.alive).to.equal(true);
  });

  it('leave no worker of it dead', async () => {
    expect(edge.log).not.to.match(/child process \d+ exited|signal|core dumped|Segmentation|BUG/i);
    expect(edge.control.routes).to.be.empty;
  });
});

import { expect } from 'chai';
import { Phone } from '../../support/phone.ts';
import type { HeaderLine } from '../../../cli/phone/sip-message.ts';
import { tone } from '../../../cli/phone/sound.ts';
import { ADDRESS, Edge, freePort, NUMBER } from './edge.ts';

describe('A leg between two media nodes, into a conference room', () => {
  let edge: Edge;
  /** The node of the caller, and that of the room. */
  let node: Phone;
  let other: Phone;

  before(async () => {
    const [one, two] = [await freePort(), await freePort()];
    node = await Phone.open({ address: ADDRESS.media, port: one });
    other = await Phone.open({ address: ADDRESS.media2, port: two });
    edge = await Edge.start({
      media: [`${ADDRESS.media}:${one}`, `${ADDRESS.media2}:${two}`],
      environment: { MEDIA_SILENCE_MS: '600' },
    });
  });
  after(async () => {
    await node?.close();
    await other?.close();
    await edge?.stop();
  });

  const at = ({ address, port }: Phone): string => `${address}:${port}`;
  const dial = (headers: HeaderLine[], from = node): ReturnType<Phone['call']> =>
    from.call({ to: 'room', from: 'b0b2d7c4', via: edge.sip, sound: tone(1000), headers });

  it('is heard both ways through rtpengine, with the headers that lead into the room alone, and neither node sees the other', async () => {
    other.listen('answer');
    const call = await dial([
      ['X-MV-Node', at(other)],
      ['X-MV-Room', 'app_1-team'],
      ['X-MV-Room-Flags', 'mute|endconf'],
      ['X-MV-Call-ID', 'call_evil'],
    ]);
    await call.answered();
    const entered = await other.incoming();
    await Promise.all([call.heard.waitUntilTone(440), entered.heard.waitUntilTone(1000)]);
    expect(entered.invite?.text.match(/^x-mv-.*$/gim)?.map((line) => line.trim())).to.deep.equal([
      'X-MV-Room: app_1-team',
      'X-MV-Room-Flags: mute|endconf',
    ]);
    expect(entered.invite?.text).to.match(/^From: .*b0b2d7c4/m);
    expect(entered.remoteAudio?.host).to.equal(ADDRESS.rtp);
    expect(call.remoteAudio?.host).to.equal(ADDRESS.rtp);
    expect(call.receivedText).to.not.contain(at(other));
    await call.press('5');
    await entered.heard.waitUntilKeys('5');
    expect(await call.hangup()).to.equal(200);
    expect((await entered.ended()).how).to.equal('bye');
    expect(edge.control.notices, 'the nodes tell of it').to.be.empty;
  });

  it('ends with the room', async () => {
    other.listen('answer');
    const call = await dial([
      ['X-MV-Node', at(other)],
      ['X-MV-Room', 'app_1-team'],
    ]);
    await call.answered();
    expect(await (await other.incoming()).hangup()).to.equal(200);
    await call.ended();
  });

  it('is refused with 503 when the other node does not take it, or says nothing', async () => {
    for (const manner of [{ refuse: 486 }, 'deaf'] as const) {
      other.listen(manner);
      const call = await dial([
        ['X-MV-Node', at(other)],
        ['X-MV-Room', 'app_1-team'],
      ]);
      expect((await call.final()).code).to.equal(503);
    }
    await other.incoming();
    await other.incoming();
  });

  it('goes nowhere but to a media node, and into nothing but a room', async () => {
    for (const headers of [
      [
        ['X-MV-Node', '127.0.0.7:5060'],
        ['X-MV-Room', 'app_1-team'],
      ],
      [
        ['X-MV-Node', `${at(other)};x=y@127.0.0.7`],
        ['X-MV-Room', 'app_1-team'],
      ],
      [['X-MV-Node', at(other)]],
      [
        ['X-MV-Node', at(other)],
        ['X-MV-Room', 'a b'],
      ],
      [
        ['X-MV-Node', ''],
        ['X-MV-Room', 'app_1-team'],
      ],
    ] satisfies HeaderLine[][]) {
      const call = await dial(headers);
      expect((await call.final()).code, JSON.stringify(headers)).to.equal(403);
    }
  });

  it('is made by no one else: a carrier that sends its headers calls a number as ever', async () => {
    edge.control.answer = () => edge.control.media();
    node.listen({ refuse: 486 });
    other.listen({ refuse: 486 });
    const carrier = await Phone.open({ address: ADDRESS.operator });
    const call = await carrier.call({
      to: NUMBER.webhook,
      from: '+491711234567',
      via: edge.sip,
      headers: [
        ['X-MV-Node', at(other)],
        ['X-MV-Room', 'app_1-team'],
      ],
    });
    expect((await call.final()).code).to.equal(486);
    const invites = [...node.received, ...other.received]
      .map(({ invite }) => invite?.text ?? '')
      .filter((text) => text.includes(NUMBER.webhook));
    expect(invites).to.have.length(1);
    expect(invites[0]).to.not.match(/x-mv-(node|room)/i);
    await carrier.close();
  });
});

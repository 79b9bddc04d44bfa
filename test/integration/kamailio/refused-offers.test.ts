import { expect } from 'chai';
import type { Call } from '../../support/call.ts';
import { Phone } from '../../support/phone.ts';
import { tone } from '../../../cli/phone/sound.ts';
import { ADDRESS, Edge, freePort, NUMBER } from './edge.ts';

const sdp = (media: string): string =>
  `v=0\r\no=- 1 9 IN IP4 ${ADDRESS.other}\r\ns=-\r\nc=IN IP4 ${ADDRESS.other}\r\nt=0 0\r\n${media}`;
const OFFERS = {
  'another address': sdp('m=audio 40000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n'),
  'a codec nobody speaks': sdp('m=audio 40000 RTP/AVP 18\r\na=rtpmap:18 G729/8000\r\n'),
  'a fax': sdp('m=audio 0 RTP/AVP 0\r\nm=image 40002 udptl t38\r\n'),
  'no audio': sdp('m=audio 0 RTP/AVP 0\r\n'),
};
const WITH_KEYS = sdp(
  'm=audio 40000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n',
);

describe('An offer within a call that is refused', () => {
  let edge: Edge;
  let carrier: Phone;
  let node: Phone;
  let customer: Phone;

  before(async () => {
    const port = await freePort();
    node = await Phone.open({ address: ADDRESS.media, port });
    customer = await Phone.open({ address: ADDRESS.customer });
    carrier = await Phone.open({ address: ADDRESS.operator });
    edge = await Edge.start({ media: [`${ADDRESS.media}:${port}`] });
    edge.control.answer = ({ to }) =>
      to === NUMBER.sip
        ? { action: 'sip', call: `call_${Math.random()}`, targets: [customer.uri] }
        : edge.control.media();
    for (const phone of [node, customer]) phone.listen('answer');
  });
  after(async () => {
    for (const phone of [carrier, node, customer]) await phone?.close();
    await edge?.stop();
  });

  const offer = async (by: Call, method: string, body: string): Promise<number> =>
    (await by.request(method, [['Content-Type', 'application/sdp']], body)).code;

  /** Both sides go on hearing each other, and keys count. */
  async function goesOn(call: Call, called: Call): Promise<void> {
    const before = new Map([call, called].map((side) => [side, side.heard.packets]));
    for (const side of [call, called])
      await side.heard.until(
        () => side.heard.packets > (before.get(side) ?? 0) + 25 || undefined,
        () => `audio; ${side.story()}`,
      );
    const keys = called.heard.keys;
    await call.press('7');
    await called.heard.until(() => called.heard.keys === `${keys}7` || undefined, 'the key');
  }

  for (const method of ['INVITE', 'UPDATE']) {
    for (const [what, body] of Object.entries({ ...OFFERS, keys: WITH_KEYS })) {
      it(`leaves a relayed call as it was: ${method} with ${what}, by either side`, async () => {
        const call = await carrier.call({
          to: NUMBER.sip,
          from: '+491711234567',
          via: edge.sip,
          sound: tone(1000),
        });
        await call.answered();
        const called = await customer.incoming();
        await goesOn(call, called);
        called.refusesOffers = '488 Not Acceptable Here';
        expect(await offer(call, method, body)).to.equal(488);
        await goesOn(call, called);
        call.refusesOffers = '491 Request Pending';
        expect(await offer(called, method, body)).to.equal(491);
        await goesOn(call, called);
        // What is agreed on afterwards is what counts.
        called.refusesOffers = undefined;
        await call.hold();
        await call.resume();
        called.refusesOffers = '488 Not Acceptable Here';
        expect(await offer(call, method, body)).to.equal(488);
        await goesOn(call, called);
        await call.hangup();
      });
    }

    for (const [what, body] of Object.entries({
      'a fax': OFFERS['a fax'],
      'no audio': OFFERS['no audio'],
      'a codec nobody speaks': OFFERS['a codec nobody speaks'],
      keys: WITH_KEYS,
      garbage: 'garbage',
    })) {
      it(`never reaches a media node when it has no audio a node could have: ${method} with ${what}`, async () => {
        const call = await carrier.call({
          to: NUMBER.webhook,
          from: '+491711234567',
          via: edge.sip,
          sound: tone(1000),
        });
        await call.answered();
        const parked = await node.incoming();
        expect(await offer(call, method, body)).to.equal(488);
        expect(
          parked.messages.filter(({ received, text }) => received && /^(INVITE|UPDATE) /.test(text)),
        ).to.have.length(1);
        await goesOn(call, parked);
        await call.hangup();
      });
    }
  }

  it('by a media node, or by who it talks to, leaves the call as it was', async () => {
    const call = await carrier.call({
      to: NUMBER.webhook,
      from: '+491711234567',
      via: edge.sip,
      sound: tone(1000),
    });
    await call.answered();
    const parked = await node.incoming();
    parked.refusesOffers = '488 Not Acceptable Here';
    expect(await offer(call, 'INVITE', OFFERS['another address'])).to.equal(488);
    await goesOn(call, parked);
    call.refusesOffers = '488 Not Acceptable Here';
    expect(await offer(parked, 'INVITE', OFFERS['another address'])).to.equal(488);
    await goesOn(call, parked);
    await call.hangup();
  });

  it('leaves nothing behind', async () => {
    await edge.until(async () => (await edge.dialogs()) === 0 || undefined, 'no dialog');
    expect(JSON.stringify(await edge.rpc('htable.dump', ['agreed']))).to.equal('[]');
  });
});

import { expect } from 'chai';
import type { Call } from '../support/phone.ts';
import { tone } from '../../cli/phone/sound.ts';
import { Payer } from './payer.ts';
import { callTo, type Tenant } from './platform.ts';
import { closing, stage } from './stage.ts';

const WAIT = { gather: { num_digits: 1, timeout_seconds: 30 } };
const KEYED =
  'm=audio 40002 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n';

describe('audio as other telephones describe it', function () {
  this.timeout(40_000);

  // A key counts once the gather has begun, of which a telephone knows nothing.
  const SPEECH = [WAIT, { say: { text: 'one two three four five six seven eight nine ten' } }];

  /** The caller's key counts, and he hears what is said then. */
  async function goesOn(call: Call, own: Tenant, id: string): Promise<void> {
    await pressUntil(call, '7', () => own.server.webhook(id, 'call.gathered'));
    const before = call.heard.packets;
    await call.heard.until(() => call.heard.packets > before + 25 || undefined, 'audio that goes on');
    await call.ended();
    expect((await own.server.webhook(id, 'call.gathered')).data).to.include({ digits: '7' });
  }

  /** Presses a key again and again, until what comes of it has come. */
  async function pressUntil(call: Call, key: string, done: () => Promise<unknown>): Promise<void> {
    let over = false;
    void done().then(
      () => (over = true),
      () => (over = true),
    );
    while (!over && !call.isOver) await call.press(key);
  }

  it('keys go both ways when the callee answers telephone events under a number of its own', async () => {
    const payer = closing(await Payer.open());
    const { id } = await payer.place({ actions: [WAIT, { send_digits: { digits: '42#' } }] });
    const far = await payer.carrier.incoming();
    far.rtp.ownEventType = 96;
    far.rewrite = (sdp) => sdp.replaceAll('101', '96');
    far.answer();
    await pressUntil(far, '5', () => payer.server.webhook(id, 'call.gathered'));
    await far.heard.waitUntilKeys('42#');
    await far.ended();
    expect((await payer.server.webhook(id, 'call.gathered')).data).to.include({ digits: '5' });
  });

  for (const [what, rewrite] of [
    ['with feedback by RTCP', (sdp: string) => sdp.replace('RTP/AVP', 'RTP/AVPF')],
    ['with keys and, behind that, without', (sdp: string) => sdp.replace('m=audio', `${KEYED}m=audio`)],
    ['without keys and, behind that, with', (sdp: string) => sdp + KEYED],
  ] as const) {
    it(`an offer of audio ${what} is heard, and keys count`, async () => {
      const { own, dial } = await stage();
      const call = await dial(SPEECH, { sound: tone(700), rewrite });
      const { id } = await callTo(own);
      await goesOn(call, own, id);
    });
  }

  it('an offer with keys alone is refused with 488 at once, and the call has failed for that', async () => {
    const { own, place } = await stage();
    const call = await place({ rewrite: (sdp) => sdp.replace('RTP/AVP', 'RTP/SAVP') });
    const final = await call.final();
    expect(final.code).to.equal(488);
    const { id } = await callTo(own);
    expect((await own.server.webhook(id, 'call.failed')).data).to.include({
      code: 'rejected',
      sip_code: 488,
    });
  });

  for (const method of ['INVITE', 'UPDATE']) {
    for (const [what, media] of [
      ['a fax', 'm=audio 0 RTP/AVP 0\r\nm=image 40002 udptl t38\r\n'],
      ['G.729 alone', 'm=audio 40002 RTP/AVP 18\r\na=rtpmap:18 G729/8000\r\n'],
      ['keys', KEYED],
    ] as const) {
      it(`a caller is still heard, and hears, after an offer of ${what} by ${method} that is refused`, async () => {
        const { own, dial } = await stage();
        const call = await dial(SPEECH);
        const { id } = await callTo(own);
        const body = `v=0\r\no=- 1 9 IN IP4 127.0.0.2\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\n${media}`;
        expect((await call.request(method, [['Content-Type', 'application/sdp']], body)).code).to.equal(488);
        await goesOn(call, own, id);
      });
    }
  }
});

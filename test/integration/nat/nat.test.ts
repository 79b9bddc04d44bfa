import { expect } from 'chai';
import type { Call } from '../../support/phone.ts';
import { HOST, missing } from './network.ts';
import { KINDS, Site, SIP } from './site.ts';

const FROM = '+15551230001';
const SAY = {
  say: { text: 'Good day. This is a long announcement, made to be heard from its very first word.' },
};

for (const kind of KINDS) {
  describe(`A platform behind a NAT that has no hairpin, with the ${kind} media node on another host`, function () {
    this.timeout(90_000);
    let site: Site;

    before(async function () {
      const why = await missing();
      if (why) {
        console.log(`      not tried here: ${why}`);
        this.skip();
      }
      site = await Site.open(kind);
    });
    after(async () => site?.close());
    beforeEach(() => {
      site.asked.length = 0;
      site.carrier.forget();
    });

    const dial = (quiet = false): Promise<Call> =>
      site.carrier.call({ to: site.number, from: FROM, via: SIP, quiet });
    const place = async (actions: unknown[]): Promise<string> =>
      String((await site.api('POST', '/v1/calls', { from: FROM, to: '+15551239999', actions })).id);
    const bySound = (call: Call): Promise<unknown> =>
      call.heard.until(() => call.heard.loudest() > 500 || undefined, 'speech', 6000);

    it('a caller is heard and hears, and the BYE of the media node reaches it', async () => {
      site.actions = [
        { gather: { prompt: SAY.say.text, num_digits: 1, timeout_seconds: 20 } },
        { redirect: { url: site.answerUrl } },
      ];
      const call = await dial();
      await call.answered();
      await bySound(call);
      site.actions = [];
      await call.press('5');
      // An empty list of actions hangs up.
      expect(await call.ended()).to.include({ by: 'remote', how: 'bye' });
      expect(site.asked.at(-1)?.get('digits')).to.equal('5');
      await site.status(await site.newest(), 'completed');
      await site.noDialogs();
    });

    it('a caller who says nothing hears the first words', async () => {
      site.actions = [SAY];
      const call = await dial(true);
      await call.answered();
      await bySound(call);
      expect(call.rtp.sent).to.equal(0);
      expect(await call.hangup()).to.equal(200);
      await site.status(await site.newest(), 'completed');
      await site.noDialogs();
    });

    it('a caller on hold and back is heard again', async () => {
      site.actions = [
        { gather: { num_digits: 1, timeout_seconds: 20 } },
        { redirect: { url: site.answerUrl } },
      ];
      const call = await dial();
      await call.answered();
      expect(await call.hold()).to.include({ host: HOST.world });
      expect(await call.resume()).to.include({ host: HOST.world });
      site.actions = [];
      await call.press('7');
      await call.ended();
      expect(site.asked.at(-1)?.get('digits')).to.equal('7');
    });

    it('a call of ours is acknowledged and heard by a party who says nothing, and a hang-up through the API reaches it', async () => {
      site.carrier.listen('answer', { quiet: true });
      const id = await place([SAY, { pause: { seconds: 60 } }]);
      const far = await site.carrier.incoming();
      await far.answered();
      await bySound(far);
      expect(far.rtp.sent).to.equal(0);
      await site.status(id, 'in_progress');
      await site.api('POST', `/v1/calls/${id}/hangup`, {});
      expect(await far.ended()).to.include({ by: 'remote', how: 'bye' });
      await site.status(id, 'completed');
      await site.noDialogs();
    });

    it('a call of ours that the far end hangs up is over', async () => {
      site.carrier.listen('answer');
      const id = await place([{ pause: { seconds: 60 } }]);
      const far = await site.carrier.incoming();
      await far.answered();
      await site.status(id, 'in_progress');
      expect(await far.hangup()).to.equal(200);
      await site.status(id, 'completed');
      await site.noDialogs();
    });

    it('a caller is connected to the carrier by a transfer, heard both ways, and either end ends both', async () => {
      site.carrier.listen('answer');
      site.actions = [{ transfer: { destination: '+15551238888' } }];
      const call = await dial();
      const far = await site.carrier.incoming();
      await far.answered();
      await call.heard.waitUntilTone(440);
      await far.press('3');
      await call.heard.waitUntilKeys('3');
      expect(await far.hangup()).to.equal(200);
      expect(await call.ended()).to.include({ by: 'remote', how: 'bye' });
      await site.noDialogs();
    });

    it('nothing that reaches the carrier names an address of the inside', () => {
      const leaks = site.carrier.messages.filter(
        ({ received, text }) => received && /10\.9\.0\.|192\.0\.2\./.test(text.replace(/^Call-ID: .*$/m, '')),
      );
      expect(leaks.map(({ text }) => text.slice(0, 200))).to.deep.equal([]);
    });
  });
}

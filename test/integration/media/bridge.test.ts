import { join } from 'node:path';
import { expect } from 'chai';
import { ChannelGone, MediaError, type LegRequest } from '../../../control/media/media.ts';
import type { Call } from '../../support/phone.ts';
import { tone } from '../../../cli/phone/sound.ts';
import { Watched } from '../../../cli/phone/wait.ts';
import { KINDS } from './nodes.ts';
import { failure, hearsMusic, hearsNothing, hearsTone, recorded, Rig } from './rig.ts';

/** A request for a leg, and what was told of it. */
class Wanted extends Watched {
  readonly news: string[] = [];
  readonly request: LegRequest;

  constructor(more: Partial<LegRequest> = {}) {
    super();
    this.request = {
      uris: ['sip:+15557777@192.0.2.7:5060;transport=tcp'],
      from: '+15551230001',
      timeoutSeconds: 20,
      headers: { 'X-MV-Call-ID': 'call_1' },
      onRinging: () => this.#tell('ringing'),
      onAnswered: (uuid) => this.#tell(`answered ${/^[0-9a-f-]{36}$/.test(uuid) ? 'uuid' : uuid}`),
      ...more,
    };
  }

  told(news: string): Promise<true> {
    return this.until(() => this.news.includes(news) || undefined, news);
  }

  #tell(news: string): void {
    this.news.push(news);
    this.changed();
  }
}

for (const kind of KINDS) {
  describe(`a second leg on the ${kind} node`, function () {
    this.timeout(40_000);
    let rig: Rig;

    before(async () => {
      rig = await Rig.open(kind);
    });

    after(() => rig.close());
    beforeEach(() => rig.callee.listen('answer', { sound: () => tone(1000) }));
    afterEach(() => rig.clear());

    /** The node has no leg any more, and the caller's channel takes instructions. */
    const goesOn = async (
      call: Call,
      channel: { sendDigits(digits: string): Promise<void>; play(source: string): Promise<unknown> },
    ): Promise<void> => {
      const had = call.heard.keys;
      await channel.sendDigits('7');
      expect(call.heard.keys).to.equal(`${had}7`);
      expect(await channel.play('silence_stream://100')).to.equal('finished');
    };

    it('is sent to Kamailio with its targets, and both hear each other until the callee hangs up', async () => {
      const { call, channel } = await rig.caller();
      const wanted = new Wanted({
        uris: [
          'sip:+1 (555)~{}$|\'"é@192.0.2.7:5060;transport=tcp;a=b',
          'sip:bob@[2001:db8::7]?Subject=a&b=c,d',
        ],
        headers: {
          'X-MV-Call-ID': 'call_1',
          Diversion: '<sip:+15551230001@example.com>;reason=unconditional',
        },
      });
      const ended = channel.bridge(wanted.request);
      const leg = await rig.callee.incoming();
      await wanted.told('answered uuid');
      const invite = leg.receivedText;
      expect(invite).to.match(/^INVITE sip:[\w+.-]+@127\.0\.0\.1:\d+ SIP/);
      expect(invite).to.include(
        'X-MV-Targets: sip:+1%20(555)%7E%7B%7D%24%7C%27%22%C3%A9@192.0.2.7:5060;transport=tcp;a=b|sip:bob@[2001:db8::7]?Subject=a&b=c,d\r\n',
      );
      expect(invite).to.include('X-MV-Call-ID: call_1\r\n');
      expect(invite).to.include('Diversion: <sip:+15551230001@example.com>;reason=unconditional\r\n');
      expect(invite).to.match(/^From: "\+15551230001" <sip:\+15551230001@/m);
      expect(invite).not.to.match(/mv_leg_of|X-MV-From|X-MV-To:/);
      await Promise.all([hearsTone(call, 1000), hearsTone(leg, 600)]);
      await call.press('42#');
      await leg.heard.waitUntilKeys('42#');
      await leg.press('*1');
      await call.heard.waitUntilKeys('*1');
      await leg.hangup();
      expect(await ended).to.deep.equal({ reached: true, cause: 'NORMAL_CLEARING', endedBy: 'callee' });
      expect(wanted.news).to.deep.equal(['ringing', 'answered uuid']);
      await hearsNothing(call);
      await goesOn(call, channel);
      expect(rig.control.parked).to.have.length(1);
    });

    it('can follow another one, as often as it likes', async () => {
      const { call, channel } = await rig.caller();
      for (let i = 0; i < 3; i++) {
        const ended = channel.bridge(new Wanted().request);
        const leg = await rig.callee.incoming();
        await Promise.all([hearsTone(call, 1000), hearsTone(leg, 600)]);
        await leg.hangup();
        expect((await ended).reached).to.equal(true);
        await goesOn(call, channel);
      }
    });

    it('lets the caller hear ringback while it rings, whatever the far end sends', async () => {
      rig.callee.listen('manual', { sound: () => tone(1000) });
      const { call, channel } = await rig.caller();
      const wanted = new Wanted();
      const ended = channel.bridge(wanted.request);
      const leg = await rig.callee.incoming();
      leg.ring();
      await wanted.told('ringing');
      await hearsTone(call, 425, 600);
      expect(call.heard.tone(1000)).to.equal(0);
      expect(wanted.news).to.deep.equal(['ringing']);
      leg.answer();
      await wanted.told('answered uuid');
      await hearsTone(call, 1000);
      await leg.hangup();
      await ended;
    });

    for (const [code, cause] of [
      [486, 'USER_BUSY'],
      [404, 'UNALLOCATED_NUMBER'],
      [480, 'NO_USER_RESPONSE'],
      [603, 'CALL_REJECTED'],
      [503, 'NORMAL_TEMPORARY_FAILURE'],
      [408, 'RECOVERY_ON_TIMER_EXPIRE'],
    ] as const) {
      it(`is not reached when it is refused with ${code}, and says so`, async () => {
        rig.callee.listen({ refuse: code });
        const { call, channel } = await rig.caller();
        const wanted = new Wanted();
        expect(await channel.bridge(wanted.request)).to.deep.equal({ reached: false, cause, sipCode: code });
        expect(wanted.news).to.deep.equal([]);
        await rig.callee.incoming();
        await goesOn(call, channel);
      });
    }

    it('is given up when it has rung for long enough, and no earlier', async () => {
      const { call, channel } = await rig.caller();
      rig.callee.listen({ refuse: 486 });
      await channel.bridge(new Wanted().request);
      await rig.callee.incoming();
      rig.callee.listen('ring');
      const from = performance.now();
      const ended = channel.bridge(new Wanted({ timeoutSeconds: 1 }).request);
      const leg = await rig.callee.incoming();
      // No SIP code: not even that of the leg before.
      expect(await ended).to.deep.equal({ reached: false, cause: 'NO_ANSWER' });
      expect(performance.now() - from).to.be.greaterThan(1000);
      expect((await leg.ended()).how).to.equal('cancel');
      await goesOn(call, channel);
    });

    it('is cancelled when the caller hangs up while it rings', async () => {
      rig.callee.listen('ring');
      const { call, channel } = await rig.caller();
      const wanted = new Wanted();
      const ended = failure(channel.bridge(wanted.request));
      const leg = await rig.callee.incoming();
      await wanted.told('ringing');
      await call.hangup();
      expect(await ended).to.be.instanceOf(ChannelGone);
      expect((await channel.ended).by).to.equal('caller');
      expect((await leg.ended()).how).to.equal('cancel');
    });

    it('ends with the caller when it is connected', async () => {
      const { call, channel } = await rig.caller();
      const ended = failure(channel.bridge(new Wanted().request));
      const leg = await rig.callee.incoming();
      await hearsTone(call, 1000);
      await call.hangup();
      expect(await ended).to.be.instanceOf(ChannelGone);
      expect((await channel.ended).by).to.equal('caller');
      expect((await leg.ended()).how).to.equal('bye');
    });

    it('ends with the caller when we hang up', async () => {
      const { call, channel } = await rig.caller();
      const ended = failure(channel.bridge(new Wanted().request));
      const leg = await rig.callee.incoming();
      await hearsTone(call, 1000);
      await channel.hangup('NORMAL_CLEARING');
      expect(await ended).to.be.instanceOf(ChannelGone);
      expect((await channel.ended).by).to.equal('platform');
      await Promise.all([leg.ended(), call.ended()]);
    });

    it('is cancelled by an interruption while it rings', async () => {
      rig.callee.listen('ring');
      const { call, channel } = await rig.caller();
      const wanted = new Wanted();
      const ended = channel.bridge(wanted.request);
      const leg = await rig.callee.incoming();
      await wanted.told('ringing');
      await channel.interrupt();
      expect(await ended).to.deep.equal({ reached: false, cause: 'ORIGINATOR_CANCEL' });
      expect((await leg.ended()).how).to.equal('cancel');
      await goesOn(call, channel);
    });

    it('is ended by an interruption when it is connected', async () => {
      const { call, channel } = await rig.caller();
      const ended = channel.bridge(new Wanted().request);
      const leg = await rig.callee.incoming();
      await hearsTone(call, 1000);
      await channel.interrupt();
      expect(await ended).to.deep.include({ reached: true, endedBy: 'platform' });
      expect((await leg.ended()).how).to.equal('bye');
      await goesOn(call, channel);
    });

    it('is never begun, or ended at once, when it is interrupted in the same instant', async () => {
      const { call, channel } = await rig.caller();
      const ended = channel.bridge(new Wanted().request);
      await channel.interrupt();
      const result = await ended;
      expect(result.reached ? result.endedBy : result.cause).to.be.oneOf(['platform', 'ORIGINATOR_CANCEL']);
      await goesOn(call, channel);
      await rig.callee.message((text) => text.startsWith('INVITE'), 200).catch(() => undefined);
    });

    it('does not hear a muted caller, and a caller on hold does not hear it', async () => {
      const { call, channel } = await rig.caller();
      const ended = channel.bridge(new Wanted().request);
      const leg = await nextLeg();
      await hearsTone(leg, 600);
      await channel.mute('write');
      await Promise.all([hearsNothing(leg), hearsTone(call, 1000)]);
      await channel.mute('read');
      await Promise.all([hearsNothing(leg), hearsNothing(call)]);
      await channel.unmute('write');
      await Promise.all([hearsTone(leg, 600), hearsNothing(call)]);
      await channel.unmute('both');
      await Promise.all([hearsTone(leg, 600), hearsTone(call, 1000)]);
      await channel.hold();
      await Promise.all([hearsMusic(call), hearsNothing(leg)]);
      await channel.resume();
      await Promise.all([hearsTone(leg, 600), hearsTone(call, 1000)]);
      await channel.sendDigits('98');
      expect(call.heard.keys).to.equal('98');
      expect(leg.heard.keys).to.equal('');
      await leg.hangup();
      await ended;
    });

    it('is on the right side of a recording that runs across it', async () => {
      const { call, channel } = await rig.caller();
      const file = join(rig.folder, 'bridge.wav');
      await channel.startRecording(file);
      const ended = channel.bridge(new Wanted().request);
      const leg = await nextLeg();
      await hearsTone(call, 1000, 900);
      await leg.hangup();
      await ended;
      await channel.play('silence_stream://400');
      await channel.stopRecording(file);
      const { left, right } = await recorded(file);
      expect(left.tone(600, 100, left.durationMs - 100)).to.be.greaterThan(0.95);
      expect(right.tone(1000) * right.durationMs).to.be.greaterThan(800);
      expect(right.tone(600)).to.be.lessThan(0.02);
      expect(right.silence(right.durationMs - 200)).to.equal(true);
    });

    it('that rings is taken over by the next control process, which hears of its answer and its end', async () => {
      rig.callee.listen('manual', { sound: () => tone(1000) });
      const { call, channel } = await rig.caller();
      const wanted = new Wanted();
      void channel.bridge(wanted.request).catch(() => undefined);
      const leg = await rig.callee.incoming();
      leg.ring();
      await wanted.told('ringing');
      const { channel: adopted, adopted: doing } = await rig.restart();
      expect(Object.keys(doing ?? {})).to.deep.equal(['bridging']);
      expect(doing?.bridging?.connected).to.equal(false);
      leg.answer();
      expect(await doing?.bridging?.answered).to.equal(true);
      await Promise.all([hearsTone(call, 1000), hearsTone(leg, 600)]);
      await leg.hangup();
      expect(await doing?.bridging?.finished).to.deep.equal({
        reached: true,
        cause: 'NORMAL_CLEARING',
        endedBy: 'callee',
      });
      await goesOn(call, adopted);
    });

    it('that rings is given up by the node when nobody is in control, and the next control process hears of it', async () => {
      rig.callee.listen('ring');
      const { call, channel } = await rig.caller();
      const wanted = new Wanted({ timeoutSeconds: 2 });
      void channel.bridge(wanted.request).catch(() => undefined);
      await wanted.told('ringing');
      const { channel: adopted, adopted: doing } = await rig.restart();
      expect(await doing?.bridging?.finished).to.deep.equal({ reached: false, cause: 'NO_ANSWER' });
      expect(await doing?.bridging?.answered).to.equal(false);
      await goesOn(call, adopted);
    });

    it('that is connected is taken over by the next control process, which can end it', async () => {
      const { call, channel } = await rig.caller();
      void channel.bridge(new Wanted().request).catch(() => undefined);
      const leg = await nextLeg();
      await hearsTone(call, 1000);
      const { channel: adopted, adopted: doing } = await rig.restart();
      expect(rig.control.parked).to.have.length(1);
      expect(doing?.bridging?.connected).to.equal(true);
      await hearsTone(call, 1000);
      await adopted.interrupt();
      expect(await doing?.bridging?.finished).to.deep.include({ reached: true, endedBy: 'platform' });
      await leg.ended();
      await goesOn(call, adopted);
      const { adopted: idle } = await rig.restart();
      expect(idle).to.deep.equal({});
    });

    it('that answers and ends while the connection to the node is lost is known when it is back', async () => {
      rig.callee.listen('manual', { sound: () => tone(1000) });
      const { call, channel } = await rig.caller();
      const wanted = new Wanted();
      const ended = channel.bridge(wanted.request);
      const leg = await rig.callee.incoming();
      leg.ring();
      await wanted.told('ringing');
      await rig.without(async () => {
        leg.answer();
        await hearsTone(call, 1000);
        await leg.hangup();
        await hearsNothing(call);
      });
      expect(await ended).to.deep.equal({ reached: true, cause: 'NORMAL_CLEARING', endedBy: 'callee' });
      await goesOn(call, channel);
    });

    it('that answers while the connection to the node is lost is told of when it is back', async () => {
      rig.callee.listen('manual', { sound: () => tone(1000) });
      const { call, channel } = await rig.caller();
      const wanted = new Wanted();
      const ended = channel.bridge(wanted.request);
      const leg = await rig.callee.incoming();
      leg.ring();
      await wanted.told('ringing');
      await rig.without(async () => {
        leg.answer();
        await hearsTone(call, 1000);
      });
      await wanted.told('answered uuid');
      await leg.hangup();
      expect((await ended).endedBy).to.equal('callee');
    });

    it('refuses a second one at the same time, and what cannot be put into a header', async () => {
      const { call, channel } = await rig.caller();
      const ended = channel.bridge(new Wanted().request);
      const leg = await nextLeg();
      await hearsTone(call, 1000);
      expect(await failure(channel.bridge(new Wanted().request))).to.be.instanceOf(MediaError);
      await hearsTone(call, 1000);
      await leg.hangup();
      expect((await ended).reached).to.equal(true);
      for (const value of ['a\r\nX-Other: b', 'a~sip_h_X=b', '${uuid}', 'a}sofia', 'é']) {
        expect(
          await failure(channel.bridge(new Wanted({ headers: { 'X-MV-Call-ID': value } }).request)),
          value,
        ).to.be.instanceOf(MediaError);
      }
      expect(await failure(channel.bridge(new Wanted({ uris: [] }).request))).to.be.instanceOf(MediaError);
    });

    /** The leg that comes in next and is not over already. */
    async function nextLeg(): Promise<Call> {
      for (;;) {
        const leg = await rig.callee.incoming();
        if (!leg.isOver) return leg;
      }
    }
  });
}

import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { ChannelGone, MediaError } from '../../../control/media/media.ts';
import { tone } from '../../../cli/phone/sound.ts';
import { KINDS } from './nodes.ts';
import { endOf, failure, gets, Rig } from './rig.ts';

for (const kind of KINDS) {
  describe(`an outbound call on the ${kind} node`, function () {
    this.timeout(40_000);
    let rig: Rig;

    before(async () => void (rig = await Rig.open(kind)));
    after(() => rig.close());
    beforeEach(() => {
      rig.callee.forget();
      rig.callee.listen('answer', { sound: () => tone(1000) });
    });
    afterEach(() => rig.clear());

    it('is sent to Kamailio with its targets and headers, rings, is answered, and takes instructions', async () => {
      const { call, dialing } = await rig.invited({
        uris: ['sip:+15557777@192.0.2.7:5060;transport=tcp', 'sip:bob@[2001:db8::7]?Subject=a&b=c,d'],
        headers: {
          'X-MV-Call-ID': 'call_1',
          'X-MV-Owner': '3',
          'X-MV-Created': '2026-05-29T12:00:00.000Z',
          'X-MV-Note': 'two words, more',
        },
      });
      const { channel, headers } = dialing.parked;
      expect(call.receivedText).to.match(/^INVITE sip:\+15557777@127\.0\.0\.1:\d+ SIP/);
      expect(call.receivedText).to.include(
        'X-MV-Targets: sip:+15557777@192.0.2.7:5060;transport=tcp|sip:bob@[2001:db8::7]?Subject=a&b=c,d\r\n',
      );
      expect(call.receivedText)
        .to.include('X-MV-Owner: 3\r\n')
        .and.to.include('X-MV-Note: two words, more\r\n');
      expect(call.receivedText).to.match(/^From: "\+15551230001" <sip:\+15551230001@/m);
      expect(headers).to.deep.equal({
        'call-id': 'call_1',
        owner: '3',
        created: '2026-05-29T12:00:00.000Z',
        note: 'two words, more',
      });
      expect(rig.control.media.nodes()[0]?.channels).to.equal(1);
      expect(rig.control.media.mayHave(channel.uuid)).to.equal(true);
      call.ring([['X-MV-Trunk', 'trunk_1']]);
      await dialing.ringing;
      expect(dialing.trunkId()).to.equal('trunk_1');
      expect(channel.answered).to.equal(false);
      expect(await failure(channel.sendDigits('1'))).to.be.instanceOf(MediaError);
      call.answer([['X-MV-Trunk', 'trunk_2']]);
      expect(await dialing.answered).to.equal(true);
      expect(dialing.trunkId()).to.equal('trunk_2');
      expect(channel.answeredAt?.getTime()).to.be.closeTo(Date.now(), 5000);
      expect(dialing.parked.dialog).to.deep.equal({
        callId: call.callId,
        fromTag: call.dialog.remoteTag,
        toTag: call.dialog.localTag,
      });
      expect(await channel.play('silence_stream://100')).to.equal('finished');
      await call.hangup();
      expect(await endOf(dialing)).to.equal('caller NORMAL_CLEARING 200');
      expect(rig.control.parked).to.deep.equal([]);
    });

    it('that is answered without having rung never rings', async () => {
      const { call, dialing } = await rig.invited();
      let rang = false;
      void dialing.ringing.then(() => (rang = true));
      call.answer();
      expect(await dialing.answered).to.equal(true);
      expect(rang).to.equal(false);
      expect(dialing.trunkId()).to.equal(undefined);
      await dialing.parked.channel.hangup('NORMAL_CLEARING');
      expect(await endOf(dialing)).to.equal('platform NORMAL_CLEARING 200');
      expect((await call.ended()).how).to.equal('bye');
    });

    it('that has early media rings, and is not answered by that', async () => {
      const { call, dialing } = await rig.invited();
      call.progress([['X-MV-Trunk', 'trunk_1']]);
      await dialing.ringing;
      expect(dialing.trunkId()).to.equal('trunk_1');
      expect(dialing.parked.channel.answered).to.equal(false);
      call.answer();
      expect(await dialing.answered).to.equal(true);
      await dialing.parked.channel.sendDigits('42');
      expect(call.heard.keys).to.equal('42');
    });

    for (const [code, cause] of [
      [486, 'USER_BUSY'],
      [600, 'USER_BUSY'],
      [404, 'UNALLOCATED_NUMBER'],
      [480, 'NO_USER_RESPONSE'],
      [603, 'CALL_REJECTED'],
      [403, 'CALL_REJECTED'],
      [503, 'NORMAL_TEMPORARY_FAILURE'],
      [408, 'RECOVERY_ON_TIMER_EXPIRE'],
      [487, 'ORIGINATOR_CANCEL'],
    ] as const) {
      it(`that is refused with ${code} says so`, async () => {
        rig.callee.listen({ refuse: code });
        const dialing = await rig.place();
        expect(await dialing.answered).to.equal(false);
        expect(await endOf(dialing)).to.equal(`caller ${cause} ${code}`);
        await rig.callee.incoming();
      });
    }

    it('that rings for long enough is given up', async () => {
      const from = performance.now();
      const { call, dialing } = await rig.invited({ ringSeconds: 1 });
      call.ring();
      expect(await endOf(dialing)).to.equal('platform NO_ANSWER -');
      expect(performance.now() - from).to.be.greaterThan(1000);
      expect((await call.ended()).how).to.equal('cancel');
      expect(await dialing.answered).to.equal(false);
    });

    it('that nobody answers at all is given up as well', async () => {
      rig.callee.listen('deaf');
      const dialing = await rig.place({ ringSeconds: 1 });
      expect(await endOf(dialing)).to.equal('platform NO_ANSWER -');
    });

    it('is cancelled as soon as it is there', async () => {
      for (let i = 0; i < 20; i++) {
        rig.callee.listen('ring');
        const dialing = await rig.place();
        await dialing.parked.channel.hangup('ORIGINATOR_CANCEL');
        expect(await endOf(dialing)).to.equal('platform ORIGINATOR_CANCEL -');
        expect(await dialing.answered).to.equal(false);
        expect(await failure(dialing.parked.channel.hangup('ORIGINATOR_CANCEL'))).to.be.instanceOf(
          ChannelGone,
        );
      }
      for (const call of rig.callee.received) await call.ended();
    });

    it('is cancelled before there is any reply, which reaches the callee with the first one', async () => {
      rig.callee.listen('deaf');
      const dialing = await rig.place();
      const invite = await rig.callee.message((text) => text.startsWith('INVITE'));
      await dialing.parked.channel.hangup('ORIGINATOR_CANCEL');
      expect(await endOf(dialing)).to.equal('platform ORIGINATOR_CANCEL -');
      const copied = invite.text.split('\r\n').filter((line) => /^(Via|From|To|Call-ID|CSeq):/.test(line));
      rig.callee.send(
        [`SIP/2.0 180 Ringing`, ...copied, 'Content-Length: 0', '', ''].join('\r\n'),
        invite.peer,
      );
      await rig.callee.message((text) => text.startsWith('CANCEL'));
    });

    it('is cancelled while it rings', async () => {
      const { call, dialing } = await rig.invited();
      call.ring();
      await dialing.ringing;
      await dialing.parked.channel.hangup('ORIGINATOR_CANCEL');
      expect(await endOf(dialing)).to.equal('platform ORIGINATOR_CANCEL -');
      expect((await call.ended()).how).to.equal('cancel');
    });

    it('that is answered after it was cancelled is acknowledged and ended', async () => {
      const { call, dialing } = await rig.invited();
      call.ignoresCancel = true;
      call.ring();
      await dialing.ringing;
      await dialing.parked.channel.hangup('ORIGINATOR_CANCEL');
      await rig.callee.message((text) => text.startsWith('CANCEL') && text.includes(call.callId));
      call.answer();
      expect((await call.ended()).how).to.equal('bye');
      expect(gets(call)).to.include('ACK');
      expect(await endOf(dialing)).to.equal('platform ORIGINATOR_CANCEL -');
      expect(await dialing.answered).to.equal(false);
    });

    it('whose cancellation crosses the answer ends once, and nobody is left', async () => {
      const ends = new Set<string>();
      for (let i = 0; i < 24; i++) {
        rig.callee.listen('answer');
        const dialing = await rig.place();
        for (let turn = 0; turn < i * 4; turn++) await setImmediate();
        await dialing.parked.channel.hangup('ORIGINATOR_CANCEL');
        ends.add((await endOf(dialing)).replace(/ (-|200)$/, ''));
      }
      expect([...ends]).to.deep.equal(['platform ORIGINATOR_CANCEL']);
      for (const call of rig.callee.received)
        await call.until(() => call.isOver || undefined, 'the end at the callee');
    });

    it('that gets its 200 twice is one call', async () => {
      const { call, dialing } = await rig.invited();
      call.answer();
      expect(await dialing.answered).to.equal(true);
      await call.answered();
      call.answerAgain();
      await call.until(
        () => gets(call).filter((method) => method === 'ACK').length === 2 || undefined,
        'a second ACK',
      );
      await dialing.parked.channel.sendDigits('7');
      expect(call.heard.keys).to.equal('7');
      expect(gets(call)).not.to.include('BYE');
    });

    it('that is hung up at once after the answer was answered, and is over', async () => {
      for (let i = 0; i < 5; i++) {
        const { call, dialing } = await rig.invited();
        call.answer();
        await call.hangup();
        expect(await endOf(dialing)).to.equal('caller NORMAL_CLEARING 200');
        expect(dialing.parked.channel.answered).to.equal(true);
        await dialing.answered;
      }
    });

    it('is not placed twice under one uuid, nor with what cannot be sent', async () => {
      rig.callee.listen('ring');
      const dialing = await rig.place();
      expect(await failure(rig.place({ uuid: dialing.parked.channel.uuid }))).to.be.instanceOf(MediaError);
      expect(await failure(rig.place({ headers: {} }))).to.be.instanceOf(MediaError);
      for (const value of ['a\r\nX-Other: b', 'a~b', "it's", '${uuid}', 'é']) {
        expect(
          await failure(rig.place({ headers: { 'X-MV-Call-ID': 'c', 'X-MV-A': value } })),
          value,
        ).to.be.instanceOf(MediaError);
      }
      expect(await failure(rig.place({ uris: [] }))).to.be.instanceOf(MediaError);
      expect(rig.control.media.nodes()[0]?.channels).to.equal(1);
    });

    it('is not placed by a node that takes none, or that is not there', async () => {
      await rig.command('fsctl pause outbound');
      try {
        expect(await failure(rig.place())).to.be.instanceOf(MediaError);
      } finally {
        await rig.command('fsctl resume outbound');
      }
      expect(rig.control.media.nodes()[0]?.channels).to.equal(0);
      await rig.without(async () =>
        expect(
          await failure(
            rig.control.media.originate({
              uuid: 'u',
              uris: ['sip:a@b'],
              from: '+1',
              ringSeconds: 5,
              headers: { 'X-MV-Call-ID': 'c' },
            }),
          ),
        ).to.be.instanceOf(MediaError),
      );
      while (!rig.control.media.nodes()[0]?.connected) await setImmediate();
      expect((await rig.called()).channel.answered).to.equal(true);
    });
  });
}

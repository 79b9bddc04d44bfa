import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { ChannelGone, MediaError, type Dialing } from '../../../control/media/media.ts';
import type { Call } from '../../support/phone.ts';
import { tone } from '../../support/sound.ts';
import { writeWav } from '../../support/wav.ts';
import { KINDS } from './nodes.ts';
import { hearsMusic, hearsNothing, hearsTone, recorded, Rig } from './rig.ts';

const failure = (promise: Promise<unknown>): Promise<unknown> => promise.then(() => undefined, (error: unknown) => error);

const wav = (frequency: number, seconds: number): Buffer =>
  writeWav({ rate: 8000, samples: Int16Array.from({ length: 8000 * seconds }, (_, i) => Math.round(8000 * Math.sin((2 * Math.PI * frequency * i) / 8000))) });

/** How it ended, without the time. */
const end = async ({ parked: { channel } }: Dialing): Promise<string> => {
  const { by, cause, sipCode } = await channel.ended;
  return `${by} ${cause} ${sipCode ?? '-'}`;
};

/** What was sent to the callee for this call, in order: methods, and codes of responses. */
const gets = (call: Call): string[] => call.messages.filter(({ received }) => received).map(({ text }) => text.split(' ', 1)[0] ?? '');

for (const kind of KINDS) {
  describe(`an outbound call on the ${kind} node`, function () {
    this.timeout(40_000);
    let rig: Rig;
    let prompt: string;
    let long: string;

    before(async () => {
      rig = await Rig.open(kind);
      prompt = join(rig.folder, 'prompt.wav');
      long = join(rig.folder, 'long.wav');
      await writeFile(prompt, wav(600, 1));
      await writeFile(long, wav(600, 15));
    });

    after(() => rig.close());
    beforeEach(() => {
      rig.callee.forget();
      rig.callee.listen('answer', { sound: () => tone(1000) });
    });
    afterEach(() => rig.clear());

    /** A call that is placed, with its INVITE at the callee, who does what the test says. */
    const invited = async (more: Parameters<Rig['place']>[0] = {}): Promise<{ call: Call; dialing: Dialing }> => {
      rig.callee.listen('manual', { sound: () => tone(1000) });
      const dialing = await rig.place(more);
      return { dialing, call: await rig.callee.incoming() };
    };

    it('is sent to Kamailio with its targets and headers, rings, is answered, and takes instructions', async () => {
      const { call, dialing } = await invited({
        uris: ['sip:+15557777@192.0.2.7:5060;transport=tcp', 'sip:bob@[2001:db8::7]?Subject=a&b=c,d'],
        headers: { 'X-MV-Call-ID': 'call_1', 'X-MV-Owner': '3', 'X-MV-Created': '2026-05-29T12:00:00.000Z', 'X-MV-Note': 'two words, more' },
      });
      const { channel, headers } = dialing.parked;
      expect(call.receivedText).to.match(/^INVITE sip:\+15557777@127\.0\.0\.1:\d+ SIP/);
      expect(call.receivedText).to.include('X-MV-Targets: sip:+15557777@192.0.2.7:5060;transport=tcp|sip:bob@[2001:db8::7]?Subject=a&b=c,d\r\n');
      expect(call.receivedText).to.include('X-MV-Owner: 3\r\n').and.to.include('X-MV-Note: two words, more\r\n');
      expect(call.receivedText).to.match(/^From: "\+15551230001" <sip:\+15551230001@/m);
      expect(headers).to.deep.equal({ 'call-id': 'call_1', owner: '3', created: '2026-05-29T12:00:00.000Z', note: 'two words, more' });
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
      expect(dialing.parked.dialog).to.deep.equal({ callId: call.callId, fromTag: call.dialog.remoteTag, toTag: call.dialog.localTag });
      expect(await channel.play('silence_stream://100')).to.equal('finished');
      await call.hangup();
      expect(await end(dialing)).to.equal('caller NORMAL_CLEARING 200');
      expect(rig.control.parked).to.deep.equal([]);
    });

    it('that is answered without having rung never rings', async () => {
      const { call, dialing } = await invited();
      let rang = false;
      void dialing.ringing.then(() => (rang = true));
      call.answer();
      expect(await dialing.answered).to.equal(true);
      expect(rang).to.equal(false);
      expect(dialing.trunkId()).to.equal(undefined);
      await dialing.parked.channel.hangup('NORMAL_CLEARING');
      expect(await end(dialing)).to.equal('platform NORMAL_CLEARING 200');
      expect((await call.ended()).how).to.equal('bye');
    });

    it('that has early media rings, and is not answered by that', async () => {
      const { call, dialing } = await invited();
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
      [486, 'USER_BUSY'], [600, 'USER_BUSY'], [404, 'UNALLOCATED_NUMBER'], [480, 'NO_USER_RESPONSE'], [603, 'CALL_REJECTED'], [403, 'CALL_REJECTED'],
      [503, 'NORMAL_TEMPORARY_FAILURE'], [408, 'RECOVERY_ON_TIMER_EXPIRE'], [487, 'ORIGINATOR_CANCEL'],
    ] as const) {
      it(`that is refused with ${code} says so`, async () => {
        rig.callee.listen({ refuse: code });
        const dialing = await rig.place();
        expect(await dialing.answered).to.equal(false);
        expect(await end(dialing)).to.equal(`caller ${cause} ${code}`);
        await rig.callee.incoming();
      });
    }

    it('that rings for long enough is given up', async () => {
      const from = performance.now();
      const { call, dialing } = await invited({ ringSeconds: 1 });
      call.ring();
      expect(await end(dialing)).to.equal('platform NO_ANSWER -');
      expect(performance.now() - from).to.be.greaterThan(1000);
      expect((await call.ended()).how).to.equal('cancel');
      expect(await dialing.answered).to.equal(false);
    });

    it('that nobody answers at all is given up as well', async () => {
      rig.callee.listen('deaf');
      const dialing = await rig.place({ ringSeconds: 1 });
      expect(await end(dialing)).to.equal('platform NO_ANSWER -');
    });

    it('is cancelled as soon as it is there', async () => {
      for (let i = 0; i < 20; i++) {
        rig.callee.listen('ring');
        const dialing = await rig.place();
        await dialing.parked.channel.hangup('ORIGINATOR_CANCEL');
        expect(await end(dialing)).to.equal('platform ORIGINATOR_CANCEL -');
        expect(await dialing.answered).to.equal(false);
        expect(await failure(dialing.parked.channel.hangup('ORIGINATOR_CANCEL'))).to.be.instanceOf(ChannelGone);
      }
      for (const call of rig.callee.received) await call.ended();
    });

    it('is cancelled before there is any reply, which reaches the callee with the first one', async () => {
      rig.callee.listen('deaf');
      const dialing = await rig.place();
      const invite = await rig.callee.message((text) => text.startsWith('INVITE'));
      await dialing.parked.channel.hangup('ORIGINATOR_CANCEL');
      expect(await end(dialing)).to.equal('platform ORIGINATOR_CANCEL -');
      const copied = invite.text.split('\r\n').filter((line) => /^(Via|From|To|Call-ID|CSeq):/.test(line));
      rig.callee.send([`SIP/2.0 180 Ringing`, ...copied, 'Content-Length: 0', '', ''].join('\r\n'), invite.peer);
      await rig.callee.message((text) => text.startsWith('CANCEL'));
    });

    it('is cancelled while it rings', async () => {
      const { call, dialing } = await invited();
      call.ring();
      await dialing.ringing;
      await dialing.parked.channel.hangup('ORIGINATOR_CANCEL');
      expect(await end(dialing)).to.equal('platform ORIGINATOR_CANCEL -');
      expect((await call.ended()).how).to.equal('cancel');
    });

    it('that is answered after it was cancelled is acknowledged and ended', async () => {
      const { call, dialing } = await invited();
      call.ignoresCancel = true;
      call.ring();
      await dialing.ringing;
      await dialing.parked.channel.hangup('ORIGINATOR_CANCEL');
      await rig.callee.message((text) => text.startsWith('CANCEL') && text.includes(call.callId));
      call.answer();
      expect((await call.ended()).how).to.equal('bye');
      expect(gets(call)).to.include('ACK');
      expect(await end(dialing)).to.equal('platform ORIGINATOR_CANCEL -');
      expect(await dialing.answered).to.equal(false);
    });

    it('whose cancellation crosses the answer ends once, and nobody is left', async () => {
      const ends = new Set<string>();
      for (let i = 0; i < 24; i++) {
        rig.callee.listen('answer');
        const dialing = await rig.place();
        for (let turn = 0; turn < i * 4; turn++) await setImmediate();
        await dialing.parked.channel.hangup('ORIGINATOR_CANCEL');
        ends.add((await end(dialing)).replace(/ (-|200)$/, ''));
      }
      expect([...ends]).to.deep.equal(['platform ORIGINATOR_CANCEL']);
      for (const call of rig.callee.received) await call.until(() => call.isOver || undefined, 'the end at the callee');
    });

    it('that gets its 200 twice is one call', async () => {
      const { call, dialing } = await invited();
      call.answer();
      expect(await dialing.answered).to.equal(true);
      await call.answered();
      call.answerAgain();
      await call.until(() => gets(call).filter((method) => method === 'ACK').length === 2 || undefined, 'a second ACK');
      await dialing.parked.channel.sendDigits('7');
      expect(call.heard.keys).to.equal('7');
      expect(gets(call)).not.to.include('BYE');
    });

    it('that is hung up at once after the answer was answered, and is over', async () => {
      for (let i = 0; i < 5; i++) {
        const { call, dialing } = await invited();
        call.answer();
        await call.hangup();
        expect(await end(dialing)).to.equal('caller NORMAL_CLEARING 200');
        expect(dialing.parked.channel.answered).to.equal(true);
        await dialing.answered;
      }
    });

    it('has keys, prompts, mute and hold as one that came in', async () => {
      const { call, channel } = await rig.called();
      let keys = '';
      const pressed = new Promise<void>((resolve) => channel.onDigit((digit) => {
        keys += digit;
        if (digit === '#') resolve();
      }));
      await call.press('12#');
      await pressed;
      expect(keys).to.equal('12#');
      const played = channel.play(long);
      await hearsTone(call, 600);
      await channel.mute('read');
      await hearsNothing(call);
      await channel.unmute('read');
      await channel.hold();
      await hearsMusic(call);
      await channel.resume();
      await hearsTone(call, 600);
      await channel.stopPlaying();
      expect(await played).to.equal('stopped');
    });

    it('has the far end left in its recording, as one that came in', async () => {
      const { call, channel } = await rig.called();
      const file = join(rig.folder, 'outbound.wav');
      await channel.startRecording(file);
      await channel.play(prompt);
      await channel.stopRecording(file);
      expect(call.heard.tone(600)).to.be.greaterThan(0.2);
      const { left, right } = await recorded(file);
      expect(left.tone(1000, 100, left.durationMs - 100)).to.be.greaterThan(0.9);
      expect(right.tone(600) * right.durationMs).to.be.greaterThan(700);
      expect(right.tone(1000)).to.be.lessThan(0.02);
    });

    it('is bridged to a second leg, which gets none of its headers, and goes on afterwards', async () => {
      const { call, channel } = await rig.called();
      rig.callee.listen('manual', { sound: () => tone(1400) });
      const trunks: string[] = [];
      const ended = channel.bridge({
        uris: ['sip:+15558888@192.0.2.8'], from: '+15551230001', timeoutSeconds: 20, headers: { 'X-MV-Call-ID': 'call_1' }, onTrunk: (id) => trunks.push(id),
      });
      const leg = await rig.callee.incoming();
      expect(leg.receivedText.match(/^X-MV-[^:]*/gm)).to.deep.equal(['X-MV-Call-ID', 'X-MV-Targets']);
      leg.ring([['X-MV-Trunk', 'trunk_1']]);
      await hearsTone(call, 425, 600);
      leg.answer([['X-MV-Trunk', 'trunk_2']]);
      await Promise.all([hearsTone(call, 1400), hearsTone(leg, 1000)]);
      expect(trunks).to.deep.equal(['trunk_1', 'trunk_2']);
      await channel.mute('write');
      await Promise.all([hearsTone(call, 1400), hearsNothing(leg)]);
      await leg.hangup();
      expect(await ended).to.deep.equal({ reached: true, cause: 'NORMAL_CLEARING', endedBy: 'callee' });
      await channel.sendDigits('7');
      expect(call.heard.keys).to.equal('7');
    });

    it('meets one that came in, in a conference', async () => {
      const one = await rig.called();
      const other = await rig.caller(tone(1400));
      const left = [one.channel.conference('room', { mute: false, endOnExit: false }), other.channel.conference('room', { mute: false, endOnExit: true })];
      await Promise.all([hearsTone(one.call, 1400), hearsTone(other.call, 1000)]);
      await other.channel.interrupt();
      await Promise.all(left);
      await one.channel.sendDigits('7');
      expect(one.call.heard.keys).to.equal('7');
    });

    it('that rings is taken over by the next control process, which hears of its answer', async () => {
      const { call, dialing } = await invited({ headers: { 'X-MV-Call-ID': 'call_1', 'X-MV-Owner': '1' } });
      call.ring([['X-MV-Trunk', 'trunk_1']]);
      await dialing.ringing;
      const { channel, headers, adopted, dialog } = await rig.restart();
      expect(channel.uuid).to.equal(dialing.parked.channel.uuid);
      expect(headers).to.deep.equal({ 'call-id': 'call_1', owner: '1', targets: 'sip:+15557777@192.0.2.7' });
      expect(Object.keys(adopted ?? {})).to.deep.equal(['dialing']);
      await adopted?.dialing?.ringing;
      expect(adopted?.dialing?.trunkId()).to.equal('trunk_1');
      expect(channel.answered).to.equal(false);
      call.answer();
      expect(await adopted?.dialing?.answered).to.equal(true);
      expect(rig.control.parked[0]?.dialog).to.deep.equal({ callId: call.callId, fromTag: call.dialog.remoteTag, toTag: call.dialog.localTag });
      expect(dialog.callId).to.equal(call.callId);
      await channel.sendDigits('7');
      expect(call.heard.keys).to.equal('7');
      expect(rig.control.parked).to.have.length(1);
    });

    it('that rings is cancelled by the next control process', async () => {
      const { call, dialing } = await invited();
      call.ring();
      await dialing.ringing;
      const { channel, adopted } = await rig.restart();
      await channel.hangup('ORIGINATOR_CANCEL');
      expect(await adopted?.dialing?.answered).to.equal(false);
      expect(await channel.ended).to.deep.include({ by: 'platform', cause: 'ORIGINATOR_CANCEL', sipCode: undefined });
      expect((await call.ended()).how).to.equal('cancel');
    });

    it('that is refused under the next control process is told of by it', async () => {
      const { call, dialing } = await invited();
      call.ring();
      await dialing.ringing;
      const { channel } = await rig.restart();
      call.refuse(486);
      expect(await channel.ended).to.deep.include({ by: 'caller', cause: 'USER_BUSY', sipCode: 486 });
    });

    it('that is answered is taken over by the next control process', async () => {
      const { call, dialing } = await invited();
      call.answer([['X-MV-Trunk', 'trunk_1']]);
      await dialing.answered;
      const { channel, adopted, dialog } = await rig.restart();
      expect(adopted).to.deep.equal({ trunkId: 'trunk_1' });
      expect(channel.answered).to.equal(true);
      expect(dialog).to.deep.equal({ callId: call.callId, fromTag: call.dialog.remoteTag, toTag: call.dialog.localTag });
      expect(await channel.play('silence_stream://100')).to.equal('finished');
      await call.hangup();
      expect(await channel.ended).to.deep.include({ by: 'caller', sipCode: 200 });
    });

    it('that is answered while the connection to the node is lost is told of when it is back', async () => {
      const { call, dialing } = await invited();
      call.ring();
      await dialing.ringing;
      await rig.without(async () => {
        call.answer();
        await call.answered();
      });
      expect(await dialing.answered).to.equal(true);
      await dialing.parked.channel.sendDigits('7');
      expect(call.heard.keys).to.equal('7');
      expect(rig.control.parked).to.deep.equal([]);
    });

    it('that ends while the connection to the node is lost is known to be over when it is back', async () => {
      const { call, dialing } = await invited();
      call.ring();
      await dialing.ringing;
      await rig.without(async () => {
        call.refuse(486);
        await call.until(() => gets(call).includes('ACK') || undefined, 'the ACK');
      });
      expect(await dialing.answered).to.equal(false);
      expect(await end(dialing)).to.equal('node MEDIA_NODE_LOST -');
    });

    it('is cancelled as soon as the connection is back when that was asked for without one', async () => {
      const { call, dialing } = await invited();
      call.ring();
      await dialing.ringing;
      let hangup: Promise<unknown> | undefined;
      await rig.without(async () => {
        // It may be over by the time that this is said.
        hangup = failure(dialing.parked.channel.hangup('ORIGINATOR_CANCEL'));
        await setImmediate();
      });
      await hangup;
      expect(await end(dialing)).to.equal('platform ORIGINATOR_CANCEL -');
      expect((await call.ended()).how).to.equal('cancel');
    });

    it('is not placed twice under one uuid, nor with what cannot be sent', async () => {
      rig.callee.listen('ring');
      const dialing = await rig.place();
      expect(await failure(rig.place({ uuid: dialing.parked.channel.uuid }))).to.be.instanceOf(MediaError);
      expect(await failure(rig.place({ headers: {} }))).to.be.instanceOf(MediaError);
      for (const value of ['a\r\nX-Other: b', 'a~b', "it's", '${uuid}', 'é']) {
        expect(await failure(rig.place({ headers: { 'X-MV-Call-ID': 'c', 'X-MV-A': value } })), value).to.be.instanceOf(MediaError);
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
      await rig.without(async () => expect(await failure(rig.control.media.originate({
        uuid: 'u', uris: ['sip:a@b'], from: '+1', ringSeconds: 5, headers: { 'X-MV-Call-ID': 'c' },
      }))).to.be.instanceOf(MediaError));
      while (!rig.control.media.nodes()[0]?.connected) await setImmediate();
      expect((await rig.called()).channel.answered).to.equal(true);
    });
  });
}

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { tone } from '../../../cli/phone/sound.ts';
import { KINDS } from './nodes.ts';
import { endOf, failure, gets, hearsMusic, hearsNothing, hearsTone, recorded, Rig, wav } from './rig.ts';

for (const kind of KINDS) {
  describe(`an outbound call that was placed on the ${kind} node`, function () {
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

    it('has keys, prompts, mute and hold as one that came in', async () => {
      const { call, channel } = await rig.called();
      let keys = '';
      const pressed = new Promise<void>((resolve) =>
        channel.onDigit((digit) => {
          keys += digit;
          if (digit === '#') resolve();
        }),
      );
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
        uris: ['sip:+15558888@192.0.2.8'],
        from: '+15551230001',
        timeoutSeconds: 20,
        headers: { 'X-MV-Call-ID': 'call_1' },
        onTrunk: (id) => trunks.push(id),
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
      const left = [
        one.channel.conference('room', { mute: false, endOnExit: false }),
        other.channel.conference('room', { mute: false, endOnExit: true }),
      ];
      await Promise.all([hearsTone(one.call, 1400), hearsTone(other.call, 1000)]);
      await other.channel.interrupt();
      await Promise.all(left);
      await one.channel.sendDigits('7');
      expect(one.call.heard.keys).to.equal('7');
    });

    it('that rings is taken over by the next control process, which hears of its answer', async () => {
      const { call, dialing } = await rig.invited({
        headers: { 'X-MV-Call-ID': 'call_1', 'X-MV-Owner': '1' },
      });
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
      expect(rig.control.parked[0]?.dialog).to.deep.equal({
        callId: call.callId,
        fromTag: call.dialog.remoteTag,
        toTag: call.dialog.localTag,
      });
      expect(dialog.callId).to.equal(call.callId);
      await channel.sendDigits('7');
      expect(call.heard.keys).to.equal('7');
      expect(rig.control.parked).to.have.length(1);
    });

    it('that rings is cancelled by the next control process', async () => {
      const { call, dialing } = await rig.invited();
      call.ring();
      await dialing.ringing;
      const { channel, adopted } = await rig.restart();
      await channel.hangup('ORIGINATOR_CANCEL');
      expect(await adopted?.dialing?.answered).to.equal(false);
      expect(await channel.ended).to.deep.include({
        by: 'platform',
        cause: 'ORIGINATOR_CANCEL',
        sipCode: undefined,
      });
      expect((await call.ended()).how).to.equal('cancel');
    });

    it('that is refused under the next control process is told of by it', async () => {
      const { call, dialing } = await rig.invited();
      call.ring();
      await dialing.ringing;
      const { channel } = await rig.restart();
      call.refuse(486);
      expect(await channel.ended).to.deep.include({ by: 'caller', cause: 'USER_BUSY', sipCode: 486 });
    });

    it('that is answered is taken over by the next control process', async () => {
      const { call, dialing } = await rig.invited();
      call.answer([['X-MV-Trunk', 'trunk_1']]);
      await dialing.answered;
      const { channel, adopted, dialog } = await rig.restart();
      expect(adopted).to.deep.equal({ trunkId: 'trunk_1' });
      expect(channel.answered).to.equal(true);
      expect(dialog).to.deep.equal({
        callId: call.callId,
        fromTag: call.dialog.remoteTag,
        toTag: call.dialog.localTag,
      });
      expect(await channel.play('silence_stream://100')).to.equal('finished');
      await call.hangup();
      expect(await channel.ended).to.deep.include({ by: 'caller', sipCode: 200 });
    });

    it('that is answered while the connection to the node is lost is told of when it is back', async () => {
      const { call, dialing } = await rig.invited();
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
      const { call, dialing } = await rig.invited();
      call.ring();
      await dialing.ringing;
      await rig.without(async () => {
        call.refuse(486);
        await call.until(() => gets(call).includes('ACK') || undefined, 'the ACK');
      });
      expect(await dialing.answered).to.equal(false);
      expect(await endOf(dialing)).to.equal('node MEDIA_NODE_LOST -');
    });

    it('is cancelled as soon as the connection is back when that was asked for without one', async () => {
      const { call, dialing } = await rig.invited();
      call.ring();
      await dialing.ringing;
      let hangup: Promise<unknown> | undefined;
      await rig.without(async () => {
        // It may be over by the time that this is said.
        hangup = failure(dialing.parked.channel.hangup('ORIGINATOR_CANCEL'));
        await setImmediate();
      });
      await hangup;
      expect(await endOf(dialing)).to.equal('platform ORIGINATOR_CANCEL -');
      expect((await call.ended()).how).to.equal('cancel');
    });
  });
}

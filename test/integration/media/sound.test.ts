import { access, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { ChannelGone, MediaError } from '../../../control/media/media.ts';
import { KINDS } from './nodes.ts';
import { failure, hearsMusic, hearsNothing, hearsTone, recorded, Rig, wav } from './rig.ts';

for (const kind of KINDS) {
  describe(`keys, mute, hold and recordings on the ${kind} node`, function () {
    this.timeout(30_000);
    let rig: Rig;
    let long: string;
    let short: string;

    before(async () => {
      rig = await Rig.open(kind);
      long = join(rig.folder, 'long.wav');
      short = join(rig.folder, 'short.wav');
      await writeFile(long, wav(1400, 15));
      await writeFile(short, wav(1400, 1));
    });

    after(() => rig.close());
    afterEach(() => rig.clear());

    it('sends keys, with pauses, and has sent them when it says so', async () => {
      const { call, channel } = await rig.caller();
      const from = performance.now();
      await channel.sendDigits('1234567890*#w');
      expect(call.heard.keys).to.equal('1234567890*#');
      expect(performance.now() - from).to.be.greaterThan(12 * 120 + 500);
      await channel.sendDigits('ABCD,W1');
      expect(call.heard.keys).to.equal('1234567890*#ABCD1');
    });

    it('sends keys while something plays', async () => {
      const { call, channel } = await rig.caller();
      const played = channel.play(short);
      await channel.sendDigits('42');
      expect(call.heard.keys).to.equal('42');
      expect(await played).to.equal('finished');
    });

    it('sends no keys after an interruption but those that were under way', async () => {
      const { call, channel } = await rig.caller();
      const sent = channel.sendDigits('12W3456');
      await call.heard.waitUntilKeys('12');
      await channel.interrupt();
      await sent;
      await channel.sendDigits('9');
      expect(call.heard.keys).to.equal('129');
    });

    it('refuses what is no key, and what a call that is not answered cannot have', async () => {
      const call = await rig.phone.call({
        to: '+15551230001',
        from: '+15552000',
        via: rig.node.sip,
        headers: [['X-MV-Call-ID', 'call_1']],
      });
      const { channel } = await rig.control.next();
      for (const act of [
        channel.sendDigits('1'),
        channel.mute('both'),
        channel.hold(),
        channel.startRecording(join(rig.folder, 'no.wav')),
      ]) {
        expect(await failure(act))
          .to.be.instanceOf(MediaError)
          .with.property('message', 'the call is not answered yet');
      }
      await channel.answer();
      await call.answered();
      expect(await failure(channel.sendDigits('1x'))).to.be.instanceOf(MediaError);
      expect(call.provisionals.map(({ code }) => code)).not.to.include(183);
    });

    it('silences what the caller hears, and nothing else, until it is taken back', async () => {
      const { call, channel } = await rig.caller();
      const played = channel.play(long);
      await hearsTone(call, 1400);
      await channel.mute('read');
      await channel.mute('read');
      await hearsNothing(call);
      await call.press('5');
      await channel.unmute('write');
      await hearsNothing(call);
      await channel.unmute('read');
      await hearsTone(call, 1400);
      await channel.stopPlaying();
      expect(await played).to.equal('stopped');
    });

    it('lets the caller hear music instead of prompts until it resumes', async () => {
      const { call, channel } = await rig.caller();
      await channel.hold();
      await channel.hold();
      await hearsMusic(call);
      expect(await channel.play(short)).to.equal('finished');
      expect(call.heard.tone(1400)).to.equal(0);
      const played = channel.play(long);
      await hearsMusic(call);
      await channel.resume();
      await channel.resume();
      await hearsTone(call, 1400);
      await channel.interrupt();
      expect(await played).to.equal('stopped');
      await hearsNothing(call);
    });

    it('knows after a restart that a caller is on hold', async () => {
      const { call, channel } = await rig.caller();
      await channel.hold();
      const { channel: adopted, adopted: doing } = await rig.restart();
      expect(doing).to.deep.equal({});
      await adopted.hold();
      await hearsMusic(call);
      await adopted.resume();
      await hearsNothing(call);
      void adopted.play(long);
      await hearsTone(call, 1400);
    });

    it('records the caller left and what the caller hears right', async () => {
      const { call, channel } = await rig.caller();
      const file = join(rig.folder, 'both.wav');
      await channel.startRecording(file);
      await channel.startRecording(file);
      await channel.play(short);
      await channel.mute('write');
      await channel.play('silence_stream://600');
      await channel.stopRecording(file);
      const { left, right } = await recorded(file);
      expect(left.durationMs).to.be.within(1500, 2400);
      expect(left.tone(600, 200, 900)).to.be.greaterThan(0.9);
      expect(left.silence(left.durationMs - 300)).to.equal(true);
      expect(right.tone(1400, 200, 900)).to.be.greaterThan(0.9);
      expect(right.silence(right.durationMs - 300)).to.equal(true);
      expect(right.tone(600)).to.equal(0);
      await channel.stopRecording(file);
      expect(call.isOver).to.equal(false);
    });

    it('has finished the recording of a call by the time it tells that the call has ended', async () => {
      const { call, channel } = await rig.caller();
      const file = join(rig.folder, 'cut.wav');
      await channel.startRecording(file);
      await channel.play('silence_stream://700');
      await call.hangup();
      await channel.ended;
      expect((await recorded(file)).left.tone(600, 100, 600)).to.be.greaterThan(0.9);
      expect(await failure(channel.stopRecording(file))).to.be.instanceOf(ChannelGone);
    });

    it('goes on recording while nobody is in control', async () => {
      const { channel } = await rig.caller();
      const file = join(rig.folder, 'restart.wav');
      await channel.startRecording(file);
      await channel.play('silence_stream://500');
      const { channel: adopted } = await rig.restart();
      await adopted.play(short);
      await adopted.stopRecording(file);
      const { left, right } = await recorded(file);
      expect(left.tone(600, 100, left.durationMs - 100)).to.be.greaterThan(0.95);
      expect(right.tone(1400, right.durationMs - 800, right.durationMs - 200)).to.be.greaterThan(0.9);
    });

    it('tells that a file cannot be written', async () => {
      const { channel } = await rig.caller();
      expect(await failure(channel.startRecording('/proc/nowhere/a.wav')))
        .to.be.instanceOf(MediaError)
        .with.property('message')
        .that.includes('Cannot record');
      expect(await failure(channel.startRecording(join(rig.folder, 'a b.wav')))).to.be.instanceOf(MediaError);
      expect(await failure(access(join(rig.folder, 'a b.wav')))).to.be.instanceOf(Error);
    });
  });
}

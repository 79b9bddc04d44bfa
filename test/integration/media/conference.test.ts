import { join } from 'node:path';
import { expect } from 'chai';
import { ChannelGone, MediaError } from '../../../control/media/media.ts';
import { tone } from '../../../cli/phone/sound.ts';
import { KINDS } from './nodes.ts';
import { failure, hearsMusic, hearsNothing, hearsTone, recorded, Rig } from './rig.ts';

for (const kind of KINDS) {
  describe(`a conference on the ${kind} node`, function () {
    this.timeout(30_000);
    let rig: Rig;
    const room = 'app_20260529T120000.000000000.Room-1_x';
    const plain = { mute: false, endOnExit: false };

    before(async () => {
      rig = await Rig.open(kind);
    });

    after(() => rig.close());
    afterEach(() => rig.clear());

    it('has music for one, and lets two and three hear each other', async () => {
      const one = await rig.caller(tone(600));
      const ends = [one.channel.conference(room, plain)];
      await hearsMusic(one.call);
      const two = await rig.caller(tone(1000));
      ends.push(two.channel.conference(room, plain));
      await Promise.all([hearsTone(one.call, 1000), hearsTone(two.call, 600)]);
      const three = await rig.caller(tone(1400));
      ends.push(three.channel.conference(room, { mute: true, endOnExit: false }));
      await three.call.heard.until(
        () => three.call.heard.loudest(three.call.heard.durationMs - 200) > 7000 || undefined,
        'two voices at once',
      );
      await Promise.all([hearsTone(one.call, 1000), hearsTone(two.call, 600)]);
      await three.channel.interrupt();
      await two.channel.interrupt();
      await hearsMusic(one.call);
      await one.channel.interrupt();
      await Promise.all(ends);
      for (const { call, channel } of [one, two, three]) {
        await hearsNothing(call);
        expect(await channel.play('silence_stream://100')).to.equal('finished');
      }
    });

    it('keeps rooms of different names apart, whatever is in the names', async () => {
      const callers = [
        await rig.caller(tone(600)),
        await rig.caller(tone(1000)),
        await rig.caller(tone(1400)),
        await rig.caller(tone(2000)),
      ];
      const rooms = [
        'app_a.room',
        'app_a.Room',
        'app_a.room@x+flags{endconf} ',
        'app_a.room@x+flags{endconf} ',
      ];
      for (const [i, { channel }] of callers.entries())
        void channel.conference(rooms[i] ?? '', plain).catch(() => undefined);
      const [one, two, three, four] = callers;
      if (!one || !two || !three || !four) throw new Error('four callers');
      await Promise.all([
        hearsMusic(one.call),
        hearsMusic(two.call),
        hearsTone(three.call, 2000),
        hearsTone(four.call, 1400),
      ]);
    });

    it('goes on when somebody hangs up, and ends for all with one that is said to end it', async () => {
      const one = await rig.caller(tone(600));
      const two = await rig.caller(tone(1000));
      const host = await rig.caller(tone(1400));
      const ends = [
        one.channel.conference(room, plain),
        two.channel.conference(room, { mute: true, endOnExit: false }),
      ];
      const hosted = failure(host.channel.conference(room, { mute: false, endOnExit: true }));
      const leaver = await rig.caller(tone(2000));
      const left = failure(leaver.channel.conference(room, plain));
      await leaver.call.heard.until(
        () => leaver.call.heard.loudest(leaver.call.heard.durationMs - 200) > 3000 || undefined,
        'the others',
      );
      await leaver.call.hangup();
      expect(await left).to.be.instanceOf(ChannelGone);
      await hearsTone(one.call, 1400);
      await host.call.hangup();
      expect(await hosted).to.be.instanceOf(ChannelGone);
      await Promise.all(ends);
      for (const { call, channel } of [one, two]) {
        await hearsNothing(call);
        expect(await channel.play('silence_stream://100')).to.equal('finished');
        expect(call.isOver).to.equal(false);
      }
    });

    it('ends for all when one that is said to end it is interrupted', async () => {
      const one = await rig.caller(tone(600));
      const host = await rig.caller(tone(1400));
      const ends = [
        one.channel.conference(room, plain),
        host.channel.conference(room, { mute: true, endOnExit: true }),
      ];
      await hearsTone(host.call, 600);
      await host.channel.interrupt();
      await Promise.all(ends);
      expect(await one.channel.play('silence_stream://100')).to.equal('finished');
    });

    it('takes keys, mute, hold and recordings as they are without', async () => {
      const one = await rig.caller(tone(600));
      const two = await rig.caller(tone(1000));
      const file = join(rig.folder, 'room.wav');
      const pressed: string[] = [];
      one.channel.onDigit((digit) => pressed.push(digit));
      const ends = [one.channel.conference(room, plain), two.channel.conference(room, plain)];
      await Promise.all([hearsTone(one.call, 1000), hearsTone(two.call, 600)]);
      await one.channel.startRecording(file);
      await hearsTone(one.call, 1000);
      await one.channel.stopRecording(file);
      await one.channel.mute('write');
      await Promise.all([hearsTone(one.call, 1000), hearsNothing(two.call)]);
      await one.channel.unmute('write');
      await one.channel.hold();
      await Promise.all([hearsMusic(one.call), hearsNothing(two.call)]);
      await one.channel.resume();
      await Promise.all([hearsTone(one.call, 1000), hearsTone(two.call, 600)]);
      await one.channel.sendDigits('12');
      expect(one.call.heard.keys).to.equal('12');
      await one.call.press('5');
      await one.call.press('*');
      await hearsTone(one.call, 1000);
      expect(pressed.join('')).to.equal('5*');
      await one.channel.interrupt();
      await two.channel.interrupt();
      await Promise.all(ends);
      const { left, right } = await recorded(file);
      expect(left.tone(600)).to.be.greaterThan(0.8);
      expect(right.tone(1000)).to.be.greaterThan(0.8);
    });

    it('is left by nobody else when one is interrupted who has just come back', async () => {
      const one = await rig.caller(tone(600));
      const two = await rig.caller(tone(1000));
      const first = two.channel.conference(room, plain);
      await hearsMusic(two.call);
      await two.channel.interrupt();
      await first;
      const stays = one.channel.conference(room, plain);
      await hearsMusic(one.call);
      const again = two.channel.conference(room, plain);
      await two.channel.interrupt();
      await again;
      await hearsMusic(one.call);
      await one.channel.interrupt();
      await stays;
    });

    it('is taken over by the next control process, which hears of its end', async () => {
      const { call, channel } = await rig.caller();
      void channel.conference('a room that has no plain name', plain).catch(() => undefined);
      await hearsMusic(call);
      const { channel: adopted, adopted: doing } = await rig.restart();
      expect(Object.keys(doing ?? {})).to.deep.equal(['conferencing']);
      await hearsMusic(call);
      await adopted.interrupt();
      await doing?.conferencing?.finished;
      expect(await adopted.play('silence_stream://100')).to.equal('finished');
      const { channel: third, adopted: idle } = await rig.restart();
      expect(idle).to.deep.equal({});
      void third.conference('again', plain).catch(() => undefined);
      await hearsMusic(call);
      const { channel: fourth, adopted: then } = await rig.restart();
      const ended = failure(then?.conferencing?.finished ?? Promise.resolve());
      await call.hangup();
      expect(await ended).to.be.instanceOf(ChannelGone);
      await fourth.ended;
    });

    it('that ends while the connection to the node is lost is known to have ended when it is back', async () => {
      const one = await rig.caller(tone(600));
      const host = await rig.caller(tone(1000));
      const ended = one.channel.conference(room, plain);
      const hosted = failure(host.channel.conference(room, { mute: false, endOnExit: true }));
      await hearsTone(one.call, 1000);
      await rig.without(async () => {
        await host.call.hangup();
        await hearsNothing(one.call);
      });
      await ended;
      expect(await hosted).to.be.instanceOf(ChannelGone);
      expect(await one.channel.play('silence_stream://100')).to.equal('finished');
    });

    it('refuses a second one at the same time', async () => {
      const { call, channel } = await rig.caller();
      const ended = channel.conference(room, plain);
      await hearsMusic(call);
      expect(await failure(channel.conference('another', plain))).to.be.instanceOf(MediaError);
      await channel.interrupt();
      await ended;
    });
  });
}

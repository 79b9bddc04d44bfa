import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { ChannelGone, MediaError, type Digit, type ParkedChannel } from '../../../control/media/media.ts';
import type { NodeTimings } from '../../../control/media/node.ts';
import { Phone, type Call } from '../../support/phone.ts';
import { Watched } from '../../../cli/phone/wait.ts';
import { writeWav } from '../../../cli/phone/wav.ts';
import { Control } from './control.ts';
import { EslProxy, KINDS, TestNode } from './nodes.ts';

const tone = (frequency: number, seconds: number): Buffer =>
  writeWav({
    rate: 8000,
    samples: Int16Array.from({ length: 8000 * seconds }, (_, i) =>
      Math.round(8000 * Math.sin((2 * Math.PI * frequency * i) / 8000)),
    ),
  });

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

for (const kind of KINDS) {
  describe(`the media nodes' driver on the ${kind} node`, function () {
    this.timeout(30_000);
    let node: TestNode;
    let phone: Phone;
    let folder: string;
    let control: Control;
    let proxy: EslProxy | undefined;

    before(async () => {
      node = await TestNode.start(kind);
      phone = await Phone.open({ address: '127.0.0.1' });
      folder = await mkdtemp(join(tmpdir(), 'media-files-'));
      await writeFile(join(folder, '440.wav'), tone(440, 1));
      await writeFile(join(folder, '440-long.wav'), tone(440, 15));
      await writeFile(join(folder, '1000.wav'), tone(1000, 1));
    });

    after(async () => {
      await phone.close();
      await node.close();
      await rm(folder, { recursive: true, force: true });
    });

    beforeEach(async () => {
      control = new Control(node);
      await control.media.reconciled;
    });

    afterEach(async () => {
      for (const { channel } of control.parked)
        await channel.hangup('NORMAL_CLEARING').catch(() => undefined);
      await Promise.all(control.parked.map(({ channel }) => channel.ended));
      await control.media.stop();
      proxy?.close();
      proxy = undefined;
    });

    const ring = (headers: [string, string][] = []): Promise<Call> =>
      phone.call({
        to: '+15551230001',
        from: '+15552000',
        via: node.sip,
        headers: [['X-MV-Call-ID', 'call_1'], ...headers],
      });

    const connected = async (
      on = control,
    ): Promise<{ call: Call; parked: ParkedChannel; channel: ParkedChannel['channel'] }> => {
      const count = on.parked.length + 1;
      const call = await ring();
      const parked = await on.next(count);
      await parked.channel.answer();
      await call.answered();
      return { call, parked, channel: parked.channel };
    };

    /** Plays a file of one second, and hears it whole. */
    const heardWhole = async (
      call: Call,
      channel: ParkedChannel['channel'],
      frequency: 440 | 1000,
    ): Promise<void> => {
      const [result] = await Promise.all([
        channel.play(join(folder, `${frequency}.wav`)),
        call.heard.waitUntilTone(frequency, 900),
      ]);
      expect(result).to.equal('finished');
    };

    /** The same calls, driven through a connection that the test can cut. */
    const throughProxy = async (timings: Partial<NodeTimings> = {}): Promise<EslProxy> => {
      await control.media.stop();
      proxy = await EslProxy.to(node);
      control = new Control(node, { eslPort: proxy.port, timings });
      await control.media.reconciled;
      return proxy;
    };

    it('a caller whose CANCEL crosses the answer was answered exactly where it got the 200', async () => {
      for (let i = 1; i <= 40; i++) {
        const call = await ring();
        const { channel } = await control.next(i);
        const answering = channel
          .answer()
          .catch((error: unknown) => expect(error).to.be.instanceOf(ChannelGone));
        await call.cancel();
        const { code } = await call.final();
        const end = await channel.ended;
        await answering;
        expect([end.by, end.sipCode], `the caller got ${code}`).to.deep.equal(['caller', code]);
        expect(channel.answered, `the caller got ${code}`).to.equal(code === 200);
      }
    });

    it('hands over a parked call once, with its headers and its dialog', async () => {
      const call = await ring([
        ['X-MV-From', '+15552000 "é%41"'],
        ['X-MV-Customer', 'cust_1'],
      ]);
      const { channel, headers, dialog, adopted } = await control.next();
      const toTag = /;tag=([^;>\s]+)/.exec((await call.provisional(180)).headers.to ?? '')?.[1];
      expect(headers).to.deep.include({ 'call-id': 'call_1', from: '+15552000 "é%41"', customer: 'cust_1' });
      expect(dialog).to.deep.equal({ callId: call.callId, fromTag: call.dialog.localTag, toTag });
      expect(channel.answered).to.equal(false);
      expect(channel.node).to.equal(`127.0.0.1:${node.sipPort}`);
      expect(adopted).to.equal(undefined);
      await channel.answer();
      await channel.play('silence_stream://100');
      expect(control.parked).to.have.length(1);
    });

    it('leaves calls alone that are not ours', async () => {
      const stranger = await phone.call({ to: '+15551230001', from: '+15552000', via: node.sip });
      expect((await stranger.final()).code).to.equal(403);
      await connected();
      expect(control.parked).to.have.length(1);
    });

    it('answers, and plays one file after the other to its end', async () => {
      const { call, channel } = await connected();
      expect(channel.answered).to.equal(true);
      await channel.answer();
      await heardWhole(call, channel, 440);
      await heardWhole(call, channel, 1000);
    });

    it('fails a playback of a file that is not there, and goes on', async () => {
      const { call, channel } = await connected();
      const error = await failure(channel.play(join(folder, 'nothing.wav')));
      expect(error).to.be.instanceOf(MediaError).with.property('message').that.includes('FILE NOT FOUND');
      await heardWhole(call, channel, 440);
    });

    it('refuses to play what could be read as something else than a file', async () => {
      const { channel } = await connected();
      for (const source of [
        '440.wav',
        '/a\nexecute-app-name: hangup',
        '/${caller_id_number}',
        'shout://x/y.mp3',
        '/a@@1',
      ]) {
        expect(await failure(channel.play(source)), source).to.be.instanceOf(MediaError);
      }
    });

    it('stops a playback, and what is asked for at once after it is heard whole', async () => {
      const { call, channel } = await connected();
      const first = channel.play(join(folder, '440-long.wav'));
      await call.heard.waitUntilTone(440);
      const stopped = channel.stopPlaying();
      const second = heardWhole(call, channel, 1000);
      expect(await first).to.equal('stopped');
      await stopped;
      await second;
    });

    it('stops a playback in the instant it was asked for', async () => {
      const { call, channel } = await connected();
      for (let i = 0; i < 10; i++) {
        const playing = channel.play(join(folder, '440-long.wav'));
        // Before it is sent, before the node has it, or while it begins.
        for (let turn = 0; turn < i; turn++) await setImmediate();
        await channel.stopPlaying();
        expect(await playing).to.equal('stopped');
      }
      await heardWhole(call, channel, 1000);
    });

    it('has nothing to stop where nothing plays, and harms nothing that is played after it', async () => {
      const { call, channel } = await connected();
      await channel.stopPlaying();
      await channel.play(join(folder, '440.wav'));
      await channel.stopPlaying();
      await heardWhole(call, channel, 1000);
    });

    it('tells of every key, in silence and in a playback, which none of them stops', async () => {
      const { call, channel } = await connected();
      const keys: Digit[] = [];
      const heard = new Watched();
      const stop = channel.onDigit((digit) => {
        keys.push(digit);
        heard.changed();
      });
      await call.press('1*');
      const playing = channel.play(join(folder, '440.wav'));
      await call.press('*#5');
      expect(await playing).to.equal('finished');
      await heard.until(
        () => (keys.join('') === '1**#5' ? true : undefined),
        () => `the keys, got ${keys.join('')}`,
      );
      stop();
      await call.press('9');
      await channel.play('silence_stream://300');
      expect(keys.join('')).to.equal('1**#5');
    });

    it('ends with the caller who hangs up in a playback', async () => {
      const { call, channel } = await connected();
      const playing = failure(channel.play(join(folder, '440-long.wav')));
      await call.heard.waitUntilTone(440);
      await call.hangup();
      expect(await playing).to.be.instanceOf(ChannelGone);
      expect(await channel.ended).to.deep.include({ by: 'caller', cause: 'NORMAL_CLEARING', sipCode: 200 });
      for (const late of [
        channel.answer(),
        channel.play('silence_stream://100'),
        channel.stopPlaying(),
        channel.refuse(486),
        channel.hangup('NORMAL_CLEARING'),
      ]) {
        expect(await failure(late)).to.be.instanceOf(ChannelGone);
      }
      expect(control.media.counters().channels).to.equal(0);
      expect(control.media.mayHave(channel.uuid)).to.equal(false);
    });

    it('ends with the caller who gives up before the answer', async () => {
      const call = await ring();
      const { channel } = await control.next();
      await call.cancel();
      expect(await channel.ended).to.deep.include({ by: 'caller', cause: 'ORIGINATOR_CANCEL', sipCode: 487 });
    });

    for (const code of [403, 404, 480, 486, 503, 603]) {
      it(`refuses a call with ${code}`, async () => {
        const call = await ring();
        const { channel } = await control.next();
        await channel.refuse(code);
        expect((await call.final()).code).to.equal(code);
        expect(await channel.ended).to.deep.include({ by: 'platform', sipCode: code });
      });
    }

    it('does not refuse a call that is answered', async () => {
      const { channel } = await connected();
      expect(await failure(channel.refuse(486))).to.be.instanceOf(MediaError);
    });

    it('hangs up, and says so', async () => {
      const { call, channel } = await connected();
      const playing = failure(channel.play(join(folder, '440-long.wav')));
      await channel.hangup('NORMAL_CLEARING');
      expect((await call.ended()).by).to.equal('remote');
      expect(await playing).to.be.instanceOf(ChannelGone);
      expect(await channel.ended).to.deep.include({ by: 'platform', cause: 'NORMAL_CLEARING', sipCode: 200 });
    });

    it('sends an unanswered caller the code of the cause', async () => {
      const call = await ring();
      const { channel } = await control.next();
      await channel.hangup('USER_BUSY');
      expect((await call.final()).code).to.equal(486);
      expect(await channel.ended).to.deep.include({ by: 'platform', cause: 'USER_BUSY', sipCode: 486 });
    });

    it('adopts a call of an earlier process in its playback, and hears of its end', async () => {
      const { call, channel } = await connected();
      void channel.play(join(folder, '440-long.wav'));
      await call.heard.waitUntilTone(440);
      await control.media.stop();
      control.parked.length = 0;

      control = new Control(node);
      const found = await control.next();
      expect(found.channel.uuid).to.equal(channel.uuid);
      expect(found.channel.answered).to.equal(true);
      expect(found.headers['call-id']).to.equal('call_1');
      expect(found.dialog.callId).to.equal(call.callId);
      expect(found.adopted?.playing?.source).to.equal(join(folder, '440-long.wav'));
      await found.channel.stopPlaying();
      expect(await found.adopted?.playing?.finished).to.equal('stopped');
      await heardWhole(call, found.channel, 1000);
      await control.media.reconciled;
      expect(control.parked).to.have.length(1);
    });

    it('adopts a playback that ends by itself', async () => {
      const { call, channel } = await connected();
      void channel.play(join(folder, '440.wav'));
      await call.heard.waitUntilTone(440, 100);
      await control.media.stop();
      control.parked.length = 0;
      control = new Control(node);
      const { adopted } = await control.next();
      expect(await adopted?.playing?.finished).to.equal('finished');
    });

    it('adopts a call whose playback is over as one in which nothing plays', async () => {
      const { channel } = await connected();
      await channel.play(join(folder, '440.wav'));
      await control.media.stop();
      control.parked.length = 0;
      control = new Control(node);
      expect((await control.next()).adopted).to.deep.equal({});
    });

    it('adopts a ringing call', async () => {
      const call = await ring();
      await control.next();
      await call.provisional(180);
      await control.media.stop();
      control.parked.length = 0;
      control = new Control(node);
      const { channel, adopted } = await control.next();
      expect(adopted).to.deep.equal({});
      expect(channel.answered).to.equal(false);
      await channel.answer();
      await call.answered();
    });

    it('waits for a playback that goes on over a lost connection', async () => {
      const wire = await throughProxy();
      const { call, channel } = await connected();
      const playing = channel.play(join(folder, '440-long.wav'));
      await call.heard.waitUntilTone(440);
      wire.cut();
      await control.until(
        () => (control.media.nodes()[0]?.connected ? poll(control) : true),
        'the loss of the connection',
      );
      wire.mend();
      const digits: Digit[] = [];
      channel.onDigit((digit) => digits.push(digit));
      await channel.stopPlaying();
      expect(await playing).to.equal('stopped');
      expect(control.parked).to.have.length(1);
    });

    it('finishes a playback that ended while there was no connection', async () => {
      const wire = await throughProxy();
      const { call, channel } = await connected();
      const playing = channel.play(join(folder, '440.wav'));
      await call.heard.waitUntilTone(440, 100);
      wire.cut();
      await call.heard.waitUntilTone(440, 900);
      wire.mend();
      expect(await playing).to.equal('finished');
    });

    it('carries out what is asked for without a connection when there is one again', async () => {
      const wire = await throughProxy();
      const call = await ring();
      const { channel } = await control.next();
      wire.cut();
      const answered = channel.answer();
      const heard = answered.then(() => heardWhole(call, channel, 440));
      wire.mend();
      await heard;
    });

    it('learns on the next connection that a call has ended', async () => {
      const wire = await throughProxy();
      const { call, channel } = await connected();
      wire.cut();
      await call.hangup();
      wire.mend();
      expect(await channel.ended).to.deep.include({ by: 'node', cause: 'MEDIA_NODE_LOST' });
    });

    it('gives up the calls of a node that stays away, and takes them up again when it has them after all', async () => {
      const wire = await throughProxy({ graceMs: 300 });
      const { channel } = await connected();
      const playing = failure(channel.play(join(folder, '440-long.wav')));
      wire.cut();
      expect(await channel.ended).to.deep.include({ by: 'node', cause: 'MEDIA_NODE_LOST' });
      expect(await playing).to.be.instanceOf(ChannelGone);
      expect(control.media.mayHave(channel.uuid)).to.equal(false);
      wire.mend();
      const again = await control.next(2);
      expect(again.channel.uuid).to.equal(channel.uuid);
      await again.channel.hangup('NORMAL_CLEARING');
      await again.channel.ended;
    });

    it('notices a node that hangs, and takes its calls up again when it goes on', async () => {
      await throughProxy({ keepAliveMs: 100, commandMs: 300, openMs: 300, graceMs: 300 });
      const { channel } = await connected();
      node.freeze();
      try {
        expect(await channel.ended).to.deep.include({ by: 'node', cause: 'MEDIA_NODE_LOST' });
      } finally {
        node.thaw();
      }
      const again = await control.next(2);
      expect([again.channel.uuid, again.channel.answered]).to.deep.equal([channel.uuid, true]);
      await again.channel.hangup('NORMAL_CLEARING');
      await again.channel.ended;
    });

    it('keeps many calls at once apart, and forgets them all', async () => {
      const calls = await Promise.all(
        Array.from({ length: 30 }, (_, i) => ring([['X-MV-Number', String(i)]])),
      );
      await control.next(30);
      const results = await Promise.all(
        control.parked.map(async ({ channel }) => {
          await channel.answer();
          const short = await channel.play('silence_stream://40');
          const long = channel.play(join(folder, '440-long.wav'));
          const queued = channel.play(join(folder, '440.wav'));
          await setImmediate(); // They are on their way.
          await channel.stopPlaying();
          return [short, await long, await queued].join(' ');
        }),
      );
      expect(new Set(results)).to.deep.equal(new Set(['finished stopped stopped']));
      await Promise.all(calls.slice(0, 15).map((call) => call.answered().then(() => call.hangup())));
      await Promise.all(
        control.parked.map(({ channel }) => channel.hangup('NORMAL_CLEARING').catch(() => undefined)),
      );
      const ends = await Promise.all(control.parked.map(({ channel }) => channel.ended));
      expect(ends.filter(({ by }) => by === 'caller')).to.have.length(15);
      expect(control.media.counters()).to.deep.equal({ channels: 0, pendingCommands: 0 });
    });

    it('loses the calls of a node that is killed, and works with the one that takes its place', async () => {
      const { channel } = await connected();
      await node.kill();
      await node.run();
      expect(await channel.ended).to.deep.include({ by: 'node', cause: 'MEDIA_NODE_LOST' });
      const { call, channel: next } = await connected();
      await heardWhole(call, next, 440);
    });
  });
}

/** Lets `until` look again soon: a node's state changes without announcing itself. */
function poll(watched: Watched): undefined {
  setTimeout(() => watched.changed(), 20);
  return undefined;
}

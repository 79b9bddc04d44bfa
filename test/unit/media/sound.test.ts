import { expect } from 'chai';
import { ChannelGone, MediaError, type Channel } from '../../../control/media/media.ts';
import { Driver, hangUp } from './driver.ts';
import { FakeEsl } from './fake-esl.ts';

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('keys and what is laid over the sound of a channel', () => {
  let node: FakeEsl;
  let driver: Driver;
  let channel: Channel;

  beforeEach(async () => {
    node = await FakeEsl.start();
    driver = new Driver([node]).start();
    channel = await driver.answered(node, 'a');
    node.commands.length = 0;
  });

  afterEach(async () => {
    await driver.media.stop();
    await node.close();
  });

  it('sends keys in small portions, and pauses by itself', async () => {
    await channel.sendDigits('1w2,3');
    expect(node.commands).to.deep.equal(['1', '2', '3'].map((key) => `api uuid_send_dtmf a ${key}@120`));
    node.commands.length = 0;
    const sent = channel.sendDigits('1234567890');
    await node.command('api uuid_send_dtmf a 12345678@120');
    await channel.interrupt();
    await sent;
    expect(node.count('api uuid_send_dtmf')).to.equal(1);
  });

  it('sends what is asked for at the same time one after the other', async () => {
    await Promise.all([channel.sendDigits('1w1'), channel.sendDigits('2')]);
    expect(node.commands.map((command) => command.slice(-5))).to.deep.equal(['1@120', '1@120', '2@120']);
  });

  it('sends no key twice when the connection is lost', async () => {
    node.handlers.set('api uuid_send_dtmf', () => node.drop());
    await channel.sendDigits('12');
    expect(node.count('api uuid_send_dtmf')).to.equal(1);
  });

  it('stops sending with the channel, and at once', async () => {
    const sent = failure(channel.sendDigits('1WWWWWWWWWWWWWWWWWWWWWWWW'));
    await node.command('api uuid_send_dtmf');
    hangUp(node, 'a');
    expect(await sent).to.be.instanceOf(ChannelGone);
  });

  it('names directions as the node does, which reads what the caller says', async () => {
    await channel.mute('write');
    await channel.unmute('read');
    await channel.mute('both');
    expect(node.commands).to.deep.equal(
      ['read mute 1', 'write mute 0', 'read mute 1', 'write mute 1'].map(
        (rest) => `api uuid_audio a start ${rest}`,
      ),
    );
  });

  it('gives a command again when the connection is lost before the reply', async () => {
    node.handlers.set('api uuid_audio', () => {
      node.handlers.delete('api uuid_audio');
      node.drop();
    });
    await channel.mute('write');
    expect(node.count('api uuid_audio a start read mute 1')).to.equal(2);
  });

  it('takes a refusal to hold or resume for done only where it is so already', async () => {
    node.handlers.set('api uuid_getvar a hold_music', (session) => session.api('tone_stream://%(1,1,1)'));
    node.handlers.set('api uuid_displace', (session) => session.api('-ERR Cannot displace session!\n'));
    node.handlers.set('api uuid_buglist', (session) =>
      session.api('<media-bug>\n<function>displace</function>'),
    );
    await channel.hold();
    expect(await failure(channel.resume())).to.be.instanceOf(MediaError);
    expect(node.commands.filter((command) => command.includes('displace'))).to.deep.equal([
      'api uuid_displace a start tone_stream://%(1,1,1) 0 l',
      'api uuid_displace a stop tone_stream://%(1,1,1)',
    ]);
    node.handlers.set('api uuid_buglist', (session) => session.api('<media-bugs>\n</media-bugs>'));
    await channel.resume();
    expect(await failure(channel.hold())).to.be.instanceOf(MediaError);
    node.handlers.set('api uuid_getvar a hold_music', (session) => session.api('_undef_'));
    expect(await failure(channel.hold()))
      .to.be.instanceOf(MediaError)
      .with.property('message')
      .that.includes('hold_music');
  });

  it('records in stereo into a plain path, and is content when there was nothing to stop', async () => {
    await channel.startRecording('/r/a.wav');
    expect(node.commands).to.deep.equal([
      'api uuid_setvar a RECORD_STEREO true',
      'api uuid_setvar a RECORD_PRE_BUFFER_FRAMES 5',
      'api uuid_record a start /r/a.wav',
    ]);
    for (const file of ['a.wav', '/r/a b.wav', '/r/a.mp3', '/r/${a}.wav', '/r/a.wav\nexit', ''])
      expect(await failure(channel.startRecording(file)), file).to.be.instanceOf(MediaError);
    node.handlers.set('api uuid_record a stop', (session) =>
      session.api('-ERR Cannot stop record session!\n'),
    );
    await channel.stopRecording('/r/a.wav');
    node.handlers.set('api uuid_record a stop', (session) => session.api('-ERR something else\n'));
    expect(await failure(channel.stopRecording('/r/a.wav')))
      .to.be.instanceOf(MediaError)
      .with.property('message', '-ERR something else');
  });

  it('has nothing of it for a call without an answer', async () => {
    const { channel: ringing } = await driver.call(node, 'b');
    node.commands.length = 0;
    for (const act of [
      ringing.mute('read'),
      ringing.hold(),
      ringing.startRecording('/r/a.wav'),
      ringing.sendDigits('1'),
      ringing.conference('r', { mute: false, endOnExit: false }),
    ]) {
      expect(await failure(act))
        .to.be.instanceOf(MediaError)
        .with.property('message', 'the call is not answered yet');
    }
    expect(node.commands).to.deep.equal([]);
  });
});

import { expect } from 'chai';
import { endOf, playingNow } from '../../../control/media/channel-state.ts';
import { ChannelGone, MediaError, type Digit } from '../../../control/media/media.ts';
import { complete, Driver, hangUp, idOf, isSettled, summary } from './driver.ts';
import { channelHeaders, FakeEsl } from './fake-esl.ts';

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('a channel on a media node', () => {
  let node: FakeEsl;
  let driver: Driver;

  beforeEach(async () => {
    node = await FakeEsl.start();
    driver = new Driver([node]).start();
  });

  afterEach(async () => {
    await driver.media.stop();
    await node.close();
  });

  /** The node runs what is in the channel's queue: `set` at once, a playback when the test says so. */
  const markersPass = (uuid: string): void => {
    node.handlers.set(`sendmsg ${uuid}`, (session, command) => {
      session.reply('+OK');
      if (command.includes('execute-app-name: set')) complete(node, uuid, idOf(command), '_none_', 'set');
    });
  };

  it('is answered when the node says so, not before', async () => {
    const { channel } = await driver.call(node, 'a');
    node.handlers.set('bgapi', (session, command) => {
      session.reply('+OK');
      session.event('BACKGROUND_JOB', { 'Job-UUID': /^Job-UUID: (\S+)$/m.exec(command)?.[1] ?? '' }, '+OK\n');
    });
    const answered = channel.answer();
    await node.command('bgapi uuid_answer a');
    // A key that comes after the job's result: when it is seen, so is that.
    const pressed = new Promise((resolve) => channel.onDigit(resolve));
    node.session.event('DTMF', { 'Unique-ID': 'a', 'DTMF-Digit': '1' });
    await pressed;
    expect(await isSettled(answered)).to.equal(false);
    node.session.event('CHANNEL_ANSWER', channelHeaders('a'));
    await answered;
    expect(channel.answered).to.equal(true);
    await channel.answer();
    expect(node.count('bgapi')).to.equal(1);
  });

  it('that goes while it is answered is gone', async () => {
    const { channel } = await driver.call(node, 'a');
    node.handlers.set('bgapi', (session, command) => {
      session.reply('+OK');
      session.event(
        'BACKGROUND_JOB',
        { 'Job-UUID': /^Job-UUID: (\S+)$/m.exec(command)?.[1] ?? '' },
        '-ERROR\n',
      );
      hangUp(node, 'a', {
        'Hangup-Cause': 'ORIGINATOR_CANCEL',
        variable_sip_hangup_disposition: 'recv_cancel',
      });
    });
    expect(await failure(channel.answer())).to.be.instanceOf(ChannelGone);
    expect(summary(await channel.ended)).to.equal('caller ORIGINATOR_CANCEL 487');
  });

  it('tells the words of a node that cannot answer', async () => {
    const { channel } = await driver.call(node, 'a');
    node.handlers.set('bgapi', (session, command) => {
      session.reply('+OK');
      session.event(
        'BACKGROUND_JOB',
        { 'Job-UUID': /^Job-UUID: (\S+)$/m.exec(command)?.[1] ?? '' },
        '-ERROR\n',
      );
    });
    expect(await failure(channel.answer()))
      .to.be.instanceOf(MediaError)
      .with.property('message', '-ERROR');
  });

  it('plays by a name of its own for each playback, and knows their ends apart', async () => {
    const channel = await driver.answered(node, 'a');
    const first = channel.play('/p/same.wav');
    const second = channel.play('/p/same.wav');
    const [one, two] = [idOf(await node.command('sendmsg a', 1)), idOf(await node.command('sendmsg a', 2))];
    expect(await node.command('sendmsg a')).to.equal(
      `sendmsg a\ncall-command: execute\nexecute-app-name: playback\nexecute-app-arg: /p/same.wav\nevent-lock: true\nEvent-UUID: ${one}`,
    );
    complete(node, 'a', 'somebody else');
    complete(node, 'a', two, 'FILE NOT FOUND');
    expect(await failure(second))
      .to.be.instanceOf(MediaError)
      .with.property('message', 'FILE NOT FOUND: /p/same.wav');
    expect(await isSettled(first)).to.equal(false);
    complete(node, 'a', one);
    expect(await first).to.equal('finished');
  });

  it('takes no verdict on a playback from a node that is tearing the channel down', async () => {
    const channel = await driver.answered(node, 'a');
    const played = failure(channel.play('/p/a.wav'));
    const id = idOf(await node.command('sendmsg a'));
    node.session.event('CHANNEL_EXECUTE_COMPLETE', {
      'Unique-ID': 'a',
      Application: 'playback',
      'Application-UUID': id,
      'Application-Response': 'PLAYBACK ERROR',
      'Answer-State': 'hangup',
    });
    hangUp(node, 'a');
    expect(await played).to.be.instanceOf(ChannelGone);
  });

  it('calls a stopped playback stopped, although the node says FILE PLAYED', async () => {
    const channel = await driver.answered(node, 'a');
    const played = channel.play('/p/a.wav');
    const id = idOf(await node.command('sendmsg a'));
    const stopped = channel.stopPlaying();
    const marker = idOf(await node.command('sendmsg a', 2));
    complete(node, 'a', id, 'FILE PLAYED');
    expect(await played).to.equal('stopped');
    complete(node, 'a', marker, '_none_', 'set');
    await stopped;
  });

  it('calls stopped what vanished from the queue without a word', async () => {
    const channel = await driver.answered(node, 'a');
    markersPass('a');
    const both = [channel.play('/p/1.wav'), channel.play('/p/2.wav')];
    await node.command('sendmsg a', 2);
    await channel.stopPlaying();
    expect(await Promise.all(both)).to.deep.equal(['stopped', 'stopped']);
    expect(node.count('api uuid_break a all')).to.equal(1);
  });

  it('stops again when the node has missed it, and what follows waits', async () => {
    const channel = await driver.answered(node, 'a');
    const played = channel.play('/p/long.wav');
    const id = idOf(await node.command('sendmsg a'));
    const stopped = channel.stopPlaying();
    const next = channel.play('/p/next.wav');
    await node.command('api uuid_break a all', 2);
    const marker = idOf(await node.command('sendmsg a', 3));
    expect(node.commands.some((command) => command.includes('/p/next.wav'))).to.equal(false);
    complete(node, 'a', id);
    complete(node, 'a', marker, '_none_', 'set');
    await stopped;
    expect(await played).to.equal('stopped');
    complete(node, 'a', idOf(await node.command('sendmsg a', 4)));
    expect(await next).to.equal('finished');
  });

  it('stops at once what has not even been sent', async () => {
    const channel = await driver.answered(node, 'a');
    const played = channel.play('/p/a.wav');
    await channel.stopPlaying();
    expect(await played).to.equal('stopped');
    expect([node.count('sendmsg'), node.count('api uuid_break')]).to.deep.equal([0, 0]);
  });

  it('tells of keys until it is asked not to, and of nothing that is no key', async () => {
    const channel = await driver.answered(node, 'a');
    const keys: string[] = [];
    const stop = channel.onDigit((digit: Digit) => {
      keys.push(digit);
      driver.changed();
    });
    for (const digit of ['1', 'x', '', '12', '*', 'D'])
      node.session.event('DTMF', { 'Unique-ID': 'a', 'DTMF-Digit': digit });
    node.session.event('DTMF', { 'Unique-ID': 'other', 'DTMF-Digit': '7' });
    await driver.until(() => (keys.length >= 3 ? true : undefined), 'the keys');
    stop();
    node.session.event('DTMF', { 'Unique-ID': 'a', 'DTMF-Digit': '9' });
    hangUp(node, 'a');
    await channel.ended;
    expect(keys).to.deep.equal(['1', '*', 'D']);
  });

  it('that a node no longer has is gone for whoever commands it', async () => {
    const channel = await driver.answered(node, 'a');
    node.channels.delete('a');
    expect(await failure(channel.hangup('NORMAL_CLEARING'))).to.be.instanceOf(ChannelGone);
    node.handlers.set('sendmsg a', (session) => session.reply('-ERR invalid session id [a]'));
    expect(await failure(channel.play('/p/a.wav'))).to.be.instanceOf(ChannelGone);
    expect(await failure(channel.refuse(486))).to.be.instanceOf(MediaError);
  });

  it('names the cause whenever it hangs up', async () => {
    const channel = await driver.answered(node, 'a');
    await channel.hangup('NO_ANSWER');
    expect(await node.command('api uuid_kill')).to.equal('api uuid_kill a NO_ANSWER');
  });

  it('refuses with a code that refuses', async () => {
    const { channel } = await driver.call(node, 'a');
    for (const code of [200, 302, 399, 700, 486.5, NaN])
      expect(await failure(channel.refuse(code)), String(code)).to.be.instanceOf(MediaError);
    expect(node.count('sendmsg')).to.equal(0);
  });

  it('leaves nothing behind', async () => {
    for (let i = 0; i < 20; i++) {
      const channel = await driver.answered(node, `c${i}`);
      void channel.play('/p/a.wav').catch(() => undefined);
      hangUp(node, `c${i}`);
      await channel.ended;
    }
    expect(driver.media.counters().channels).to.equal(0);
  });
});

describe('the end of a channel', () => {
  const end = (
    headers: Record<string, string>,
    answered = false,
    ours = false,
    refusedWith?: number,
  ): string => summary(endOf(headers, answered, ours, refusedWith));

  it('is by whoever sent the BYE, CANCEL or refusal', () => {
    expect(
      end(
        {
          'Hangup-Cause': 'NORMAL_CLEARING',
          variable_sip_hangup_disposition: 'recv_bye',
          variable_sip_term_status: '200',
        },
        true,
      ),
    ).to.equal('caller NORMAL_CLEARING 200');
    expect(
      end({ 'Hangup-Cause': 'NORMAL_CLEARING', variable_sip_hangup_disposition: 'recv_bye' }, true, true),
    ).to.equal('caller NORMAL_CLEARING 200');
    expect(
      end({ 'Hangup-Cause': 'ORIGINATOR_CANCEL', variable_sip_hangup_disposition: 'recv_cancel' }),
    ).to.equal('caller ORIGINATOR_CANCEL 487');
    expect(
      end({ 'Hangup-Cause': 'NORMAL_CLEARING', variable_sip_hangup_disposition: 'send_bye' }, true, true),
    ).to.equal('platform NORMAL_CLEARING 200');
    expect(
      end(
        { 'Hangup-Cause': 'NO_USER_RESPONSE', variable_sip_hangup_disposition: 'send_refuse' },
        false,
        true,
        480,
      ),
    ).to.equal('platform NO_USER_RESPONSE 480');
    expect(
      end({ 'Hangup-Cause': 'NORMAL_TEMPORARY_FAILURE', variable_sip_hangup_disposition: 'send_refuse' }),
    ).to.equal('platform NORMAL_TEMPORARY_FAILURE 503');
  });

  it('is guessed where the node does not say it', () => {
    expect(end({ 'Hangup-Cause': 'ORIGINATOR_CANCEL' })).to.equal('caller ORIGINATOR_CANCEL 487');
    expect(end({ 'Hangup-Cause': 'NORMAL_CLEARING' }, true, true)).to.equal('platform NORMAL_CLEARING 200');
    expect(end({})).to.equal('platform UNKNOWN -');
  });

  it('is by the platform where FreeSWITCH has heard no more of the far end: no refresh, or no ACK', () => {
    const silent = 'platform RECOVERY_ON_TIMER_EXPIRE 200';
    expect(end({ 'Hangup-Cause': 'NORMAL_CLEARING', variable_sip_term_status: '200' }, true)).to.equal(
      silent,
    );
    expect(end({ 'Hangup-Cause': 'NORMAL_UNSPECIFIED' }, true)).to.equal(silent);
    expect(end({ 'Hangup-Cause': 'NORMAL_CLEARING', 'Call-Direction': 'outbound' }, true)).to.equal(silent);
  });

  it('takes back the answer of a channel whose caller was told 487, because the CANCEL was faster', () => {
    const crossed = endOf(
      {
        'Hangup-Cause': 'ORIGINATOR_CANCEL',
        variable_sip_hangup_disposition: 'recv_cancel',
        variable_sip_term_status: '487',
      },
      true,
      false,
    );
    expect(crossed).to.include({ by: 'caller', sipCode: 487, answerTakenBack: true });
    expect(endOf({ variable_sip_hangup_disposition: 'recv_bye' }, true, false)).to.not.have.property(
      'answerTakenBack',
    );
  });

  it('is by the node when it shuts down', () => {
    expect(
      end({ 'Hangup-Cause': 'SYSTEM_SHUTDOWN', variable_sip_hangup_disposition: 'send_bye' }, true),
    ).to.equal('node SYSTEM_SHUTDOWN 200');
  });

  it('is when the node says it was', () => {
    expect(
      endOf({ 'Caller-Channel-Hangup-Time': '1795223238123456' }, false, false).at.toISOString(),
    ).to.equal(new Date(1795223238123).toISOString());
  });
});

describe('what a channel plays', () => {
  it('is not what it played last', () => {
    const last = { variable_current_application: 'playback', variable_current_application_data: '/p/a.wav' };
    expect(playingNow(last)).to.equal('/p/a.wav');
    expect(playingNow({ ...last, variable_current_application_response: 'FILE PLAYED' })).to.equal(undefined);
    expect(playingNow({ ...last, variable_current_application: 'set' })).to.equal(undefined);
    expect(playingNow({})).to.equal(undefined);
  });
});

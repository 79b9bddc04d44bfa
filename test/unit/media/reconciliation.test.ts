import { expect } from 'chai';
import { ChannelGone } from '../../../control/media/media.ts';
import { ANSWERED, complete, Driver, hangUp, idOf, isSettled, played, playing, summary } from './driver.ts';
import { channelHeaders, FakeEsl, type FakeSession } from './fake-esl.ts';

describe('taking up the channels of a media node', () => {
  let node: FakeEsl;
  let driver: Driver | undefined;

  const drive = (timings?: ConstructorParameters<typeof Driver>[1]): Driver =>
    (driver = new Driver([node], timings)).start();
  /** Holds the answer to a command until the test lets it go; what it says is decided then. */
  const hold = (
    begin: string,
  ): { asked: Promise<string>; letGo: (answer: (session: FakeSession) => void) => void } => {
    let answerIt: (answer: (session: FakeSession) => void) => void = () => undefined;
    node.handlers.set(begin, (session) => {
      node.handlers.delete(begin);
      answerIt = (answer) => answer(session);
    });
    return { asked: node.command(begin), letGo: (answer) => answerIt(answer) };
  };
  const reconnected = async (count = 2): Promise<void> => {
    await node.until(() => (node.sessions.length >= count ? true : undefined), 'another connection');
    await node.until(
      () => (driver?.media.nodes()[0]?.connected ? true : void setTimeout(() => node.changed(), 5)),
      'being ready again',
    );
  };

  beforeEach(async () => {
    node = await FakeEsl.start();
  });

  afterEach(async () => {
    await driver?.media.stop();
    driver = undefined;
    await node.close();
  });

  it('begins with asking which there are, before anything else', async () => {
    node.channels.set('a', channelHeaders('a'));
    const { media } = drive();
    await media.reconciled;
    expect(node.commands.filter((command) => !command.startsWith('filter ')).slice(0, 5)).to.deep.equal([
      'auth secret',
      'event json BACKGROUND_JOB CHANNEL_OUTGOING CHANNEL_PARK CHANNEL_PROGRESS CHANNEL_PROGRESS_MEDIA CHANNEL_ANSWER CHANNEL_EXECUTE_COMPLETE CHANNEL_HANGUP_COMPLETE DTMF HEARTBEAT',
      'api version',
      'api show channels as json',
      'api uuid_dump a json',
    ]);
    expect(media.nodes()).to.deep.equal([
      { name: `127.0.0.1:${node.port}`, connected: true, version: '1.10.12-release~64bit', channels: 1 },
    ]);
  });

  it('adopts what carries a call of ours, and tells what plays there', async () => {
    node.channels.set(
      'a',
      channelHeaders('a', { ...playing('/p/a.wav'), 'variable_sip_h_X-MV-From': '+15550001' }),
    );
    node.channels.set('b', channelHeaders('b', played('/p/b.wav')));
    node.channels.set('stranger', { 'Unique-ID': 'stranger', 'Answer-State': 'answered' });
    const { parked, media } = drive();
    await media.reconciled;
    expect(
      parked.map(({ channel, headers, dialog, adopted }) => [
        channel.uuid,
        channel.answered,
        headers,
        dialog.callId,
        adopted?.playing?.source,
      ]),
    ).to.deep.equal([
      ['a', true, { 'call-id': 'call_a', from: '+15550001' }, 'a@carrier', '/p/a.wav'],
      ['b', true, { 'call-id': 'call_b' }, 'b@carrier', undefined],
    ]);
    complete(node, 'a', 'an id of the process before');
    expect(await parked[0]?.adopted?.playing?.finished).to.equal('finished');
  });

  it('hands a call over once when its event comes before the answer that lists it', async () => {
    const list = hold('api show channels');
    const { parked, media } = drive();
    await list.asked;
    node.channels.set('a', channelHeaders('a'));
    node.session.event('CHANNEL_PARK', channelHeaders('a'));
    list.letGo((session) => session.api('{"row_count":1,"rows":[{"uuid":"a"}]}'));
    await media.reconciled;
    expect(parked.map(({ channel, adopted }) => [channel.uuid, adopted])).to.deep.equal([['a', undefined]]);
  });

  it('hands a call over once when its event comes after the answer that lists it', async () => {
    node.channels.set('a', channelHeaders('a'));
    const { parked, media } = drive();
    await driver?.next();
    node.session.event('CHANNEL_PARK', channelHeaders('a'));
    await media.reconciled;
    expect(parked.map(({ channel, adopted }) => [channel.uuid, adopted])).to.deep.equal([['a', {}]]);
  });

  it('does not bring back a call whose end came while it was asked about', async () => {
    node.channels.set('a', channelHeaders('a'));
    const dump = hold('api uuid_dump a');
    const { parked, media } = drive();
    await dump.asked;
    hangUp(node, 'a');
    dump.letGo((session) => session.api(JSON.stringify(channelHeaders('a'))));
    await media.reconciled;
    expect(parked).to.deep.equal([]);
    expect(media.mayHave('a')).to.equal(false);
  });

  it('takes the end of an adopted call that comes before the asking is over', async () => {
    node.channels.set('a', channelHeaders('a', ANSWERED));
    node.channels.set('b', channelHeaders('b'));
    const dump = hold('api uuid_dump b');
    const { media } = drive();
    const { channel } = await (driver as Driver).next();
    await dump.asked;
    hangUp(node, 'a');
    expect(summary(await channel.ended)).to.equal('caller NORMAL_CLEARING 200');
    node.channels.delete('b');
    dump.letGo((session) => session.api('-ERR No such channel!\n'));
    await media.reconciled;
    expect(media.counters()).to.deep.equal({ channels: 0, pendingCommands: 0 });
  });

  it('looks twice, because the list lags behind the calls', async () => {
    node.channels.set('late', channelHeaders('late'));
    const list = hold('api show channels');
    const { parked, media } = drive();
    await list.asked;
    list.letGo((session) => session.api('{"row_count":0}'));
    await media.reconciled;
    expect(parked.map(({ channel }) => channel.uuid)).to.deep.equal(['late']);
  });

  it('goes on with the others when one call is not taken', async () => {
    node.channels.set('a', channelHeaders('a'));
    node.channels.set('b', channelHeaders('b'));
    driver = new Driver([node]);
    driver.onParked = ({ channel }) => {
      if (channel.uuid === 'a') throw new Error('no');
    };
    await driver.start().media.reconciled;
    expect(driver.parked.map(({ channel }) => channel.uuid)).to.deep.equal(['b']);
  });

  it('takes back the guard of every call it finds ringing, and of one announced to it that goes on ringing', async () => {
    node.channels.set('a', channelHeaders('a'));
    node.channels.set('b', channelHeaders('b', ANSWERED));
    driver = new Driver([node], { unansweredMs: 300 });
    driver.start();
    await driver.answered(node, 'd');
    await driver.call(node, 'c');
    await node.command('api sched_del c');
    expect(node.commands.filter((command) => command.includes('sched_del')).sort()).to.deep.equal([
      'api sched_del a',
      'api sched_del c',
    ]);
  });

  it('starts anew when the answer cannot be understood', async () => {
    node.handlers.set('api show', (session) => {
      node.handlers.delete('api show');
      session.api('<html>');
    });
    await drive().media.reconciled;
    expect(node.sessions).to.have.length(2);
  });

  describe('after a lost connection', () => {
    it('keeps the calls that are still there, and hands none over again', async () => {
      const channel = await drive().answered(node, 'a');
      node.drop();
      await reconnected();
      expect(await isSettled(channel.ended)).to.equal(false);
      expect(driver?.parked).to.have.length(1);
    });

    it('ends the calls that are gone', async () => {
      const channel = await drive().answered(node, 'a');
      const waiting = channel.play('/p/a.wav').catch((error: unknown) => error);
      await node.command('sendmsg a');
      node.channels.delete('a');
      node.drop();
      expect(summary(await channel.ended)).to.equal('node MEDIA_NODE_LOST -');
      expect(await waiting).to.be.instanceOf(ChannelGone);
    });

    it('believes the event of an end that is on its way', async () => {
      const channel = await drive({ settleMs: 100 }).answered(node, 'a');
      node.channels.delete('a');
      node.handlers.set('api uuid_exists a', (session) => {
        session.api('false');
        hangUp(node, 'a');
      });
      node.drop();
      expect(summary(await channel.ended)).to.equal('caller NORMAL_CLEARING 200');
    });

    it('waits for the event of a channel that is being torn down', async () => {
      const channel = await drive().answered(node, 'a');
      node.handlers.set('api uuid_dump a', (session) => session.api('-ERR No such channel!\n'));
      node.drop();
      await reconnected();
      expect(await isSettled(channel.ended)).to.equal(false);
      hangUp(node, 'a', { 'Hangup-Cause': 'NORMAL_CLEARING', variable_sip_hangup_disposition: 'recv_bye' });
      expect(summary(await channel.ended)).to.equal('caller NORMAL_CLEARING 200');
    });

    it('waits for a playback that still runs, and for its end alone', async () => {
      const channel = await drive().answered(node, 'a');
      const finished = channel.play('/p/a.wav');
      const id = idOf(await node.command('sendmsg a'));
      node.channels.set('a', channelHeaders('a', playing('/p/a.wav')));
      node.drop();
      await reconnected();
      expect(await isSettled(finished)).to.equal(false);
      complete(node, 'a', id);
      expect(await finished).to.equal('finished');
      expect(node.count('sendmsg a')).to.equal(1);
    });

    it('finishes a playback that ended meanwhile, and waits for the one behind it', async () => {
      const channel = await drive().answered(node, 'a');
      const first = channel.play('/p/1.wav');
      const second = channel.play('/p/2.wav');
      const id = idOf(await node.command('sendmsg a', 2));
      node.channels.set('a', channelHeaders('a', playing('/p/2.wav')));
      node.drop();
      expect(await first).to.equal('finished');
      await reconnected();
      expect(await isSettled(second)).to.equal(false);
      complete(node, 'a', id);
      expect(await second).to.equal('finished');
    });

    it('asks for a playback anew when the node has not heard of it, and not otherwise', async () => {
      const channel = await drive().answered(node, 'a');
      node.handlers.set('sendmsg a', () => {
        node.handlers.delete('sendmsg a');
        node.drop();
      });
      const unheard = channel.play('/p/1.wav');
      const again = idOf(await node.command('sendmsg a', 2));
      complete(node, 'a', again);
      expect(await unheard).to.equal('finished');

      node.handlers.set('sendmsg a', () => {
        node.handlers.delete('sendmsg a');
        node.channels.set('a', channelHeaders('a', played('/p/2.wav')));
        node.drop();
      });
      expect(await channel.play('/p/2.wav')).to.equal('finished');
      expect(node.count('sendmsg a')).to.equal(3);
    });

    it('answers once, when the answer was heard but not its reply', async () => {
      const { channel } = await drive().call(node, 'a');
      node.handlers.set('bgapi', () => {
        node.channels.set('a', channelHeaders('a', ANSWERED));
        node.drop();
      });
      await channel.answer();
      expect(channel.answered).to.equal(true);
      expect(node.count('bgapi')).to.equal(1);
    });

    it('answers anew a call that still rings', async () => {
      const { channel } = await drive().call(node, 'a');
      node.handlers.set('bgapi', () => {
        node.handlers.delete('bgapi');
        node.drop();
      });
      await channel.answer();
      expect(node.count('bgapi')).to.equal(2);
    });

    it('ends a call that it was told to end and that is still there', async () => {
      const channel = await drive().answered(node, 'a');
      node.handlers.set('api uuid_kill', () => {
        node.handlers.set('api uuid_kill', (session) => {
          session.api('+OK\n');
          hangUp(node, 'a', { variable_sip_hangup_disposition: 'send_bye' });
        });
        node.drop();
      });
      await channel.hangup('NORMAL_CLEARING');
      expect(summary(await channel.ended)).to.equal('platform NORMAL_CLEARING 200');
    });

    it('refuses a call that it was told to refuse and that still rings', async () => {
      const { channel } = await drive().call(node, 'a');
      node.handlers.set('sendmsg a', () => {
        node.handlers.set('sendmsg a', (session) => {
          session.reply('+OK');
          hangUp(node, 'a', { 'Hangup-Cause': 'USER_BUSY', variable_sip_hangup_disposition: 'send_refuse' });
        });
        node.drop();
      });
      await channel.refuse(486);
      expect(summary(await channel.ended)).to.equal('platform USER_BUSY 486');
    });
  });

  describe('out of reach', () => {
    it('may have every call until it is given up, and none after that', async () => {
      const { media } = drive({ graceMs: 150 });
      await driver?.answered(node, 'a');
      const ended = driver?.parked[0]?.channel.ended;
      expect([media.mayHave('a'), media.mayHave('unknown')]).to.deep.equal([true, false]);
      node.handlers.set('connect', ({ socket }) => socket.destroy());
      node.drop();
      await node.until(
        () => (media.nodes()[0]?.connected ? void setTimeout(() => node.changed(), 2) : true),
        'the loss',
      );
      expect([media.mayHave('a'), media.mayHave('unknown')]).to.deep.equal([true, true]);
      expect(summary(await (ended as NonNullable<typeof ended>))).to.equal('node MEDIA_NODE_LOST -');
      expect([media.mayHave('a'), media.mayHave('unknown')]).to.deep.equal([false, false]);
      expect(media.counters()).to.deep.equal({ channels: 0, pendingCommands: 0 });
    });

    it('is given up from the start when it does not come up, and welcome later', async () => {
      node.handlers.set('connect', ({ socket }) => socket.destroy());
      const { media } = drive({ graceMs: 50 });
      expect(media.mayHave('a')).to.equal(true);
      await media.reconciled;
      expect(media.mayHave('a')).to.equal(false);
      node.handlers.clear();
      node.channels.set('a', channelHeaders('a'));
      expect((await driver?.next())?.channel.uuid).to.equal('a');
    });

    it('is given up although it comes and goes', async () => {
      const channel = await drive({ graceMs: 100 }).answered(node, 'a');
      node.handlers.set('api version', () => node.drop());
      node.drop();
      expect(summary(await channel.ended)).to.equal('node MEDIA_NODE_LOST -');
    });

    it('is not given up while it is back and about to say what it has', async () => {
      const channel = await drive({ graceMs: 100 }).answered(node, 'a');
      const held = hold('api show channels');
      node.drop();
      await held.asked;
      await new Promise((resolve) => setTimeout(resolve, 150));
      expect([driver?.media.mayHave('a'), await isSettled(channel.ended)]).to.deep.equal([true, false]);
      held.letGo((session) => session.api(JSON.stringify({ row_count: 1, rows: [{ uuid: 'a' }] })));
      await reconnected();
      expect(driver?.parked).to.have.length(1);
      expect(await isSettled(channel.ended)).to.equal(false);
      await channel.hangup('NORMAL_CLEARING');
      expect(node.commands.at(-1)).to.equal('api uuid_kill a NORMAL_CLEARING');
    });

    it('is given up at once when its time has passed and it does not say what it has', async () => {
      const channel = await drive({ graceMs: 100 }).answered(node, 'a');
      const held = hold('api show channels');
      node.drop();
      await held.asked;
      await new Promise((resolve) => setTimeout(resolve, 150));
      node.handlers.set('connect', () => undefined);
      node.drop();
      expect(summary(await channel.ended)).to.equal('node MEDIA_NODE_LOST -');
      expect(driver?.media.mayHave('a')).to.equal(false);
    });

    it('holds up no other node', async () => {
      const other = await FakeEsl.start();
      try {
        other.channels.set('b', channelHeaders('b'));
        node.handlers.set('connect', () => undefined);
        driver = new Driver([node, other], { graceMs: 100 }).start();
        const { channel } = await driver.next();
        expect(channel.node).to.equal(`127.0.0.1:${other.port}`);
        await channel.answer();
        expect(driver.media.nodes().map(({ connected, channels }) => [connected, channels])).to.deep.equal([
          [false, 0],
          [true, 1],
        ]);
        await driver.media.reconciled;
        expect([driver.media.mayHave('b'), driver.media.mayHave('a')]).to.deep.equal([true, false]);
      } finally {
        await driver?.media.stop();
        await other.close();
      }
    });
  });

  describe('now and then', () => {
    it('notices a call whose end was never told', async () => {
      const channel = await drive({ sweepMs: 20 }).answered(node, 'a');
      node.channels.delete('a');
      expect(summary(await channel.ended)).to.equal('node MEDIA_NODE_LOST -');
    });

    it('notices a call that was never announced', async () => {
      await drive({ sweepMs: 20 }).media.reconciled;
      node.channels.set('a', channelHeaders('a'));
      expect((await driver?.next())?.channel.uuid).to.equal('a');
    });
  });
});

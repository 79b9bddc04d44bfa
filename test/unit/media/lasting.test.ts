import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { ChannelGone, MediaError, type Channel, type LegResult } from '../../../control/media/media.ts';
import { ANSWERED, Driver, hangUp, idOf, isSettled } from './driver.ts';
import { channelHeaders, FakeEsl } from './fake-esl.ts';

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );
const argumentOf = (command: string): string => /^execute-app-arg: (.*)$/m.exec(command)?.[1] ?? '';
const legIn = (command: string): string => /origination_uuid=([^~]+)/.exec(command)?.[1] ?? '';
const BRIDGE = 'sendmsg a\ncall-command: execute\nexecute-app-name: bridge';
const CONFERENCE = 'sendmsg a\ncall-command: execute\nexecute-app-name: conference';

describe('second legs and conferences on a media node', () => {
  let node: FakeEsl;
  let driver: Driver;
  let channel: Channel;
  let news: string[];

  beforeEach(async () => {
    node = await FakeEsl.start();
    driver = new Driver([node]).start();
    channel = await driver.answered(node, 'a');
    news = [];
  });

  afterEach(async () => {
    await driver.media.stop();
    await node.close();
  });

  const ended = (command: string, more: Record<string, string> = {}): void =>
    node.session.event('CHANNEL_EXECUTE_COMPLETE', {
      ...channelHeaders('a', ANSWERED),
      Application: /app-name: (\S+)/.exec(command)?.[1] ?? '',
      'Application-UUID': idOf(command),
      'Application-Response': '_none_',
      ...more,
    });

  const tell = (text: string): void => {
    news.push(text);
    driver.changed();
  };

  const bridge = (): Promise<LegResult> =>
    channel.bridge({
      uris: ['sip:b@192.0.2.7'],
      from: '+4930222',
      timeoutSeconds: 20,
      headers: {},
      onRinging: () => tell('ringing'),
      onAnswered: (uuid) => tell(`answered ${uuid}`),
    });

  /** What the node says of the channel, and of the leg where there is one. */
  const running = (
    command: string,
    leg?: 'ringing' | 'answered',
    more: Record<string, string> = {},
  ): void => {
    node.channels.set(
      'a',
      channelHeaders('a', {
        ...ANSWERED,
        variable_current_application: /app-name: (\S+)/.exec(command)?.[1] ?? '',
        variable_current_application_data: argumentOf(command),
        ...more,
      }),
    );
    if (leg)
      node.channels.set(legIn(command), {
        'Unique-ID': legIn(command),
        'Answer-State': leg,
        variable_mv_leg_of: 'a',
        'variable_sip_h_X-MV-Call-ID': 'call_a',
      });
  };

  const backAgain = async (): Promise<void> => {
    const sessions = node.sessions.length;
    node.drop();
    await node.until(() => node.sessions.length > sessions || undefined, 'another connection');
    while (!driver.media.nodes()[0]?.connected) await setImmediate();
  };

  it('tells what the node tells of the leg, once, and nothing of others', async () => {
    const result = bridge();
    const command = await node.command(BRIDGE);
    expect(node.commands.at(-2)).to.equal('api uuid_setvar a last_bridge_proto_specific_hangup_cause');
    const leg = legIn(command);
    node.session.event('CHANNEL_PROGRESS', { 'Unique-ID': 'a' });
    node.session.event('CHANNEL_PROGRESS', { 'Unique-ID': leg });
    node.session.event('CHANNEL_PROGRESS_MEDIA', { 'Unique-ID': leg });
    node.session.event('CHANNEL_ANSWER', { 'Unique-ID': 'b' });
    node.session.event('CHANNEL_ANSWER', { 'Unique-ID': leg });
    node.session.event('CHANNEL_PROGRESS', { 'Unique-ID': leg });
    node.session.event('CHANNEL_HANGUP_COMPLETE', { 'Unique-ID': leg });
    ended(command, {
      variable_originate_disposition: 'SUCCESS',
      variable_last_bridge_hangup_cause: 'NORMAL_CLEARING',
    });
    expect(await result).to.deep.equal({ reached: true, cause: 'NORMAL_CLEARING', endedBy: 'callee' });
    expect(news).to.deep.equal(['ringing', `answered ${leg}`]);
  });

  it('give a leg that was not reached the code it sent, and no other', async () => {
    const told: [Record<string, string>, LegResult][] = [
      [
        {
          variable_originate_disposition: 'USER_BUSY',
          variable_last_bridge_proto_specific_hangup_cause: 'sip:486',
        },
        { reached: false, cause: 'USER_BUSY', sipCode: 486 },
      ],
      [
        {
          variable_originate_disposition: 'NO_ANSWER',
          variable_last_bridge_proto_specific_hangup_cause: 'sip:487',
        },
        { reached: false, cause: 'NO_ANSWER' },
      ],
      [
        { variable_originate_disposition: 'DESTINATION_OUT_OF_ORDER' },
        { reached: false, cause: 'DESTINATION_OUT_OF_ORDER' },
      ],
      [
        {
          variable_originate_disposition: 'NORMAL_TEMPORARY_FAILURE',
          variable_last_bridge_proto_specific_hangup_cause: 'sip:200',
        },
        { reached: false, cause: 'NORMAL_TEMPORARY_FAILURE' },
      ],
      [{}, { reached: false, cause: 'UNKNOWN' }],
    ];
    for (const [i, [headers, expected]] of told.entries()) {
      const result = bridge();
      ended(await node.command(BRIDGE, i + 1), headers);
      expect(await result).to.deep.equal(expected);
    }
  });

  it('are ended again until the node has done it', async () => {
    const result = bridge();
    const command = await node.command(BRIDGE);
    node.handlers.set('api uuid_kill', (session) => {
      session.api('-ERR No such channel!\n');
      if (node.count('api uuid_kill') === 2)
        ended(command, { variable_originate_disposition: 'ORIGINATOR_CANCEL' });
    });
    await channel.interrupt();
    expect(await result).to.deep.equal({ reached: false, cause: 'ORIGINATOR_CANCEL' });
    expect(node.commands.filter((text) => text.startsWith('api uuid_kill'))).to.deep.equal(
      Array(2).fill(`api uuid_kill ${legIn(command)} ORIGINATOR_CANCEL`),
    );
  });

  it('are not begun when they are interrupted before they are sent', async () => {
    const result = bridge();
    await channel.interrupt();
    expect(await result).to.deep.equal({ reached: false, cause: 'ORIGINATOR_CANCEL' });
    expect(node.count('sendmsg')).to.equal(0);
  });

  it('fail with the channel, and take no verdict from its last moments', async () => {
    const results = [
      failure(bridge()),
      failure(channel.conference('room', { mute: false, endOnExit: false })),
    ];
    for (const begin of [BRIDGE, CONFERENCE])
      ended(await node.command(begin), {
        'Answer-State': 'hangup',
        variable_originate_disposition: 'SUCCESS',
      });
    hangUp(node, 'a');
    for (const result of results) expect(await result).to.be.instanceOf(ChannelGone);
  });

  it('fail with the words of the node that refuses them, and can be asked for again', async () => {
    node.handlers.set('sendmsg a', (session) => session.reply('-ERR too many'));
    expect(await failure(bridge()))
      .to.be.instanceOf(MediaError)
      .with.property('message', '-ERR too many');
    node.handlers.delete('sendmsg a');
    const result = bridge();
    ended(await node.command(BRIDGE, 2), { variable_originate_disposition: 'NO_ANSWER' });
    expect((await result).cause).to.equal('NO_ANSWER');
  });

  it('name rooms so that the node can tell them apart, and say how to be in them', async () => {
    const cases: [string, { mute: boolean; endOnExit: boolean }, RegExp][] = [
      ['app_1.Room-1', { mute: false, endOnExit: false }, /^app_1\.Room-1@default$/],
      ['app_1.Room-1', { mute: true, endOnExit: false }, /^app_1\.Room-1@default\+flags\{mute\}$/],
      ['app_1.Room-1', { mute: true, endOnExit: true }, /^app_1\.Room-1@default\+flags\{mute\|endconf\}$/],
      [
        'a b@c+flags{moderator}',
        { mute: false, endOnExit: true },
        /^[0-9a-f]{64}@default\+flags\{endconf\}$/,
      ],
      ['x'.repeat(161), { mute: false, endOnExit: false }, /^[0-9a-f]{64}@default$/],
    ];
    for (const [i, [room, options, argument]] of cases.entries()) {
      const left = channel.conference(room, options);
      const command = await node.command(CONFERENCE, i + 1);
      expect(argumentOf(command)).to.match(argument);
      ended(command);
      await left;
    }
  });

  it('take the caller out of the room, and nobody else', async () => {
    const left = channel.conference('room', { mute: false, endOnExit: true });
    const command = await node.command(CONFERENCE);
    const lists = [
      '-ERR Conference room not found\n',
      '7;sofia/x;other;1;1;hear;0;0;100\n',
      '7;sofia/x;other;1;1;hear;0;0;100\n12;sofia/x;a;1;1;hear;0;0;100\n',
    ];
    node.handlers.set('api conference room', (session, text) => {
      session.api(text.endsWith(' list') ? (lists.shift() ?? '') : '+OK\n');
      if (text === 'api conference room hup 12') ended(command);
    });
    await channel.interrupt();
    await left;
    expect(node.commands.filter((text) => text.includes(' hup '))).to.deep.equal([
      'api conference room hup 12',
    ]);
  });

  describe('when the connection is lost', () => {
    it('are asked for anew when the node has not heard of them, and not otherwise', async () => {
      node.handlers.set('sendmsg a', () => undefined);
      const result = bridge();
      await node.command(BRIDGE);
      node.handlers.delete('sendmsg a');
      await backAgain();
      const again = await node.command(BRIDGE, 2);
      running(again, 'ringing');
      await backAgain();
      expect(await isSettled(result)).to.equal(false);
      expect(node.count(BRIDGE)).to.equal(2);
      ended(again, {
        variable_originate_disposition: 'USER_BUSY',
        variable_last_bridge_proto_specific_hangup_cause: 'sip:486',
      });
      expect((await result).sipCode).to.equal(486);
      expect(driver.parked).to.have.length(1);
    });

    it('are told of what was missed: the answer, and the end', async () => {
      const result = bridge();
      const command = await node.command(BRIDGE);
      running(command, 'answered');
      await backAgain();
      await driver.until(() => news.length > 0 || undefined, 'the answer');
      expect(news).to.deep.equal([`answered ${legIn(command)}`]);
      node.channels.delete(legIn(command));
      running(command, undefined, {
        variable_originate_disposition: 'SUCCESS',
        variable_last_bridge_hangup_cause: 'NORMAL_CLEARING',
      });
      node.drop();
      expect(await result).to.deep.equal({ reached: true, cause: 'NORMAL_CLEARING', endedBy: 'callee' });
    });

    it('know a conference that has ended meanwhile, and one that goes on', async () => {
      const left = channel.conference('room', { mute: false, endOnExit: false });
      const command = await node.command(CONFERENCE);
      running(command);
      node.handlers.set('api conference room list', (session) => session.api('3;x;a;1;1;hear;0;0;100\n'));
      await backAgain();
      await node.command('api conference room list');
      expect(await isSettled(left)).to.equal(false);
      node.handlers.set('api conference room list', (session) =>
        session.api('-ERR Conference room not found\n'),
      );
      node.drop();
      await left;
    });
  });

  describe('of an earlier process', () => {
    /** The process after this one. */
    const next = async (): Promise<Driver> => {
      await driver.media.stop();
      driver = new Driver([node]).start();
      await driver.next();
      return driver;
    };

    it('are taken over as they are, with what happens in the same instant', async () => {
      void bridge().catch(() => undefined);
      const command = await node.command(BRIDGE);
      const leg = legIn(command);
      running(command, 'ringing', { 'Event-Sequence': '10' });
      node.channels.set(leg, { ...node.channels.get(leg), 'Unique-ID': leg, 'Event-Sequence': '11' });
      const dumps = node.count(`api uuid_dump ${leg}`);
      node.handlers.set(`api uuid_dump ${leg}`, (session) => {
        session.event('CHANNEL_ANSWER', { 'Unique-ID': leg, 'Event-Sequence': '9' });
        session.api(JSON.stringify(node.channels.get(leg)));
        if (node.count(`api uuid_dump ${leg}`) > dumps)
          session.event('CHANNEL_ANSWER', { 'Unique-ID': leg, 'Event-Sequence': '12' });
      });
      const {
        parked: [parked],
      } = await next();
      expect(parked?.adopted?.bridging?.connected).to.equal(false);
      expect(await parked?.adopted?.bridging?.answered).to.equal(true);
      ended(command, { variable_originate_disposition: 'SUCCESS' });
      expect((await parked?.adopted?.bridging?.finished)?.endedBy).to.equal('callee');
      expect(driver.parked).to.have.length(1);
    });

    it('are not there when they have ended, whatever the node still says of the channel', async () => {
      void bridge().catch(() => undefined);
      running(await node.command(BRIDGE));
      expect((await next()).parked[0]?.adopted).to.deep.equal({});
      running(`${CONFERENCE}\nexecute-app-arg: room@default`);
      node.handlers.set('api conference room list', (session) =>
        session.api('-ERR Conference room not found\n'),
      );
      expect((await next()).parked[0]?.adopted).to.deep.equal({});
    });
  });
});

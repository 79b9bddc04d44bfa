import { expect } from 'chai';
import { ChannelGone, type Channel, type ConferenceEnd } from '../../../control/media/media.ts';
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

describe('a caller in a room of another media node', () => {
  let near: FakeEsl;
  let far: FakeEsl;
  let driver: Driver;
  let channel: Channel;
  /** Who is in the room, as the far node lists them. */
  let listed: string;

  beforeEach(async () => {
    [near, far] = await Promise.all([FakeEsl.start(), FakeEsl.start()]);
    listed = '3;sofia/minivoice/a@x;far-leg;a;a;hear|speak;0;0;100\n';
    far.handlers.set('api conference team list', (session) =>
      session.api(listed || '-ERR Conference team not found\n'),
    );
    driver = new Driver([near, far], { graceMs: 300 }).start();
    channel = await driver.answered(near, 'a');
  });

  afterEach(async () => {
    await driver.media.stop();
    await Promise.all([near.close(), far.close()]);
  });

  const farName = (): string => `127.0.0.1:${far.port}`;
  const enter = (
    options: { mute?: boolean; endOnExit?: boolean; node?: string } = {},
  ): Promise<ConferenceEnd> =>
    channel.conference('team', { mute: false, endOnExit: false, node: farName(), ...options });
  const ended = (command: string, more: Record<string, string>): void =>
    near.session.event('CHANNEL_EXECUTE_COMPLETE', {
      ...channelHeaders('a', ANSWERED),
      Application: 'bridge',
      'Application-UUID': idOf(command),
      'Application-Response': '_none_',
      ...more,
    });
  const SUCCESS = {
    variable_originate_disposition: 'SUCCESS',
    variable_last_bridge_hangup_cause: 'NORMAL_CLEARING',
  };
  /** The leg is up. */
  const connected = async (): Promise<string> => {
    const command = await near.command(BRIDGE);
    near.channels.set(legIn(command), {
      'Unique-ID': legIn(command),
      'Answer-State': 'answered',
      variable_mv_leg_of: 'a',
    });
    near.session.event('CHANNEL_ANSWER', { 'Unique-ID': legIn(command) });
    return command;
  };
  const endedByKill = (command: string, more = SUCCESS): void =>
    void near.handlers.set('api uuid_kill', (session) => {
      session.api('+OK\n');
      ended(command, more);
    });

  it('gets there by a leg that names the node, the room and how to be in it, and that can be known there by the channel', async () => {
    void enter({ mute: true, endOnExit: true }).catch(() => undefined);
    const argument = argumentOf(await near.command(BRIDGE));
    expect(argument)
      .to.match(/^\{\^\^~/)
      .and.match(/\}sofia\/minivoice\/room@192\.0\.2\.9:5060$/);
    for (const variable of [
      `sip_h_X-MV-Node=${farName()}`,
      'sip_h_X-MV-Room=team',
      'sip_h_X-MV-Room-Flags=mute|endconf',
      'origination_caller_id_name=a',
      'mv_leg_of=a',
    ])
      expect(argument).to.include(`~${variable}`);
    expect(argument).to.not.include('Call-ID');
  });

  it('is out of it when the room has ended, was not let in, or is interrupted', async () => {
    let stay = enter();
    ended(await connected(), SUCCESS);
    expect(await stay).to.equal('over');
    stay = enter();
    ended(await near.command(BRIDGE, 2), {
      variable_originate_disposition: 'NORMAL_TEMPORARY_FAILURE',
      variable_last_bridge_proto_specific_hangup_cause: 'sip:503',
    });
    expect(await stay).to.equal('unreachable');
    stay = enter();
    const command = await near.command(BRIDGE, 3);
    near.session.event('CHANNEL_ANSWER', { 'Unique-ID': legIn(command) });
    endedByKill(command);
    await channel.interrupt();
    expect(await stay).to.equal('left');
  });

  it('is out of it when the other node comes back without him, and stays when he is still there', async () => {
    const stay = enter();
    const command = await connected();
    endedByKill(command);
    const asked = far.count('api conference team list');
    far.drop();
    await far.until(
      () => far.count('api conference team list') > asked || undefined,
      'a look into the room',
      3000,
    );
    expect(await isSettled(stay)).to.equal(false);
    listed = '';
    far.drop();
    expect(await stay).to.equal('lost');
  });

  it('is out of it when the other node is given up', async () => {
    const stay = enter();
    endedByKill(await connected());
    await far.close();
    expect(await stay).to.equal('lost');
    far = await FakeEsl.start();
  });

  it('cannot be where there is no such node', async () => {
    const stay = enter({ node: '192.0.2.1:5080' });
    near.handlers.set('sendmsg a', (session, command) => {
      session.reply('+OK');
      endedByKill(command, { variable_originate_disposition: 'ORIGINATOR_CANCEL' } as never);
    });
    expect(await stay).to.equal('lost');
  });

  it('is put out of the room when his own node has died, which says no BYE', async () => {
    const stay = failure(enter());
    await connected();
    await near.close();
    expect(await stay).to.be.instanceOf(ChannelGone);
    expect(await far.command('api conference team hup')).to.equal('api conference team hup 3');
    near = await FakeEsl.start();
  });

  it('leaves it to his node to end the leg when he hangs up', async () => {
    const stay = failure(enter());
    await connected();
    hangUp(near, 'a');
    expect(await stay).to.be.instanceOf(ChannelGone);
    expect(far.count('api conference')).to.equal(0);
  });

  it('is taken over by the next control process as one in a room of that node', async () => {
    void enter().catch(() => undefined);
    const command = await connected();
    near.channels.set(
      'a',
      channelHeaders('a', {
        ...ANSWERED,
        variable_current_application: 'bridge',
        variable_current_application_data: argumentOf(command),
      }),
    );
    await driver.media.stop();
    driver = new Driver([near, far], { graceMs: 300 }).start();
    const { adopted } = await driver.next();
    expect(Object.keys(adopted ?? {}))
      .to.include('conferencing')
      .and.not.include('bridging');
    expect(adopted?.conferencing?.node).to.equal(farName());
    near.session.event('CHANNEL_EXECUTE_COMPLETE', {
      ...channelHeaders('a', ANSWERED),
      Application: 'bridge',
      'Application-UUID': 'its own',
      ...SUCCESS,
    });
    expect(await adopted?.conferencing?.finished).to.equal('over');
  });

  it('is found by the room he is in', async () => {
    expect(await driver.media.roomAt('team')).to.equal(farName());
    listed = '';
    expect(await driver.media.roomAt('team')).to.equal(undefined);
  });
});

import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { MediaError, NodeSilent, type Dialing, type OriginateRequest } from '../../../control/media/media.ts';
import { Driver, hangUp, isSettled, summary } from './driver.ts';
import { channelHeaders, FakeEsl } from './fake-esl.ts';

const request = (uuid: string, more: Partial<OriginateRequest> = {}): OriginateRequest => ({
  uuid,
  uris: ['sip:+15557777@192.0.2.7'],
  from: '+4930222',
  ringSeconds: 20,
  headers: { 'X-MV-Call-ID': `call_${uuid}` },
  ...more,
});

const outbound = (uuid: string, more: Record<string, string> = {}): Record<string, string> => {
  const { variable_current_application: _, ...headers } = channelHeaders(uuid, {
    'Call-Direction': 'outbound',
    'Channel-State': 'CS_CONSUME_MEDIA',
  });
  return { ...headers, ...more };
};

const jobOf = (command: string): string => /^Job-UUID: (\S+)$/m.exec(command)?.[1] ?? '';

/** The node takes the command, and nothing more. */
const accepts = (node: FakeEsl): void => {
  node.handlers.set('bgapi originate', (session, command) =>
    session.reply(`+OK Job-UUID: ${jobOf(command)}`),
  );
};

/** The node takes the command and makes the channel. */
const makes = (node: FakeEsl): void => {
  node.handlers.set('bgapi originate', (session, command) => {
    const uuid = /origination_uuid=([\w-]+)/.exec(command)?.[1] ?? '';
    session.reply(`+OK Job-UUID: ${jobOf(command)}`);
    node.channels.set(uuid, outbound(uuid));
    session.event('CHANNEL_OUTGOING', { 'Unique-ID': uuid });
  });
};

const refuses = (node: FakeEsl, why: string): void => {
  node.handlers.set('bgapi originate', (session, command) => {
    session.reply(`+OK Job-UUID: ${jobOf(command)}`);
    session.event('BACKGROUND_JOB', { 'Job-UUID': jobOf(command) }, `-ERR ${why}\n`);
  });
};

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );
const end = async (dialing: Dialing): Promise<string> => summary(await dialing.parked.channel.ended);

describe('placing calls', () => {
  let nodes: [FakeEsl, FakeEsl];
  let driver: Driver;

  beforeEach(async () => {
    nodes = [await FakeEsl.start(), await FakeEsl.start()];
    driver = new Driver(nodes).start();
    await driver.media.reconciled;
    for (const node of nodes) makes(node);
  });

  afterEach(async () => {
    await driver.media.stop();
    await Promise.all(nodes.map((node) => node.close()));
  });

  it('says whom to call, as whom, for how long, and how the call is guarded', async () => {
    await driver.media.originate(
      request('a', { headers: { 'X-MV-Call-ID': 'call_a', 'X-MV-Note': 'two words' } }),
    );
    expect(nodes[0].commands.find((command) => command.startsWith('bgapi'))?.split('\n')[0]).to.equal(
      "bgapi originate {^^~origination_uuid=a~hangup_after_bridge=false~continue_on_fail=true~api_on_answer='sched_hangup +30 a NORMAL_TEMPORARY_FAILURE'" +
        '~originate_timeout=21~ignore_early_media=true~origination_caller_id_number=+4930222~origination_caller_id_name=+4930222' +
        "~sip_h_X-MV-Call-ID=call_a~sip_h_X-MV-Note='two words'~sip_h_X-MV-Targets=sip:+15557777@192.0.2.7}sofia/minivoice/+15557777@192.0.2.9:5060 &park()",
    );
  });

  it('takes the node with the fewest channels', async () => {
    for (const uuid of ['a', 'b', 'c', 'd']) await driver.media.originate(request(uuid));
    expect(nodes.map((node) => node.count('bgapi originate'))).to.deep.equal([2, 2]);
    expect(driver.media.nodes().map(({ channels }) => channels)).to.deep.equal([2, 2]);
  });

  it('counts calls that a node has not made yet', async () => {
    for (const node of nodes) accepts(node);
    const asked = ['a', 'b', 'c', 'd'].map((uuid) => driver.media.originate(request(uuid)));
    await Promise.all(nodes.map((node) => node.command('bgapi originate', 2)));
    for (const node of nodes) {
      for (const uuid of ['a', 'b', 'c', 'd'])
        if (node.commands.some((command) => command.includes(`uuid=${uuid}~`)))
          node.session.event('CHANNEL_OUTGOING', { 'Unique-ID': uuid });
    }
    await Promise.all(asked);
  });

  it('goes to the next node when one refuses, and to none when all do', async () => {
    refuses(nodes[0], 'DESTINATION_OUT_OF_ORDER');
    const dialing = await driver.media.originate(request('a'));
    expect(dialing.parked.channel.node).to.equal(`127.0.0.1:${nodes[1].port}`);
    expect(nodes[0].count('bgapi originate')).to.equal(1);
    refuses(nodes[1], 'SWITCH_CONGESTION');
    const refused = await failure(driver.media.originate(request('b')));
    expect(refused)
      .to.be.instanceOf(MediaError)
      .with.property('message')
      .that.matches(/SWITCH_CONGESTION|OUT_OF_ORDER/);
    expect(driver.media.mayHave('b')).to.equal(false);
  });

  it('is not asked of a node that is away', async () => {
    nodes[0].handlers.set('auth', () => undefined);
    nodes[0].drop();
    while (driver.media.nodes()[0]?.connected) await setImmediate();
    const dialing = await driver.media.originate(request('a'));
    expect(dialing.parked.channel.node).to.equal(`127.0.0.1:${nodes[1].port}`);
  });

  it('that is lost with the connection is not placed again, and is over when the node does not have it', async () => {
    accepts(nodes[0]);
    const asked = driver.media.originate(request('a'));
    await nodes[0].command('bgapi originate');
    nodes[0].drop();
    const dialing = await asked;
    expect(await end(dialing)).to.equal('node MEDIA_NODE_LOST -');
    expect(await dialing.answered).to.equal(false);
    expect(nodes[1].count('bgapi originate')).to.equal(0);
  });

  it('that is lost with the connection goes on when the node has it', async () => {
    accepts(nodes[0]);
    const asked = driver.media.originate(request('a'));
    await nodes[0].command('bgapi originate');
    nodes[0].channels.set(
      'a',
      outbound('a', {
        'Caller-Channel-Progress-Time': '1795234048244945',
        'variable_sip_ph_X-MV-Trunk': 'trunk_1',
      }),
    );
    nodes[0].drop();
    const dialing = await asked;
    await dialing.ringing;
    expect(dialing.trunkId()).to.equal('trunk_1');
    nodes[0].session.event(
      'CHANNEL_PARK',
      outbound('a', {
        'Answer-State': 'answered',
        variable_current_application: 'park',
        'variable_sip_rh_X-MV-Trunk': 'trunk_2',
      }),
    );
    expect(await dialing.answered).to.equal(true);
    expect(dialing.trunkId()).to.equal('trunk_2');
    expect(driver.parked).to.deep.equal([]);
    await nodes[0].command('api sched_del a');
  });

  it('is answered when it takes commands, and not before', async () => {
    const dialing = await driver.media.originate(request('a'));
    nodes[0].session.event(
      'CHANNEL_ANSWER',
      outbound('a', { 'Answer-State': 'answered', 'Caller-Channel-Answered-Time': '1795234048426246' }),
    );
    while (!dialing.parked.channel.answered) await setImmediate();
    expect(await isSettled(dialing.answered)).to.equal(false);
    expect(nodes[0].count('api sched_del a')).to.equal(0);
    nodes[0].session.event(
      'CHANNEL_PARK',
      outbound('a', { 'Answer-State': 'answered', variable_current_application: 'park' }),
    );
    expect(await dialing.answered).to.equal(true);
    expect(dialing.parked.channel.answeredAt?.toISOString()).to.equal('2026-11-21T04:07:28.426Z');
  });

  it('that the node says nothing of is given up, asked of no other, and ended should the node make it', async () => {
    accepts(nodes[0]);
    const asked = failure(driver.media.originate(request('a')));
    const job = jobOf(await nodes[0].command('bgapi originate'));
    expect(await asked).to.be.instanceOf(NodeSilent);
    expect(nodes[1].count('bgapi originate')).to.equal(0);
    nodes[0].session.event('CHANNEL_OUTGOING', { 'Unique-ID': 'a' });
    await nodes[0].command('api uuid_kill a ORIGINATOR_CANCEL');
    nodes[0].session.event('BACKGROUND_JOB', { 'Job-UUID': job }, '-ERR ORIGINATOR_CANCEL\n');
    expect(driver.media.nodes()[0]?.channels).to.equal(0);
    expect(driver.parked).to.deep.equal([]);
  });

  it('that is still being made is not taken for one that has vanished', async () => {
    const patient = new Driver([nodes[0]], { sweepMs: 20 }).start();
    await patient.media.reconciled;
    accepts(nodes[0]);
    const asked = patient.media.originate(request('a'));
    await nodes[0].command('bgapi originate');
    await nodes[0].command('api show channels', nodes[0].count('api show channels') + 3);
    nodes[0].session.event('CHANNEL_OUTGOING', { 'Unique-ID': 'a' });
    expect(await isSettled((await asked).parked.channel.ended)).to.equal(false);
    await patient.media.stop();
  });

  it('ends by goodbye without an answer when that was too quick to be told of', async () => {
    const dialing = await driver.media.originate(request('a'));
    hangUp(nodes[0], 'a', {
      'Call-Direction': 'outbound',
      variable_sip_hangup_disposition: 'recv_bye',
      variable_sip_term_status: '200',
    });
    expect(await end(dialing)).to.equal('caller NORMAL_CLEARING 200');
    expect(dialing.parked.channel.answered).to.equal(true);
    expect(await dialing.answered).to.equal(false);
  });

  it("leaves the guard of another process's call in place", async () => {
    const owned = new Driver([nodes[1]], {}, '7').start();
    await owned.media.reconciled;
    for (const [uuid, owner] of [
      ['a', '8'],
      ['b', '7'],
    ] as const) {
      nodes[1].sessions.at(-1)?.event(
        'CHANNEL_PARK',
        outbound(uuid, {
          'Answer-State': 'answered',
          variable_current_application: 'park',
          'variable_sip_h_X-MV-Owner': owner,
        }),
      );
      expect((await owned.next(owned.parked.length + 1)).adopted).to.deep.equal({});
    }
    await nodes[1].command('api sched_del b');
    // The driver that knows no owner takes all of them; this one says it for its own alone.
    expect(nodes[1].count('api sched_del a')).to.equal(0);
    await owned.media.stop();
  });
});

import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { Phone, type Call } from '../../support/phone.ts';
import { EslClient, type FsEvent } from './tools/esl-client.ts';
import { NodeProcess } from './tools/node-process.ts';

const EVENTS =
  'BACKGROUND_JOB CHANNEL_OUTGOING CHANNEL_ORIGINATE CHANNEL_PROGRESS CHANNEL_PROGRESS_MEDIA CHANNEL_ANSWER CHANNEL_EXECUTE CHANNEL_PARK CHANNEL_HANGUP_COMPLETE';

describe('embedded media node: a call that is placed by a command', () => {
  let node: NodeProcess;
  let esl: EslClient;
  let bob: Phone;
  let uuid = '';
  let job = '';

  before(async () => {
    node = await NodeProcess.start();
    esl = await EslClient.connect(node.eslPort, EVENTS);
    bob = await Phone.open({ address: '127.0.0.1' });
  });

  after(async () => {
    await bob.close();
    esl.close();
    await node.stop();
    expect(node.log).not.to.include('"level":"error"');
  });

  beforeEach(() => bob.listen('manual'));

  afterEach(async () => {
    await esl.api('hupall');
    await esl.until(
      () => !told().includes('CHANNEL_OUTGOING') || told().includes('CHANNEL_HANGUP_COMPLETE'),
      'the end',
    );
    expect(await esl.api('show channels count')).to.equal('\n0 total.\n');
  });

  /** The names of the events that were told of the call, in order, its job's included. */
  const told = (): string[] =>
    esl.events
      .filter((event) => event['Unique-ID'] === uuid || event['Job-UUID'] === job)
      .map((event) => event['Event-Name'] ?? '');

  const place = async (variables = '', target = `leg@127.0.0.1:${bob.port}`): Promise<string> => {
    uuid = randomUUID();
    job = randomUUID();
    return esl.command(
      `bgapi originate {^^~origination_uuid=${uuid}~ignore_early_media=true~sip_h_X-MV-Call-ID=call_1${variables}}sofia/minivoice/${target} &park()\nJob-UUID: ${job}`,
    );
  };

  const result = async (): Promise<string> => {
    await esl.event('BACKGROUND_JOB', { 'Job-UUID': job });
    return esl.events.find((event) => event['Job-UUID'] === job)?.['_body'] ?? '';
  };

  const called = async (): Promise<Call> => {
    bob.forget();
    await place();
    return bob.incoming();
  };

  const last = (name: string): FsEvent | undefined =>
    esl.events.filter((event) => event['Event-Name'] === name && event['Unique-ID'] === uuid).at(-1);

  it('tells of everything in the order FreeSWITCH does, and of the headers of its replies', async () => {
    const call = await called();
    call.ring([['X-MV-Trunk', 'trunk_1']]);
    await esl.event('CHANNEL_PROGRESS', { 'Unique-ID': uuid });
    expect(last('CHANNEL_PROGRESS')).to.deep.include({
      'Answer-State': 'ringing',
      'Call-Direction': 'outbound',
      'Channel-State': 'CS_CONSUME_MEDIA',
      'variable_sip_ph_X-MV-Trunk': 'trunk_1',
      variable_sip_call_id: call.callId,
      variable_sip_from_tag: call.dialog.remoteTag,
      variable_sip_to_tag: call.dialog.localTag,
    });
    call.answer([['X-MV-Trunk', 'trunk_2']]);
    expect(await result()).to.equal(`+OK ${uuid}\n`);
    expect(told()).to.deep.equal([
      'CHANNEL_OUTGOING',
      'CHANNEL_ORIGINATE',
      'CHANNEL_PROGRESS',
      'CHANNEL_ANSWER',
      'CHANNEL_EXECUTE',
      'CHANNEL_PARK',
      'BACKGROUND_JOB',
    ]);
    expect(last('CHANNEL_PARK')).to.deep.include({
      'Answer-State': 'answered',
      'Channel-State': 'CS_EXECUTE',
      variable_current_application: 'park',
      'variable_sip_rh_X-MV-Trunk': 'trunk_2',
      'variable_sip_h_X-MV-Call-ID': 'call_1',
    });
    expect(last('CHANNEL_ANSWER')).not.to.have.property('variable_current_application');
  });

  it('reports the cause of a refusal when the channel has ended', async () => {
    const call = await called();
    call.refuse(486, 'Busy Here', [['X-MV-Trunk', 'trunk_1']]);
    expect(await result()).to.equal('-ERR USER_BUSY\n');
    expect(told()).to.deep.equal([
      'CHANNEL_OUTGOING',
      'CHANNEL_ORIGINATE',
      'CHANNEL_HANGUP_COMPLETE',
      'BACKGROUND_JOB',
    ]);
    expect(last('CHANNEL_HANGUP_COMPLETE')).to.deep.include({
      variable_sip_hangup_disposition: 'recv_refuse',
      variable_sip_term_status: '486',
      variable_proto_specific_hangup_cause: 'sip:486',
      variable_sip_invite_failure_phrase: 'Busy Here',
      'variable_sip_rh_X-MV-Trunk': 'trunk_1',
    });
  });

  it('gives up what rings for too long', async () => {
    bob.forget();
    await place('~originate_timeout=1');
    (await bob.incoming()).ring();
    expect(await result()).to.equal('-ERR NO_ANSWER\n');
    expect(last('CHANNEL_HANGUP_COMPLETE')).to.deep.include({
      variable_sip_hangup_disposition: 'send_cancel',
      variable_sip_invite_failure_status: '487',
      variable_sip_invite_failure_phrase: 'CANCEL',
    });
  });

  it('ends an answered call that nobody takes, where a command at the answer says so', async () => {
    bob.forget();
    bob.listen('answer');
    await place(`~api_on_answer='sched_hangup +1 ${randomUUID()} NORMAL_CLEARING'`);
    await result();
    bob.forget();
    uuid = randomUUID();
    job = randomUUID();
    await esl.command(
      `bgapi originate {^^~origination_uuid=${uuid}~api_on_answer='sched_hangup +1 ${uuid} NORMAL_TEMPORARY_FAILURE'}sofia/minivoice/leg@127.0.0.1:${bob.port} &park()\nJob-UUID: ${job}`,
    );
    const call = await bob.incoming();
    expect((await call.ended()).how).to.equal('bye');
    await esl.event('CHANNEL_HANGUP_COMPLETE', {
      'Unique-ID': uuid,
      'Hangup-Cause': 'NORMAL_TEMPORARY_FAILURE',
    });
  });

  it('leaves it alone when that was taken back', async () => {
    bob.forget();
    bob.listen('answer');
    await place();
    await result();
    await esl.api(`sched_hangup +1 ${uuid} NORMAL_CLEARING`);
    expect(await esl.api(`sched_del ${uuid}`)).to.equal('+OK Deleted: 1\n');
    expect(await esl.api(`sched_del ${uuid}`)).to.equal('+OK Deleted: 0\n');
    expect(await esl.api('sched_hangup')).to.match(/^-USAGE/);
  });

  it('makes no channel of what cannot be called', async () => {
    await place('', `leg@127.0.0.1:${bob.port}`.replace('leg', 'a'));
    const twice = randomUUID();
    await esl.command(
      `bgapi originate {origination_uuid=${uuid}}sofia/minivoice/leg@127.0.0.1:${bob.port} &park()\nJob-UUID: ${twice}`,
    );
    await esl.event('BACKGROUND_JOB', { 'Job-UUID': twice });
    expect(esl.events.find((event) => event['Job-UUID'] === twice)?.['_body']).to.equal(
      '-ERR DESTINATION_OUT_OF_ORDER\n',
    );
    expect(await esl.api(`originate sofia/nosuch/a@127.0.0.1:${bob.port} &park()`)).to.equal(
      '-ERR INVALID_PROFILE\n',
    );
    expect(await esl.api('originate foo')).to.match(/^-USAGE: <call url>/);
    expect(await esl.api('originate')).to.match(/^-USAGE: <call url>/);
    expect(await esl.api('show channels count')).to.equal('\n1 total.\n');
  });
});

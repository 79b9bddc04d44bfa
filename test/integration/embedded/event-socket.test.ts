import { expect } from 'chai';
import { Caller } from './tools/caller.ts';
import { EslClient } from './tools/esl-client.ts';
import { NodeProcess, PASSWORD } from './tools/node-process.ts';

const GOODBYE = 'Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n';
const NOBODY = '00000000-dead-beef-0000-000000000000';
const EVENTS =
  'CHANNEL_PARK CHANNEL_ANSWER CHANNEL_EXECUTE CHANNEL_EXECUTE_COMPLETE PLAYBACK_START PLAYBACK_STOP CHANNEL_HANGUP CHANNEL_HANGUP_COMPLETE DTMF BACKGROUND_JOB';

describe('embedded media node: event socket', () => {
  let node: NodeProcess;
  const clients: EslClient[] = [];
  const callers: Caller[] = [];

  async function client(subscribe?: string): Promise<EslClient> {
    const connected = await EslClient.connect(node.eslPort, subscribe);
    clients.push(connected);
    return connected;
  }

  /** A parked call, answered unless told otherwise. */
  async function call(esl: EslClient, answer: boolean = true): Promise<{ anna: Caller; uuid: string }> {
    const anna = await Caller.open(node.sipPort);
    callers.push(anna);
    anna.invite();
    const uuid = (await esl.event('CHANNEL_PARK', { variable_sip_call_id: anna.callId }))['Unique-ID'] ?? '';
    if (answer) expect(await esl.api(`uuid_answer ${uuid}`)).to.equal('+OK\n');
    return { anna, uuid };
  }

  before(async () => {
    node = await NodeProcess.start();
  });

  after(async () => {
    await node.stop();
    expect(node.log).not.to.include('"level":"error"');
  });

  afterEach(async () => {
    const esl = await client('');
    await esl.api('hupall');
    for (const each of callers.splice(0)) each.close();
    for (const each of clients.splice(0)) each.close();
  });

  it('greets, lets the password in, and says goodbye', async () => {
    const esl = await client();
    expect(esl.frames[0]?.raw).to.equal('Content-Type: auth/request');
    expect(await esl.command('api status')).to.equal('-ERR command not found');
    const accepted = await esl.request(`auth ${PASSWORD}`);
    expect(accepted.raw).to.equal('Content-Type: command/reply\nReply-Text: +OK accepted');
    expect(await esl.command(`auth ${PASSWORD}`)).to.equal('-ERR command not found');
    expect(await esl.command('exit')).to.equal('+OK bye');
    await esl.until(() => esl.closed, 'the end');
    expect(esl.frames.at(-1)).to.deep.include({
      body: GOODBYE,
      raw: 'Content-Type: text/disconnect-notice\nContent-Length: 67',
    });
  });

  it('throws out who has the wrong password, at once', async () => {
    const esl = await client();
    expect(await esl.command('auth wrong')).to.equal('-ERR invalid');
    await esl.until(() => esl.closed, 'the end');
    expect(esl.frames.at(-1)?.body).to.equal(GOODBYE);
  });

  it('sends away who is not on its list', async () => {
    const strict = await NodeProcess.start({ FREESWITCH_ESL_ACL: '192.0.2.1/32' });
    try {
      const esl = new EslClient((await import('node:net')).connect(strict.eslPort, '127.0.0.1'));
      await esl.until(() => esl.closed, 'the end');
      expect(esl.frames.map((f) => f.raw)).to.deep.equal([
        'Content-Type: text/rude-rejection\nContent-Length: 24',
        'Content-Type: text/disconnect-notice\nContent-Length: 67',
      ]);
      expect(esl.frames[0]?.body).to.equal('Access Denied, go away.\n');
    } finally {
      await strict.stop();
    }
  });

  it('answers commands word for word', async () => {
    const esl = await client('');
    const replies: [string, string][] = [
      ['foo', '-ERR command not found'],
      ['api', '-ERR command not found'],
      ['event', '-ERR no keywords supplied'],
      ['event json', '-ERR no keywords supplied'],
      ['event json NOSUCH_EVENT', '-ERR no keywords supplied'],
      ['event plain DTMF CHANNEL_PARK', '+OK event listener enabled plain'],
      ['event json DTMF NOSUCH_EVENT', '+OK event listener enabled json'],
      ['nixevent CUSTOM sofia::register', '+OK events nixed'],
      ['nixevent', '-ERR no keywords supplied'],
      ['filter Unique-ID 1', '+OK filter added. [Unique-ID]=[1]'],
      ['filter add Unique-ID x', '+OK filter added. [Unique-ID]=[x]'],
      ['filter delete Unique-ID x', '+OK filter deleted. [Unique-ID][x]'],
      ['filter delete all', '+OK filter deleted. [all][]'],
      ['filter Unique-ID', '-ERR invalid syntax'],
      ['noevents', '+OK no longer listening for events'],
      ['noevents', '-ERR not listening for events'],
      ['linger', '-ERR not controlling a session'],
      ['nolinger', '-ERR not controlling a session'],
      ['divert_events on', '-ERR not controlling a session.'],
      [`sendmsg ${NOBODY}\ncall-command: hangup`, `-ERR invalid session id [${NOBODY}]`],
      ['sendmsg\ncall-command: hangup', '-ERR invalid session id []'],
    ];
    for (const [command, reply] of replies) expect(await esl.command(command), command).to.equal(reply);
  });

  it('answers API commands word for word', async () => {
    const esl = await client('');
    const replies: [string, string][] = [
      ['nosuchcommand with args', '-ERR nosuchcommand Command not found!\n'],
      ['UUID_EXISTS x', 'false'],
      ['uuid_exists', 'false'],
      ['uuid_answer', '-ERROR\n'],
      [`uuid_answer ${NOBODY}`, '-ERROR\n'],
      ['uuid_kill', '-USAGE: <uuid> [cause]\n'],
      [`uuid_kill ${NOBODY}`, '-ERR No such channel!\n'],
      [`uuid_dump ${NOBODY} json`, '-ERR No such channel!\n'],
      [`uuid_getvar ${NOBODY} x`, '-ERR No such channel!\n'],
      ['uuid_getvar', '-USAGE: <uuid> <var>\n'],
      ['uuid_setvar', '-USAGE: <uuid> <var> [value]\n'],
      [`uuid_setvar ${NOBODY} a b`, '-ERR No such channel!\n'],
      [
        `uuid_setvar_multi ${NOBODY} a=b;c=d`,
        '-ERR No such channel!\n-USAGE: <uuid> <var>=<value>;<var>=<value>...\n',
      ],
      ['uuid_break', '-USAGE: <uuid> [all]\n'],
      [`uuid_break ${NOBODY} all`, '-ERR No such channel!\n'],
      [`uuid_send_dtmf ${NOBODY} 1`, '-ERR Cannot locate session!\n'],
      ['uuid_send_dtmf', '-USAGE: <uuid> <dtmf_data>\n'],
      [`uuid_flush_dtmf ${NOBODY}`, '-ERR No such session\n'],
      [`uuid_ring_ready ${NOBODY}`, '-ERROR\n'],
      ['show channels as json', '{"row_count": 0}\n'],
      ['show channels', '\n0 total.\n'],
      ['show channels count', '\n0 total.\n'],
      ['hupall', '+OK hangup all channels with cause MANAGER_REQUEST\n'],
      ['version short', '1.10.12-release\n'],
      ['global_getvar nosuch', '-ERR no reply\n'],
      ['fsctl max_sessions', '+OK max sessions: 1000\n'],
      ['fsctl pause_check', 'false'],
      ['echo hello', 'hello'],
      ['sched_del nothing', '+OK Deleted: 0\n'],
    ];
    for (const [command, reply] of replies) expect(await esl.api(command), command).to.equal(reply);
    expect(await esl.api('status')).to.match(
      /^UP 0 years, 0 days, 0 hours, \d+ minutes?, \d+ seconds?, .*\nFreeSWITCH \(Version 1\.10\.12-release .*\) is ready\n\d+ session\(s\) since startup\n/,
    );
    expect(await esl.api('version')).to.match(/^FreeSWITCH Version 1\.10\.12-release/);
  });

  it('replies in the order it was asked, whatever takes longer', async () => {
    const esl = await client(EVENTS);
    const { anna, uuid } = await call(esl, false);
    anna.polite = false;
    const replies = await Promise.all([
      esl.api(`uuid_answer ${uuid}`),
      esl.api('echo 1'),
      esl.command('noevents'),
      esl.api(`uuid_exists ${uuid}`),
    ]);
    expect(replies).to.deep.equal(['+OK\n', '1', '+OK no longer listening for events', 'true']);
  });

  it('runs jobs in the background', async () => {
    const esl = await client(EVENTS);
    const given = await esl.request(`bgapi uuid_kill ${NOBODY}\nJob-UUID: my-job-1`);
    expect(given.raw).to.equal(
      'Content-Type: command/reply\nReply-Text: +OK Job-UUID: my-job-1\nJob-UUID: my-job-1',
    );
    expect(await esl.event('BACKGROUND_JOB', { 'Job-UUID': 'my-job-1' })).to.deep.include({
      'Job-Command': 'uuid_kill',
      'Job-Command-Arg': NOBODY,
      'Content-Length': '22',
      _body: '-ERR No such channel!\n',
    });
    const made = (await esl.command('bgapi nosuchcommand')).replace('+OK Job-UUID: ', '');
    expect((await esl.event('BACKGROUND_JOB', { 'Job-UUID': made }))._body).to.equal(
      '-ERR nosuchcommand Command not found!\n',
    );
  });

  it('guards a call nobody has answered, until it is answered or freed', async () => {
    const esl = await client(EVENTS);
    const [ringing, freed] = [await call(esl, false), await call(esl, false)];
    expect(await esl.api(`sched_del ${freed.uuid}`)).to.equal('+OK Deleted: 1\n');
    expect(await esl.api(`sched_del ${freed.uuid}`)).to.equal('+OK Deleted: 0\n');
    expect(await esl.api(`uuid_answer ${ringing.uuid}`)).to.equal('+OK\n');
    expect(await esl.api(`sched_del ${ringing.uuid}`)).to.equal('+OK Deleted: 0\n');
  });

  it('shows a channel with its variables', async () => {
    const esl = await client(EVENTS);
    const { uuid } = await call(esl);
    expect(await esl.api(`uuid_setvar ${uuid} mv_state {"a": 1}`)).to.equal('+OK\n');
    expect(await esl.api(`uuid_getvar ${uuid} mv_state`)).to.equal('{"a": 1}');
    expect(await esl.api(`uuid_setvar_multi ${uuid} a=1;b=2`)).to.equal('+OK\n');
    const dump = JSON.parse(await esl.api(`uuid_dump ${uuid} json`)) as Record<string, string>;
    expect(dump).to.deep.include({
      'Event-Name': 'CHANNEL_DATA',
      'Unique-ID': uuid,
      'Answer-State': 'answered',
      variable_a: '1',
      variable_b: '2',
      variable_mv_state: '{"a": 1}',
      'variable_sip_h_X-MV-Call-ID': 'call_test',
      variable_endpoint_disposition: 'ANSWER',
      variable_read_codec: 'PCMU',
    });
    expect(Number(dump['Caller-Channel-Answered-Time'])).to.be.at.least(
      Number(dump['Caller-Channel-Created-Time']),
    );
    expect(await esl.api(`uuid_dump ${uuid}`)).to.include('variable_mv_state: %7B%22a%22%3A%201%7D\n');
    expect(await esl.api(`uuid_setvar ${uuid} mv_state`)).to.equal('+OK\n');
    expect(await esl.api(`uuid_getvar ${uuid} mv_state`)).to.equal('_undef_');
    const rows = JSON.parse(await esl.api('show channels as json')) as {
      row_count: number;
      rows: Record<string, string>[];
    };
    expect(rows.row_count).to.equal(1);
    expect(rows.rows[0]).to.deep.include({
      uuid,
      callstate: 'ACTIVE',
      application: 'park',
      dest: '+4915112345',
      cid_num: '+4930111',
      read_codec: 'PCMU',
    });
    expect(await esl.api('show channels')).to.match(/^uuid,direction,created,.*\n.*\n\n1 total\.\n$/);
  });

  it('runs queued applications one after the other and reports each under its own id', async () => {
    const esl = await client(EVENTS);
    const { uuid } = await call(esl);
    for (const [i, source] of ['silence_stream://60', '/nosuch.wav', 'silence_stream://60'].entries()) {
      expect(await esl.execute(uuid, 'playback', source, `q${i}`)).to.equal('+OK');
    }
    await esl.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-UUID': 'q2' });
    const story = esl.events
      .filter(
        (e) => /EXECUTE|PLAYBACK/.test(e['Event-Name'] ?? '') && /^(q\d)?$/.test(e['Application-UUID'] ?? ''),
      )
      .map((e) =>
        `${e['Event-Name']} ${e['Application-UUID'] ?? ''} ${e['Application-Response'] ?? e['Playback-Status'] ?? ''}`.trim(),
      );
    expect(story).to.deep.equal([
      'CHANNEL_EXECUTE q0',
      'PLAYBACK_START',
      'PLAYBACK_STOP  done',
      'CHANNEL_EXECUTE_COMPLETE q0 FILE PLAYED',
      'CHANNEL_EXECUTE q1',
      'CHANNEL_EXECUTE_COMPLETE q1 FILE NOT FOUND',
      'CHANNEL_EXECUTE q2',
      'PLAYBACK_START',
      'PLAYBACK_STOP  done',
      'CHANNEL_EXECUTE_COMPLETE q2 FILE PLAYED',
    ]);
  });

  it('breaks what runs and goes on with what is queued, or drops it when told all', async () => {
    const esl = await client(EVENTS);
    const { uuid } = await call(esl);
    await esl.execute(uuid, 'playback', 'silence_stream://60000', 'b0');
    await esl.execute(uuid, 'playback', 'silence_stream://40', 'b1');
    await esl.event('PLAYBACK_START');
    expect(await esl.api(`uuid_break ${uuid}`)).to.equal('+OK\n');
    expect(
      (await esl.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-UUID': 'b0' }))['Application-Response'],
    ).to.equal('FILE PLAYED');
    expect((await esl.event('PLAYBACK_STOP'))['Playback-Status']).to.equal('break');
    await esl.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-UUID': 'b1' });

    await esl.execute(uuid, 'playback', 'silence_stream://60000', 'c0');
    await esl.execute(uuid, 'set', 'dropped=no', 'c1');
    await esl.event('CHANNEL_EXECUTE', { 'Application-UUID': 'c0' });
    expect(await esl.api(`uuid_break ${uuid} all`)).to.equal('+OK\n');
    await esl.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-UUID': 'c0' });
    await esl.execute(uuid, 'set', 'later=yes', 'c2');
    await esl.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-UUID': 'c2' });
    expect(esl.events.some((e) => e['Application-UUID'] === 'c1')).to.equal(false);
    expect(await esl.api(`uuid_getvar ${uuid} dropped`)).to.equal('_undef_');
    // With nothing running a break does nothing, to what comes later either.
    await esl.api(`uuid_break ${uuid} all`);
    await esl.execute(uuid, 'playback', 'silence_stream://40', 'd0');
    expect(
      (await esl.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-UUID': 'd0' }))['Application-Response'],
    ).to.equal('FILE PLAYED');
    expect(
      esl.events.filter((e) => e['Event-Name'] === 'PLAYBACK_STOP').at(-1)?.['Playback-Status'],
    ).to.equal('done');
  });

  it('lets a message in while an application without event-lock runs, and not while one with it does', async () => {
    const esl = await client(EVENTS);
    const { uuid } = await call(esl);
    await esl.execute(uuid, 'playback', 'silence_stream://60000', 'outer', false);
    await esl.execute(uuid, 'set', 'inner=1', 'inner');
    await esl.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-UUID': 'inner' });
    expect(
      esl.events.some(
        (e) => e['Application-UUID'] === 'outer' && e['Event-Name'] === 'CHANNEL_EXECUTE_COMPLETE',
      ),
    ).to.equal(false);
    await esl.api(`uuid_break ${uuid}`);
    await esl.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-UUID': 'outer' });

    await esl.execute(uuid, 'playback', 'silence_stream://100', 'locked', true);
    await esl.execute(uuid, 'set', 'after=1', 'after');
    await esl.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-UUID': 'after' });
    const order = esl.events
      .filter((e) => e['Event-Name'] === 'CHANNEL_EXECUTE_COMPLETE')
      .map((e) => e['Application-UUID']);
    expect(order.slice(-2)).to.deep.equal(['locked', 'after']);
  });

  it('takes arguments from a body, makes ids where none is given, expands variables, ignores what is no command', async () => {
    const esl = await client(EVENTS);
    const { uuid } = await call(esl);
    expect(
      await esl.command(
        `sendmsg ${uuid}\ncall-command: execute\nexecute-app-name: set\nEvent-UUID: body\ncontent-type: text/plain\ncontent-length: 7\n\nfoo=baz`,
      ),
    ).to.equal('+OK');
    await esl.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-UUID': 'body' });
    expect(await esl.api(`uuid_getvar ${uuid} foo`)).to.equal('baz');
    expect(await esl.command(`sendmsg ${uuid}\nexecute-app-name: set`)).to.equal('+OK');
    expect(await esl.command(`sendmsg ${uuid}\ncall-command: nosuch`)).to.equal('+OK');
    expect(
      await esl.command(
        `sendmsg ${uuid}\ncall-command: execute\nexecute-app-name: set\nexecute-app-arg: bar=\${foo}!`,
      ),
    ).to.equal('+OK');
    const complete = await esl.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-Data': 'bar=baz!' });
    expect(complete['Application-UUID']).to.match(/^[0-9a-f-]{36}$/);
    expect(await esl.api(`uuid_getvar ${uuid} bar`)).to.equal('baz!');
    await esl.execute(uuid, 'unset', 'bar', 'unset');
    await esl.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-UUID': 'unset' });
    expect(await esl.api(`uuid_getvar ${uuid} bar`)).to.equal('_undef_');
  });

  it('hangs up on an application that does not exist, as FreeSWITCH does', async () => {
    const esl = await client(EVENTS);
    const { anna, uuid } = await call(esl);
    expect(await esl.execute(uuid, 'nosuchapp', '', 'x')).to.equal('+OK');
    await anna.requestReceived('BYE');
    expect((await esl.event('CHANNEL_HANGUP_COMPLETE', { 'Unique-ID': uuid }))['Hangup-Cause']).to.equal(
      'DESTINATION_OUT_OF_ORDER',
    );
  });

  it('hangs up by message, with what runs reported before the end', async () => {
    const esl = await client(EVENTS);
    const { anna, uuid } = await call(esl);
    await esl.execute(uuid, 'playback', 'silence_stream://60000', 'p', false);
    await esl.event('PLAYBACK_START');
    expect(await esl.command(`sendmsg ${uuid}\ncall-command: hangup\nhangup-cause: USER_BUSY`)).to.equal(
      '+OK',
    );
    await anna.requestReceived('BYE');
    await esl.event('CHANNEL_HANGUP_COMPLETE', { 'Unique-ID': uuid });
    const names = esl.events
      .filter((e) => e['Unique-ID'] === uuid)
      .map((e) => `${e['Event-Name']} ${e.Application ?? ''}`.trim());
    expect(names.slice(names.indexOf('CHANNEL_HANGUP'))).to.deep.equal([
      'CHANNEL_HANGUP',
      'PLAYBACK_STOP',
      'CHANNEL_EXECUTE_COMPLETE playback',
      'CHANNEL_EXECUTE_COMPLETE park',
      'CHANNEL_HANGUP_COMPLETE',
    ]);
    expect(await esl.command(`sendmsg ${uuid}\ncall-command: hangup`)).to.equal(
      `-ERR invalid session id [${uuid}]`,
    );
  });

  it('does not let one client disturb another', async () => {
    const first = await client(EVENTS);
    const second = await client('ALL');
    second.socket.pause();
    second.write('auth again\n\n\n\n\ngarbage: \x00\xff\n\n');
    const third = await client();
    third.write('x'.repeat(200_000));
    await third.until(() => third.closed, 'the end of the one that sends without end');
    const { uuid } = await call(first);
    await first.execute(uuid, 'playback', 'silence_stream://40', 'fine');
    await first.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-UUID': 'fine' });
    second.close();
    expect(await first.api(`uuid_exists ${uuid}`)).to.equal('true');
  });

  it('drops a client that does not read, and goes on', async () => {
    const first = await client('');
    const slow = await client('');
    await slow.command('event json BACKGROUND_JOB');
    slow.socket.pause();
    const big = 'x'.repeat(60_000);
    for (let i = 0; i < 2200; i++) {
      first.write(`bgapi echo ${big}\n\n`);
      if (i % 100 === 0) await first.until(() => first.frames.length > i, 'replies');
      if (node.log.includes('does not read')) break;
    }
    await first.until(() => node.log.includes('does not read'), 'the end of the slow one');
    expect(await (await client('')).api('echo still here')).to.equal('still here');
  });

  it('sends plain events to those who asked for plain', async () => {
    const plain = await client('');
    await plain.command('event plain BACKGROUND_JOB');
    await plain.command('bgapi echo a:b');
    await plain.until(
      () => plain.frames.some((f) => f.headers['Content-Type'] === 'text/event-plain'),
      'a plain event',
    );
    const frame = plain.frames.find((f) => f.headers['Content-Type'] === 'text/event-plain');
    expect(frame?.raw).to.match(/^Content-Length: \d+\nContent-Type: text\/event-plain$/);
    expect(frame?.body).to.match(
      /^Event-Name: BACKGROUND_JOB\nCore-UUID: .*\nJob-Command: echo\nJob-Command-Arg: a%3Ab\nContent-Length: 3\n\na:b$/s,
    );
  });
});

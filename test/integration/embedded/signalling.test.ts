import dgram from 'node:dgram';
import { expect } from 'chai';
import { parse } from 'sdp-transform';
import { Caller, Sip } from './tools/caller.ts';
import { EslClient } from './tools/esl-client.ts';
import { NodeProcess } from './tools/node-process.ts';

const EVENTS = 'CHANNEL_CREATE CHANNEL_PARK CHANNEL_ANSWER CHANNEL_HANGUP_COMPLETE DTMF';

describe('embedded media node: SIP', () => {
  let node: NodeProcess;
  let esl: EslClient;
  const callers: Caller[] = [];

  async function caller(transport: 'udp' | 'tcp' = 'udp'): Promise<Caller> {
    const opened = await Caller.open(node.sipPort, transport);
    callers.push(opened);
    return opened;
  }

  /** Waits until this caller's call is parked and gives the channel's id. */
  async function parked(from: Caller): Promise<string> {
    return (await esl.event('CHANNEL_PARK', { variable_sip_call_id: from.callId }))['Unique-ID'] ?? '';
  }

  async function answered(from: Caller): Promise<string> {
    from.invite();
    const uuid = await parked(from);
    expect(await esl.api(`uuid_answer ${uuid}`)).to.equal('+OK\n');
    await from.response(200);
    return uuid;
  }

  before(async () => {
    node = await NodeProcess.start();
    esl = await EslClient.connect(node.eslPort, EVENTS);
  });

  after(async () => {
    esl.close();
    expect(await node.stop()).to.equal(0);
    expect(node.log).not.to.include('"level":"error"');
  });

  afterEach(() => {
    for (const each of callers.splice(0)) each.close();
  });

  it('rings and parks a call of ours, with everything the INVITE says', async () => {
    const anna = await caller();
    anna.invite({ headers: ['X-MV-Customer: cust_ä'] });
    const ringing = await anna.response(180);
    expect(anna.received[0]?.status).to.equal(100);
    expect(ringing.header('Contact')).to.match(/^<sip:\+4915112345@127\.0\.0\.1:\d+;transport=udp>$/);
    const event = await esl.event('CHANNEL_PARK', { variable_sip_call_id: anna.callId });
    expect(event).to.deep.include({
      'Channel-State': 'CS_EXECUTE',
      'Channel-Call-State': 'RINGING',
      'Answer-State': 'ringing',
      'Call-Direction': 'inbound',
      'Caller-Caller-ID-Number': '+4930111',
      'Caller-Caller-ID-Name': 'Anna',
      'Caller-Destination-Number': '+4915112345',
      'variable_sip_h_X-MV-Call-ID': 'call_test',
      'variable_sip_h_X-MV-From': '+4930111',
      variable_sip_from_tag: anna.fromTag,
      variable_sip_to_tag: anna.toTag,
      variable_current_application: 'park',
    });
    anna.cancel();
    await anna.response(487);
  });

  const odd: [string, (text: string) => string][] = [
    ['that may go no further', (text) => text.replace(/Max-Forwards: \d+/, 'Max-Forwards: 0')],
    ['that begins with empty lines', (text) => `\r\n\r\n\r\n${text}`],
    [
      'of 600 header lines',
      (text) => text.replace('Max-Forwards', `${'X-More: 1\r\n'.repeat(600)}Max-Forwards`),
    ],
    ['with a zero byte in a header', (text) => text.replace('Max-Forwards', 'Subject: a\0b\r\nMax-Forwards')],
  ];
  for (const [what, write] of odd) {
    it(`rings for an INVITE ${what}`, async () => {
      const anna = await caller();
      anna.sent = write;
      anna.invite();
      await anna.response(180);
      anna.sent = (text) => text;
      anna.cancel();
      await anna.response(487);
    });
  }

  const broken: [string, number, (text: string) => string][] = [
    [
      'of 1,200 header lines',
      513,
      (text) => text.replace('Max-Forwards', `${'X-More: 1\r\n'.repeat(1200)}Max-Forwards`),
    ],
    [
      'with a header line without a colon',
      400,
      (text) => text.replace('Max-Forwards', 'What is this\r\nMax-Forwards'),
    ],
    [
      'with a zero byte in the name of a header',
      400,
      (text) => text.replace('Max-Forwards', 'Sub\0ject: a\r\nMax-Forwards'),
    ],
    [
      'whose body is shorter than it says',
      400,
      (text) => text.replace(/Content-Length: (\d+)/, 'Content-Length: 9$1'),
    ],
    ['whose URI has a blank in it', 400, (text) => text.replace('INVITE sip:+49', 'INVITE sip:+ 49')],
    ['of another version of SIP', 505, (text) => text.replace(/SIP\/2\.0\r\nVia/, 'SIP/3.0\r\nVia')],
  ];
  for (const [what, status, write] of broken) {
    it(`answers ${status} to an INVITE ${what}`, async () => {
      const anna = await caller();
      anna.sent = write;
      anna.invite();
      const refused = await anna.response(status);
      expect(refused.header('Call-ID')).to.equal(anna.callId);
      expect(refused.header('CSeq')).to.equal('1 INVITE');
    });
  }

  it('refuses a call that is not ours with 403', async () => {
    const anna = await caller();
    anna.invite({ orphan: true });
    await anna.response(403);
    expect(anna.received.some((m) => m.status === 180)).to.equal(false);
  });

  it('answers with an SDP that takes the first codec, ends on BYE', async () => {
    const anna = await caller();
    const uuid = await answered(anna);
    const ok = await anna.response(200);
    const sdp = parse(ok.body);
    expect(sdp.media[0]).to.deep.include({ payloads: '0 101', ptime: 20, direction: 'sendrecv' });
    anna.bye();
    await anna.response(200, 'BYE');
    const end = await esl.event('CHANNEL_HANGUP_COMPLETE', { 'Unique-ID': uuid });
    expect(end).to.deep.include({
      'Hangup-Cause': 'NORMAL_CLEARING',
      'Answer-State': 'hangup',
      variable_hangup_cause: 'NORMAL_CLEARING',
      variable_hangup_cause_q850: '16',
      variable_sip_hangup_disposition: 'recv_bye',
      variable_sip_term_status: '200',
      variable_proto_specific_hangup_cause: 'sip:200',
    });
    expect(Number(end.variable_billusec)).to.be.at.least(0);
    expect(await esl.api(`uuid_exists ${uuid}`)).to.equal('false');
  });

  it('absorbs a repeated INVITE and repeats its 200 until the ACK', async () => {
    const anna = await caller();
    anna.polite = false;
    const invite = anna.invite();
    const uuid = await parked(anna);
    anna.send(invite);
    await anna.until(() => anna.received.filter((m) => m.status === 180).length === 2, 'a second 180');
    await esl.api(`uuid_answer ${uuid}`);
    await anna.until(() => anna.received.filter((m) => m.status === 200).length >= 2, 'a repeated 200');
    const ok = await anna.response(200);
    anna.ack(ok);
    expect(
      esl.events.filter(
        (e) => e['Event-Name'] === 'CHANNEL_CREATE' && e.variable_sip_call_id === anna.callId,
      ),
    ).to.have.length(1);
    anna.bye();
    await anna.response(200, 'BYE');
  });

  it('repeats a refusal until its ACK', async () => {
    const anna = await caller();
    anna.polite = false;
    anna.invite();
    await esl.api(`uuid_kill ${await parked(anna)} USER_BUSY`);
    await anna.until(() => anna.received.filter((m) => m.status === 486).length >= 2, 'a repeated 486');
    const refusal = await anna.response(486);
    expect(refusal.header('Reason')).to.equal(undefined);
    anna.ack(refusal);
  });

  it('ends a call the caller cancels', async () => {
    const anna = await caller();
    anna.invite();
    const uuid = await parked(anna);
    anna.cancel();
    await anna.response(200, 'CANCEL');
    await anna.response(487);
    expect(await esl.event('CHANNEL_HANGUP_COMPLETE', { 'Unique-ID': uuid })).to.deep.include({
      'Hangup-Cause': 'ORIGINATOR_CANCEL',
      variable_sip_hangup_disposition: 'recv_cancel',
      variable_sip_term_status: '487',
      variable_proto_specific_hangup_cause: 'sip:487',
      variable_hangup_cause_q850: '16',
    });
  });

  it('gives the code that goes with the cause, and exactly the one it is told to respond', async () => {
    const causes: [string, number][] = [
      ['', 480],
      [' CALL_REJECTED', 603],
      [' NO_ANSWER', 480],
      [' UNALLOCATED_NUMBER', 404],
      [' INVALID_NUMBER_FORMAT', 484],
      [' NO_USER_RESPONSE', 408],
      [' NORMAL_TEMPORARY_FAILURE', 503],
      [' DESTINATION_OUT_OF_ORDER', 502],
      [' 17', 486],
      [' NO_SUCH_CAUSE', 480],
    ];
    for (const [cause, status] of causes) {
      const anna = await caller();
      anna.invite();
      await esl.api(`uuid_kill ${await parked(anna)}${cause}`);
      await anna.response(status);
    }
    for (const [argument, status, phrase] of [
      ['603', 603, 'Decline'],
      ['486 So Busy', 486, 'So Busy'],
      ['480', 480, 'Temporarily Unavailable'],
    ] as const) {
      const anna = await caller();
      anna.invite();
      const uuid = await parked(anna);
      await esl.execute(uuid, 'respond', argument, 'r');
      expect((await anna.response(status)).start).to.equal(`SIP/2.0 ${status} ${phrase}`);
      expect(
        (await esl.event('CHANNEL_HANGUP_COMPLETE', { 'Unique-ID': uuid })).variable_sip_hangup_disposition,
      ).to.equal('send_refuse');
    }
  });

  it('sends its BYE to the first route, over the whole route set, and repeats it until it is answered', async () => {
    const anna = await caller();
    const proxy = dgram.createSocket('udp4');
    await new Promise<void>((resolve) => proxy.bind(0, '127.0.0.1', resolve));
    const seen: Sip[] = [];
    const twice = new Promise<void>((resolve) => {
      proxy.on('message', (data, from) => {
        seen.push(new Sip(data.toString('latin1')));
        if (seen.length < 2) return;
        const copied = data
          .toString('latin1')
          .split('\r\n')
          .filter((line) => /^(Via|From|To|Call-ID|CSeq):/i.test(line));
        proxy.send(
          `SIP/2.0 200 OK\r\n${copied.join('\r\n')}\r\nContent-Length: 0\r\n\r\n`,
          from.port,
          from.address,
        );
        resolve();
      });
    });
    const routes = [`<sip:127.0.0.1:${proxy.address().port};lr;did=1>`, '<sip:10.99.99.99;lr>'];
    anna.invite({ recordRoute: routes });
    const uuid = await parked(anna);
    await esl.api(`uuid_answer ${uuid}`);
    expect((await anna.response(200)).headers('Record-Route')).to.deep.equal(routes);
    await esl.api(`uuid_kill ${uuid}`);
    await twice;
    proxy.close();
    const [bye] = seen;
    expect(bye?.start).to.equal(`BYE sip:anna@127.0.0.1:${anna.sipPort};transport=udp SIP/2.0`);
    expect(bye?.headers('Route')).to.deep.equal(routes);
    expect(bye?.header('From')).to.include(`tag=${anna.toTag}`);
    expect(bye?.header('To')).to.include(`tag=${anna.fromTag}`);
    expect(
      (await esl.event('CHANNEL_HANGUP_COMPLETE', { 'Unique-ID': uuid })).variable_sip_hangup_disposition,
    ).to.equal('send_bye');
  });

  it('answers hold, resume, a refresh and an UPDATE', async () => {
    const anna = await caller();
    await answered(anna);
    const renegotiate = async (method: 'INVITE' | 'UPDATE', body: string): Promise<Sip> => {
      const count = anna.received.length;
      anna.send(anna.request(method, { body }));
      await anna.until(
        () => anna.received.slice(count).some((m) => m.status >= 200 && m.method === method),
        `an answer to ${method}`,
      );
      return anna.received.slice(count).find((m) => m.status >= 200) ?? new Sip('');
    };
    const direction = (message: Sip): string | undefined => parse(message.body).media[0]?.direction;
    expect(direction(await renegotiate('INVITE', anna.sdp('sendonly')))).to.equal('recvonly');
    expect(direction(await renegotiate('INVITE', anna.sdp('inactive')))).to.equal('inactive');
    expect(direction(await renegotiate('UPDATE', anna.sdp('sendrecv', '8 101')))).to.equal('sendrecv');
    expect((await renegotiate('UPDATE', '')).body).to.equal('');
    expect((await renegotiate('INVITE', anna.sdp('sendrecv', '18'))).status).to.equal(488);
    anna.bye();
    await anna.response(200, 'BYE');
  });

  it('offers in its 200 when the INVITE has no offer, and takes the answer from the ACK', async () => {
    const anna = await caller();
    anna.polite = false;
    anna.invite({ sdp: null });
    const uuid = await parked(anna);
    expect(await esl.api(`uuid_answer ${uuid}`)).to.equal('+OK\n');
    const ok = await anna.response(200);
    expect(parse(ok.body).media[0]?.payloads).to.equal('0 8 101');
    await esl.execute(uuid, 'playback', 'silence_stream://60000', 'late');
    anna.ack(ok, anna.sdp('sendrecv', '8 101'));
    await anna.until(() => anna.rtp.length > 3, 'audio');
    expect(await esl.api(`uuid_getvar ${uuid} read_codec`)).to.equal('PCMA');
    expect((anna.rtp[2]?.[1] ?? 0) & 0x7f).to.equal(8);
    anna.bye();
    await anna.response(200, 'BYE');
  });

  it('ends the call when the ACK brings no answer to its offer, whatever waits to be played', async () => {
    const anna = await caller();
    anna.polite = false;
    anna.invite({ sdp: null });
    const uuid = await parked(anna);
    expect(await esl.api(`uuid_answer ${uuid}`)).to.equal('+OK\n');
    const ok = await anna.response(200);
    await esl.execute(uuid, 'playback', 'silence_stream://60000', 'never');
    anna.ack(ok);
    await anna.requestReceived('BYE');
    expect((await esl.event('CHANNEL_HANGUP_COMPLETE', { 'Unique-ID': uuid }))['Hangup-Cause']).to.equal(
      'INCOMPATIBLE_DESTINATION',
    );
  });

  it('holds its BYE back until the ACK is in', async () => {
    const anna = await caller();
    anna.polite = false;
    anna.invite();
    const uuid = await parked(anna);
    await esl.api(`uuid_answer ${uuid}`);
    await esl.api(`uuid_kill ${uuid}`);
    await esl.event('CHANNEL_HANGUP_COMPLETE', { 'Unique-ID': uuid });
    await anna.until(() => anna.received.filter((m) => m.status === 200).length >= 2, 'a repeated 200');
    expect(anna.received.some((m) => m.start.startsWith('BYE'))).to.equal(false);
    anna.polite = true;
    anna.ack(await anna.response(200));
    await anna.requestReceived('BYE');
  });

  it('lets the caller refresh the session where it asks for a timer', async () => {
    const anna = await caller();
    anna.invite({ headers: ['Supported: timer', 'Session-Expires: 1800'] });
    await esl.api(`uuid_answer ${await parked(anna)}`);
    const ok = await anna.response(200);
    expect(ok.header('Session-Expires')).to.equal('1800;refresher=uac');
    expect(ok.header('Require')).to.equal('timer');
    anna.bye();
    await anna.response(200, 'BYE');
  });

  it('refuses with 488 what it cannot speak, when it is asked to answer', async () => {
    const anna = await caller();
    anna.invite({ sdp: anna.sdp('sendrecv', '18 101') });
    const uuid = await parked(anna);
    expect(await esl.api(`uuid_answer ${uuid}`)).to.equal('-ERROR\n');
    await anna.response(488);
    expect((await esl.event('CHANNEL_HANGUP_COMPLETE', { 'Unique-ID': uuid }))['Hangup-Cause']).to.equal(
      'INCOMPATIBLE_DESTINATION',
    );
  });

  it('knows what it does not do', async () => {
    const anna = await caller();
    const outside = async (method: string, headers: string[] = []): Promise<number> => {
      const count = anna.received.length;
      anna.send(anna.request(method, { to: '<sip:x@127.0.0.1>', headers }));
      await anna.until(() => anna.received.length > count, `an answer to ${method}`);
      return anna.received[count]?.status ?? 0;
    };
    expect(await outside('OPTIONS')).to.equal(200);
    expect(await outside('REGISTER')).to.equal(405);
    expect(await outside('MESSAGE')).to.equal(405);
    expect(await outside('NONSENSE')).to.equal(501);
    expect(await outside('BYE')).to.equal(481);
    expect(await outside('CANCEL')).to.equal(481);
    expect(await outside('INVITE', ['X-MV-Call-ID: c', 'Require: 100rel, timer'])).to.equal(420);
    expect(anna.received.at(-1)?.header('Unsupported')).to.equal('100rel');
    anna.send(anna.request('BYE', { to: '<sip:x@127.0.0.1>;tag=nobody' }));
    await anna.until(
      () => anna.received.filter((m) => m.status === 481 && m.method === 'BYE').length === 2,
      '481',
    );
  });

  it('refuses a request that comes out of order within a call', async () => {
    const anna = await caller();
    await answered(anna);
    anna.send(anna.request('INFO', { cseq: 1 }));
    await anna.response(500, 'INFO');
    anna.bye();
    await anna.response(200, 'BYE');
  });

  it('serves calls over TCP, in both directions of the connection', async () => {
    const anna = await caller('tcp');
    anna.tcp?.write('\r\n\r\n');
    const uuid = await answered(anna);
    expect((await anna.response(200)).header('Contact')).to.include('transport=tcp');
    await esl.api(`uuid_kill ${uuid}`);
    expect((await anna.requestReceived('BYE')).header('Via')).to.include('SIP/2.0/TCP');
  });

  it('survives garbage of every kind', async () => {
    const anna = await caller();
    for (const text of [
      '',
      '\r\n\r\n',
      'x'.repeat(3000),
      'INVITE',
      anna.request('INVITE', { to: 'no', headers: ['X-MV-Call-ID: c'] }).replace('Via:', 'Fia:'),
      anna.request('INVITE', { headers: ['X-MV-Call-ID: c'], body: 'v=0\r\nm=' }),
      anna.request('ACK'),
      'SIP/2.0 200 OK\r\nVia: x\r\n\r\n',
    ]) {
      anna.send(text);
    }
    const bea = await caller();
    const uuid = await answered(bea);
    for (const size of [0, 1, 11, 12, 13, 1500])
      bea.media.send(Buffer.alloc(size, 0x85), bea.remoteRtp?.port ?? 0, '127.0.0.1');
    bea.media.send(
      Buffer.from([0x9f, 101, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0xff, 0xff]),
      bea.remoteRtp?.port ?? 0,
      '127.0.0.1',
    );
    expect(await esl.api(`uuid_exists ${uuid}`)).to.equal('true');
    bea.bye();
    await bea.response(200, 'BYE');
    expect(node.running).to.equal(true);
    await esl.api('hupall');
  });
});

describe('embedded media node: limits and farewell', () => {
  it('says it is full with 503, to OPTIONS too', async () => {
    const node = await NodeProcess.start({ FREESWITCH_MAX_SESSIONS: '1' });
    const esl = await EslClient.connect(node.eslPort, EVENTS);
    const [anna, bea] = [await Caller.open(node.sipPort), await Caller.open(node.sipPort)];
    try {
      anna.invite();
      await esl.event('CHANNEL_PARK');
      bea.invite();
      const refusal = await bea.response(503);
      expect(refusal.start).to.equal('SIP/2.0 503 Maximum Calls In Progress');
      expect(refusal.header('Retry-After')).to.equal('300');
      bea.send(bea.request('OPTIONS', { to: '<sip:x@127.0.0.1>' }));
      await bea.response(503, 'OPTIONS');
      anna.cancel();
      await esl.event('CHANNEL_HANGUP_COMPLETE');
      bea.send(bea.request('OPTIONS', { to: '<sip:x@127.0.0.1>' }));
      await bea.response(200, 'OPTIONS');
    } finally {
      anna.close();
      bea.close();
      esl.close();
      await node.stop();
    }
  });

  it('talks SIP to its friends only', async () => {
    const node = await NodeProcess.start({ FREESWITCH_SIP_ACL: '192.0.2.0/24' });
    const anna = await Caller.open(node.sipPort);
    try {
      anna.invite();
      await anna.response(403);
      anna.send(anna.request('OPTIONS', { to: '<sip:x@127.0.0.1>' }));
      await anna.response(403, 'OPTIONS');
    } finally {
      anna.close();
      await node.stop();
    }
  });

  it('says goodbye to everybody when it is told to end', async () => {
    const node = await NodeProcess.start();
    const esl = await EslClient.connect(node.eslPort, EVENTS);
    const [anna, bea] = [await Caller.open(node.sipPort), await Caller.open(node.sipPort)];
    try {
      anna.invite();
      const first = await esl.event('CHANNEL_PARK', { variable_sip_call_id: anna.callId });
      await esl.api(`uuid_answer ${first['Unique-ID']}`);
      await anna.response(200);
      bea.invite();
      await esl.event('CHANNEL_PARK', { variable_sip_call_id: bea.callId });
      const ended = node.stop();
      await anna.requestReceived('BYE');
      await bea.until(() => bea.received.some((m) => m.status >= 400), 'a refusal');
      expect(await ended).to.equal(0);
      expect(
        esl.events.filter((e) => e['Event-Name'] === 'CHANNEL_HANGUP_COMPLETE').map((e) => e['Hangup-Cause']),
      ).to.deep.equal(['SYSTEM_SHUTDOWN', 'SYSTEM_SHUTDOWN']);
      expect(esl.frames.at(-1)?.headers['Content-Type']).to.equal('text/disconnect-notice');
    } finally {
      anna.close();
      bea.close();
      esl.close();
      await node.stop();
    }
  });
});

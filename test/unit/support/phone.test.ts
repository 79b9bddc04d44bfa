import { expect } from 'chai';
import { Phone } from '../../support/phone.ts';
import { tone } from '../../../cli/phone/sound.ts';

/** Two phones over loopback: what one does, the other must see and hear. */
describe('test/support/phone', () => {
  let phones: Phone[] = [];

  async function pair(
    transport: 'udp' | 'tcp' = 'udp',
  ): Promise<[Phone, Phone, { host: string; port: number }]> {
    const caller = await Phone.open({ address: '127.0.0.1', transport });
    const callee = await Phone.open({ address: '127.0.0.9', transport });
    phones = [caller, callee];
    return [caller, callee, { host: callee.address, port: callee.port }];
  }

  afterEach(async () => {
    await Promise.all(phones.map((phone) => phone.close()));
    phones = [];
  });

  const numbers = { from: '+15550001111', to: '+15550002222' };

  for (const transport of ['udp', 'tcp'] as const) {
    it(`calls, is heard, hears and hangs up over ${transport}`, async () => {
      const [caller, callee, via] = await pair(transport);
      callee.listen('answer', { sound: () => tone(600) });
      const call = await caller.call({ ...numbers, via, sound: tone(1000) });
      const other = await callee.incoming();
      await call.provisional(180);
      await call.answered();
      await other.answered();
      await call.heard.waitUntilTone(600);
      await other.heard.waitUntilTone(1000);
      expect(call.heard.tone(1000)).to.equal(0);
      expect(await call.hangup()).to.equal(200);
      const end = await other.ended();
      expect(end.by).to.equal('remote');
    });
  }

  it('presses keys that the other side receives once each, by RFC 4733 and by INFO', async () => {
    const [caller, callee, via] = await pair();
    callee.listen('answer');
    const call = await caller.call({ ...numbers, via });
    await call.answered();
    const other = await callee.incoming();
    await call.press('11*#D');
    await other.heard.waitUntilKeys('11*#D');
    expect(other.heard.keys).to.equal('11*#D');
    expect(await call.pressInfo('5#')).to.equal(200);
    expect(other.infoKeys).to.equal('5#');
  });

  for (const codec of ['PCMU', 'PCMA'] as const) {
    it(`speaks ${codec} when that is all the other side takes`, async () => {
      const [caller, callee, via] = await pair();
      callee.listen('answer', { codecs: [codec], sound: () => tone(700) });
      const call = await caller.call({ ...numbers, via });
      await call.answered();
      expect(call.rtp.codec).to.equal(codec);
      await call.heard.waitUntilTone(700);
    });
  }

  it('sees a refusal with its reason and headers, and acknowledges it', async () => {
    const [caller, callee, via] = await pair();
    callee.listen({ refuse: 503, reason: 'Service Unavailable', headers: [['Retry-After', '5']] });
    const call = await caller.call({ ...numbers, via });
    const final = await call.final();
    expect([final.code, final.reason, final.headers['retry-after']]).to.deep.equal([
      503,
      'Service Unavailable',
      '5',
    ]);
    await callee.message((text) => text.startsWith('ACK '));
    const outcome = await call.answered().catch((error: unknown) => String(error));
    expect(outcome).to.contain('got 503 Service Unavailable');
  });

  it('cancels while the other side rings', async () => {
    const [caller, callee, via] = await pair();
    callee.listen('ring');
    const call = await caller.call({ ...numbers, via });
    const other = await callee.incoming();
    await call.provisional(180);
    await call.cancel();
    expect((await call.final()).code).to.equal(487);
    expect((await other.ended()).how).to.equal('cancel');
  });

  it('hangs up when the answer crosses its CANCEL', async () => {
    const [caller, callee, via] = await pair();
    callee.listen('manual');
    const call = await caller.call({ ...numbers, via });
    const other = await callee.incoming();
    await call.until(() => call.provisionals[0], '100');
    other.answer();
    await call.cancel();
    expect((await other.ended()).how).to.equal('bye');
  });

  it('notices that the other side has hung up', async () => {
    const [caller, callee, via] = await pair();
    callee.listen('answer');
    const call = await caller.call({ ...numbers, via });
    await call.answered();
    const other = await callee.incoming();
    await other.answered();
    expect(await other.hangup()).to.equal(200);
    expect((await call.ended()).by).to.equal('remote');
  });

  it('holds and resumes', async () => {
    const [caller, callee, via] = await pair();
    callee.listen('answer');
    const call = await caller.call({ ...numbers, via });
    await call.answered();
    const other = await callee.incoming();
    expect((await call.hold()).direction).to.equal('recvonly');
    expect(other.remoteAudio?.direction).to.equal('sendonly');
    expect((await call.resume()).direction).to.equal('sendrecv');
  });

  it('sends in-dialog requests along the route set, in its order', async () => {
    const [caller, callee, via] = await pair();
    callee.listen('manual');
    const proxy = await Phone.open({ address: '127.0.0.2' });
    phones.push(proxy);
    // The answer a proxy would have made of it: two Record-Routes, the caller's proxy last.
    const call = await caller.call({ ...numbers, via });
    const { text } = await callee.message((message) => message.startsWith('INVITE '));
    const copied = text.split('\r\n').filter((line) => /^(Via|From|Call-ID|CSeq):/.test(line));
    callee.send(
      [
        'SIP/2.0 200 OK',
        ...copied,
        `To: <sip:${numbers.to}@example.org>;tag=far`,
        `Record-Route: <sip:10.0.0.1;lr>, <sip:${proxy.address}:${proxy.port};lr;x=1>`,
        'Contact: <sip:far@10.9.9.9:5099>',
        'Content-Type: application/sdp',
        '',
        'v=0\r\nc=IN IP4 127.0.0.9\r\nm=audio 40000 RTP/AVP 0\r\n',
      ].join('\r\n'),
      { host: caller.address, port: caller.port },
    );
    await call.answered();
    const ack = await proxy.message((message) => message.startsWith('ACK sip:far@10.9.9.9:5099 '));
    expect(ack.text).to.match(
      new RegExp(`Route: <sip:${proxy.address}:${proxy.port};lr;x=1>\r\nRoute: <sip:10.0.0.1;lr>\r\n`),
    );
    await call.hangup().catch(() => undefined);
    await proxy.message((message) => message.startsWith('BYE sip:far@10.9.9.9:5099 '));
  });

  it('dies without a word', async () => {
    const [caller, callee, via] = await pair();
    callee.listen('answer');
    const call = await caller.call({ ...numbers, via });
    await call.answered();
    const other = await callee.incoming();
    await other.answered();
    const said = call.messages.filter(({ received }) => !received).length;
    call.drop();
    other.request('BYE').catch(() => undefined);
    await caller.message((text) => text.startsWith('BYE '));
    expect(call.messages.filter(({ received }) => !received)).to.have.lengthOf(said);
  });

  it('repeats an INVITE that nobody answers, and a deaf phone says nothing', async () => {
    const [caller, callee, via] = await pair();
    callee.listen('deaf');
    await caller.call({ ...numbers, via });
    await callee.incoming();
    await callee.until(
      () => callee.messages.filter(({ text }) => text.startsWith('INVITE ')).length > 1 || undefined,
      'a second INVITE',
    );
    expect(caller.messages.filter(({ received }) => received)).to.have.lengthOf(0);
  });

  it('asks with OPTIONS outside a call, and gets an error where nobody answers', async () => {
    const [caller, , via] = await pair();
    expect((await caller.request('OPTIONS', { to: 'ping', from: 'me', via })).code).to.equal(200);
    await Promise.all(phones.splice(1).map((phone) => phone.close()));
    const outcome = await caller
      .request('OPTIONS', { to: 'ping', from: 'me', via, timeoutMs: 50 })
      .catch((error: unknown) => String(error));
    expect(outcome).to.contain('in vain');
  });

  it('keeps every message as it was on the wire', async () => {
    const [caller, callee, via] = await pair();
    callee.listen('answer');
    const call = await caller.call({ ...numbers, via, headers: [['X-Test', 'a "quoted", value']] });
    await call.answered();
    const other = await callee.incoming();
    expect(other.receivedText).to.contain('X-Test: a "quoted", value\r\n');
    expect(call.receivedText).to.contain('m=audio').and.not.contain('X-Test');
  });
});

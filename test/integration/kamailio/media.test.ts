import { expect } from 'chai';
import { Phone } from '../../support/phone.ts';
import { tone } from '../../../cli/phone/sound.ts';
import { ADDRESS, Edge, freePort, NUMBER } from './edge.ts';
import { codeOf, RawSip, requestText } from './raw-sip.ts';

describe('A webhook call at the SIP edge', () => {
  let edge: Edge;
  let carrier: Phone;
  let node: Phone;

  before(async () => {
    const port = await freePort();
    node = await Phone.open({ address: ADDRESS.media, port });
    edge = await Edge.start({ media: [`${ADDRESS.media}:${port}`] });
    edge.control.answer = () => edge.control.media('X-MV-From: +491711234567\r\n');
    carrier = await Phone.open({ address: ADDRESS.operator });
  });
  after(async () => {
    await carrier?.close();
    await node?.close();
    await edge?.stop();
  });

  it('reaches a media node and is heard both ways, through rtpengine alone', async () => {
    node.listen('answer');
    const call = await carrier.call({
      to: NUMBER.webhook,
      from: '+491711234567',
      via: edge.sip,
      sound: tone(1000),
    });
    await call.answered();
    const parked = await node.incoming();
    await Promise.all([call.heard.waitUntilTone(440), parked.heard.waitUntilTone(1000)]);
    expect(call.remoteAudio?.host).to.equal(ADDRESS.rtp);
    expect(parked.remoteAudio?.host).to.equal(ADDRESS.rtp);
    expect(call.rtp.source?.host).to.equal(ADDRESS.rtp);
    expect(parked.rtp.source?.host).to.equal(ADDRESS.rtp);
    await call.press('42#');
    await parked.heard.waitUntilKeys('42#');
    expect(await edge.relayed()).to.deep.equal(['call_1']);
    expect(await call.hangup()).to.equal(200);
    expect((await parked.ended()).how).to.equal('bye');
    expect(edge.control.notices).to.be.empty;
  });

  it('carries the headers of the decision, and none of their kind that came from outside', async () => {
    node.listen({ refuse: 486, reason: 'Busy Here' });
    const call = await carrier.call({
      to: NUMBER.webhook,
      from: '+491711234567',
      via: edge.sip,
      headers: [
        ['X-MV-Customer', 'cust_evil'],
        ['x-mv-call-id', 'call_evil'],
        ['X-Other', 'stays'],
      ],
    });
    await call.final();
    const invite = (await node.incoming()).invite?.text ?? '';
    const own = invite.match(/^x-mv-.*$/gim)?.map((line) => line.trim()) ?? [];
    expect(own.slice(0, -1)).to.deep.equal([
      'X-MV-Call-ID: call_2',
      'X-MV-Customer: cust_a',
      'X-MV-From: +491711234567',
    ]);
    expect(own.at(-1), 'how the caller is reached').to.match(/^X-MV-Far-End: sip:mv\.\S+@\S+$/);
    expect(invite).to.include('X-Other: stays');
    expect(invite).to.match(new RegExp(`^INVITE sip:\\${NUMBER.webhook}@`));
  });

  it('gets the very code the media node refuses with', async () => {
    for (const code of [404, 480, 486, 603]) {
      node.listen({ refuse: code, reason: 'Because' });
      const call = await carrier.call({ to: NUMBER.webhook, from: '+491711234567', via: edge.sip });
      expect((await call.final()).code).to.equal(code);
      await node.incoming();
    }
  });

  it('is canceled on the media node when the caller gives up', async () => {
    node.listen('ring');
    const call = await carrier.call({ to: NUMBER.webhook, from: '+491711234567', via: edge.sip });
    await call.provisional(180);
    await call.cancel();
    expect((await call.final()).code).to.equal(487);
    expect((await (await node.incoming()).ended()).how).to.equal('cancel');
  });

  it('can be put on hold and taken back by either side, keeping rtpengine in the audio', async () => {
    node.listen('answer');
    const call = await carrier.call({ to: NUMBER.webhook, from: '+491711234567', via: edge.sip });
    await call.answered();
    const parked = await node.incoming();
    for (const side of [call, parked]) {
      const held = await side.hold();
      expect(held).to.include({ host: ADDRESS.rtp, direction: 'recvonly' });
      expect(await side.resume()).to.include({ host: ADDRESS.rtp, direction: 'sendrecv' });
    }
    await parked.hangup();
    expect((await call.ended()).by).to.equal('remote');
  });

  it('is served without an offer in the INVITE, too', async () => {
    node.listen('answer');
    const call = await carrier.call({
      to: NUMBER.webhook,
      from: '+491711234567',
      via: edge.sip,
      offer: false,
    });
    const answer = await call.final();
    expect(answer.code).to.equal(200);
    expect(call.remoteAudio?.host).to.equal(ADDRESS.rtp);
    await node.incoming();
    await call.hangup();
  });

  it('reaches the caller behind a NAT where its requests come from', async () => {
    node.listen('answer');
    const natted = await RawSip.open(ADDRESS.operator);
    try {
      const sdp =
        'v=0\r\no=- 1 1 IN IP4 192.168.1.20\r\ns=-\r\nc=IN IP4 192.168.1.20\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n';
      const invite = requestText(natted, { user: NUMBER.webhook, callId: 'natted@raw' })
        .replace(/Via: SIP\/2.0\/UDP [^;]*/, 'Via: SIP/2.0/UDP 192.168.1.20:5060;rport')
        .replace(/Contact: .*\r\n/, 'Contact: <sip:raw@192.168.1.20:5060>\r\n')
        .replace(
          'Content-Length: 0\r\n\r\n',
          `Content-Type: application/sdp\r\nContent-Length: ${sdp.length}\r\n\r\n${sdp}`,
        );
      const answer = await natted.ask(invite, edge.sip);
      expect(codeOf(answer)).to.equal(200);
      const parked = await node.incoming();
      void parked.hangup().catch(() => undefined);
      const bye = await natted.until(
        () => natted.received.find((text) => text.startsWith('BYE ')),
        'the BYE',
      );
      expect(bye).to.match(/^BYE sip:raw@192\.168\.1\.20:5060 /);
    } finally {
      natted.close();
    }
  });

  it('is ended on both sides through JSON-RPC, as is done when its media node has died', async () => {
    node.listen('answer');
    const call = await carrier.call({ to: NUMBER.webhook, from: '+491711234567', via: edge.sip });
    await call.answered();
    const parked = await node.incoming();
    parked.drop();
    await edge.rpc('dlg.terminate_dlg', [call.callId, call.dialog.localTag, call.dialog.remoteTag]);
    expect(await call.ended()).to.include({ by: 'remote', how: 'bye' });
    const id = /^X-MV-Call-ID: (.*)\r$/m.exec(parked.invite?.text ?? '')?.[1] ?? 'none';
    await edge.until(
      async () => !(await edge.relayed()).includes(id) || undefined,
      'rtpengine to have forgotten the call',
    );
  });

  it('is refused with 503, and told, when rtpengine does not answer: nobody is connected around it', async () => {
    node.listen('answer');
    const placed = node.received.length;
    await edge.stopRtpengine();
    const call = await carrier.call({ to: NUMBER.webhook, from: '+491711234567', via: edge.sip });
    const final = await call.final();
    expect(final.code).to.equal(503);
    expect(final.headers['retry-after']).to.equal('5');
    expect(await edge.control.notice('failed', call.callId)).to.include({ code: 503 });
    const again = await carrier.call({ to: NUMBER.webhook, from: '+491711234567', via: edge.sip });
    expect((await again.final()).code).to.equal(503);
    expect(node.received.length).to.equal(placed);
    await edge.startRtpengine();
    const healed = await edge.until(async () => {
      const next = await carrier.call({ to: NUMBER.webhook, from: '+491711234567', via: edge.sip });
      return (await next.final()).code === 200 ? next : undefined;
    }, 'a call through the new rtpengine');
    expect(healed.remoteAudio?.host).to.equal(ADDRESS.rtp);
    await healed.hangup();
  });

  it('leaves nothing behind', async () => {
    await edge.until(async () => (await edge.dialogs()) === 0 || undefined, 'no dialog');
    await edge.until(async () => (await edge.relayed()).length === 0 || undefined, 'no relayed call');
  });
});

describe('Media nodes behind the SIP edge', () => {
  let edge: Edge;
  let carrier: Phone;
  let first: Phone;
  let second: Phone;
  let ports: [number, number];

  beforeEach(async () => {
    ports = [await freePort(), await freePort()];
    first = await Phone.open({ address: ADDRESS.media, port: ports[0] });
    second = await Phone.open({ address: ADDRESS.media2, port: ports[1] });
    edge = await Edge.start({
      media: [`${ADDRESS.media}:${ports[0]}`, `${ADDRESS.media2}:${ports[1]}`],
      environment: { MEDIA_SILENCE_MS: '500', MEDIA_SETUP_MS: '1000', PROBE_SECONDS: '1' },
    });
    edge.control.answer = () => edge.control.media();
    carrier = await Phone.open({ address: ADDRESS.operator });
  });
  afterEach(async () => {
    for (const phone of [carrier, first, second]) await phone?.close();
    await edge?.stop();
  });

  /** Calls until both have been asked at least once: the first choice goes round. */
  const call = async (): Promise<number> =>
    (await (await carrier.call({ to: NUMBER.webhook, from: '+491711234567', via: edge.sip })).final()).code;

  it('take calls in turn', async () => {
    for (const node of [first, second]) node.listen({ refuse: 486 });
    for (let i = 0; i < 4; i++) await call();
    expect([first.received.length, second.received.length]).to.deep.equal([2, 2]);
  });

  it('a call whose node refuses with 5xx goes to the next, whole', async () => {
    first.listen({ refuse: 503 });
    second.listen('answer');
    for (let i = 0; i < 2; i++) {
      const made = await carrier.call({
        to: NUMBER.webhook,
        from: '+491711234567',
        via: edge.sip,
        sound: tone(1000),
      });
      await made.answered();
      const parked = await second.incoming();
      expect(parked.invite?.text)
        .to.match(/^X-MV-Call-ID: call_\d+\r$/m)
        .and.to.match(/^Record-Route: /m)
        .and.to.match(new RegExp(`^INVITE sip:\\${NUMBER.webhook}@`));
      expect(parked.invite?.text.match(/^X-MV-Call-ID/gm)).to.have.length(1);
      await Promise.all([made.heard.waitUntilTone(440), parked.heard.waitUntilTone(1000)]);
      expect(made.remoteAudio?.host).to.equal(ADDRESS.rtp);
      expect(await made.hangup()).to.equal(200);
      await parked.ended();
    }
    expect(first.received.length).to.equal(1);
    expect(edge.control.notices).to.be.empty;
  });

  it('a dead node costs one caller its silence, and the next ones nothing; when it is back it is used again', async () => {
    await first.close();
    second.listen({ refuse: 486 });
    for (let i = 0; i < 6; i++) expect(await call()).to.equal(486);
    expect(second.received.length).to.equal(6);
    first = await Phone.open({ address: ADDRESS.media, port: ports[0] });
    first.listen({ refuse: 486 });
    await edge.until(async () => {
      await call();
      return first.received.length > 0 || undefined;
    }, 'a call to the node that is back');
  });

  const stateOf = async (port: number): Promise<string | undefined> => {
    const list = JSON.stringify(await edge.rpc('dispatcher.list'));
    return new RegExp(`:${port}","FLAGS":"(\\w+)"`).exec(list)?.[1];
  };

  it('a node that is silent to one INVITE but answers OPTIONS keeps its place', async () => {
    for (const node of [first, second]) node.listen('deaf');
    expect(await call()).to.equal(500);
    const probes = (node: Phone): number =>
      node.messages.filter(({ received, text }) => received && text.startsWith('OPTIONS ')).length;
    const before = [first, second].map(probes);
    await edge.until(
      () => Promise.resolve([first, second].every((node, i) => probes(node) > (before[i] ?? 0)) || undefined),
      'both to have been asked again',
    );
    expect([await stateOf(ports[0]), await stateOf(ports[1])]).to.deep.equal(['AP', 'AP']);
    for (const node of [first, second]) {
      node.forget();
      node.listen({ refuse: 486 });
    }
    for (let i = 0; i < 10; i++) expect(await call()).to.equal(486);
    expect([first.received.length, second.received.length]).to.deep.equal([5, 5]);
  });

  it('a node that is dead is known to be soon, whether anybody calls it or not', async () => {
    await first.close();
    await edge.until(
      async () => (await stateOf(ports[0]))?.startsWith('I') || undefined,
      'the node to be down',
      5000,
    );
    second.listen({ refuse: 486 });
    for (let i = 0; i < 4; i++) expect(await call()).to.equal(486);
    expect(second.received.length).to.equal(4);
  });

  it("a node that rings has the call: no other is tried, and its 503 is one call's failure: 500", async () => {
    for (const node of [first, second]) node.listen('ring');
    const made = await carrier.call({ to: NUMBER.webhook, from: '+491711234567', via: edge.sip });
    await made.provisional(180);
    const taken = await Promise.race([first.incoming(), second.incoming()]);
    taken.refuse(503, 'Service Unavailable');
    const final = await made.final();
    expect(final.code).to.equal(500);
    expect(final.headers).not.to.have.property('retry-after');
    expect(first.received.length + second.received.length).to.equal(1);
    expect(edge.control.notices).to.be.empty;
  });

  it('a ringing node may ring on beyond the time it had to answer', async () => {
    for (const node of [first, second]) node.listen('ring');
    const made = await carrier.call({ to: NUMBER.webhook, from: '+491711234567', via: edge.sip });
    await made.provisional(180);
    const taken = await Promise.race([first.incoming(), second.incoming()]);
    const late = Date.now() + 1500;
    await edge.until(() => Promise.resolve(Date.now() > late || undefined), 'the set-up time to be over');
    taken.answer();
    await made.answered();
    await made.hangup();
  });

  it('a node that only says 100 does not hold a caller', async () => {
    first.listen('manual');
    second.listen({ refuse: 486 });
    for (let i = 0; i < 2; i++) expect(await call()).to.equal(486);
    expect(second.received.length).to.equal(2);
  });

  it('without any node the caller gets 503 with Retry-After, the first one 500, and the control plane is told', async () => {
    await first.close();
    await second.close();
    const made = await carrier.call({ to: NUMBER.webhook, from: '+491711234567', via: edge.sip });
    expect((await made.final()).code).to.equal(500);
    expect(await edge.control.notice('failed', made.callId)).to.deep.include({
      call: 'call_1',
      code: 500,
      reason: 'Server Internal Error',
    });
    await edge.until(
      async () =>
        (await Promise.all(ports.map(stateOf))).every((state) => state?.startsWith('I')) || undefined,
      'both to be down',
    );
    const atOnce = await carrier.call({ to: NUMBER.webhook, from: '+491711234567', via: edge.sip });
    const final = await atOnce.final();
    expect(final.code).to.equal(503);
    expect(final.headers['retry-after']).to.equal('5');
    expect(await edge.control.notice('failed', atOnce.callId)).to.deep.include({
      code: 503,
      reason: 'Service Unavailable',
    });
  });

  it('nodes that are all full are a reason to come back later: 503 with Retry-After', async () => {
    for (const node of [first, second]) node.listen({ refuse: 503 });
    const made = await carrier.call({ to: NUMBER.webhook, from: '+491711234567', via: edge.sip });
    const final = await made.final();
    expect(final.code).to.equal(503);
    expect(final.headers['retry-after']).to.equal('5');
  });

  it('place no call that says not where to', async () => {
    const refused = await first.call({ to: '+4930111111', from: NUMBER.webhook, via: edge.sip });
    expect((await refused.final()).code).to.equal(403);
  });
});

import { expect } from 'chai';
import type { Call } from '../../support/call.ts';
import { Phone, type CallOptions } from '../../support/phone.ts';
import { tone } from '../../../cli/phone/sound.ts';
import { random } from '../../support/wire.ts';
import { ADDRESS, Edge, freePort, NUMBER } from './edge.ts';
import { codeOf, RawSip, requestText } from './raw-sip.ts';

const ANOTHER = '+493012345605';

describe('Calls that share a Call-ID', () => {
  let edge: Edge;
  let node: Phone;
  let one: Phone;
  let two: Phone;
  let first: Phone;
  let second: Phone;
  let calls = 0;
  /** Our ids of the calls, by the number that was dialled last. */
  const ids = new Map<string, string>();

  before(async () => {
    const port = await freePort();
    node = await Phone.open({ address: ADDRESS.media, port });
    edge = await Edge.start({ media: [`${ADDRESS.media}:${port}`] });
    await edge.set('dids', ANOTHER, 's;cust_a;');
  });
  after(async () => {
    await node?.close();
    await edge?.stop();
  });
  beforeEach(async () => {
    [one, two] = [
      await Phone.open({ address: ADDRESS.operator }),
      await Phone.open({ address: ADDRESS.operator }),
    ];
    [first, second] = [
      await Phone.open({ address: ADDRESS.customer }),
      await Phone.open({ address: ADDRESS.customer2 }),
    ];
    first.listen('answer', { sound: () => tone(440) });
    second.listen('answer', { sound: () => tone(700) });
    node.forget();
    node.listen('answer', { sound: () => tone(1300) });
    edge.control.answer = ({ to }) => {
      if (to === NUMBER.webhook) return edge.control.media();
      const call = `call_s${++calls}`;
      ids.set(to, call);
      return { action: 'sip', call, targets: [to === NUMBER.sip ? first.uri : second.uri] };
    };
  });
  afterEach(async () => {
    for (const phone of [one, two, first, second]) await phone?.close();
  });

  const dial = (phone: Phone, to: string, more: Partial<CallOptions>): Promise<Call> =>
    phone.call({ to, from: '+491711234567', via: edge.sip, ...more });

  for (const [what, tag] of [
    ['of two carriers, with From tags of their own', undefined],
    ['of a carrier that forks to two numbers', 'forked'],
  ] as const) {
    it(`live each alone, ${what}: each hears its own far end, and the end of one is not the other's`, async () => {
      const shared = { callId: `${random()}@shared`, ...(tag && { tag }) };
      const [a, b] = [
        await dial(one, NUMBER.sip, { ...shared, sound: tone(1000) }),
        await dial(two, ANOTHER, { ...shared, sound: tone(1600) }),
      ];
      await Promise.all([a.answered(), b.answered()]);
      const [atFirst, atSecond] = [await first.incoming(), await second.incoming()];
      await Promise.all([
        a.heard.waitUntilTone(440),
        b.heard.waitUntilTone(700),
        atFirst.heard.waitUntilTone(1000),
        atSecond.heard.waitUntilTone(1600),
      ]);
      expect(await edge.relayed()).to.include.members([`call_s${calls - 1}`, `call_s${calls}`]);
      expect(await a.hangup()).to.equal(200);
      await atFirst.ended();
      const before = b.heard.packets;
      await b.heard.until(() => b.heard.packets > before + 25 || undefined, 'audio that goes on');
      expect(b.isOver || atSecond.isOver).to.equal(false);
      expect(await atSecond.hangup()).to.equal(200);
      await b.ended();
    });
  }

  it('live each alone, one relayed and one on a media node', async () => {
    const shared = { callId: `${random()}@shared`, tag: 'forked' };
    const [a, b] = [await dial(one, NUMBER.webhook, shared), await dial(two, ANOTHER, shared)];
    await Promise.all([a.answered(), b.answered()]);
    await Promise.all([a.heard.waitUntilTone(1300), b.heard.waitUntilTone(700)]);
    expect(await a.hangup()).to.equal(200);
    const before = b.heard.packets;
    await b.heard.until(() => b.heard.packets > before + 25 || undefined, 'audio that goes on');
    expect(await b.hangup()).to.equal(200);
  });

  it('the CANCEL of one neither silences nor ends the other, and is told of the one', async () => {
    first.listen('ring');
    second.listen('manual', { sound: () => tone(700) });
    const shared = { callId: `${random()}@shared`, tag: 'forked' };
    const [a, b] = [await dial(one, NUMBER.sip, shared), await dial(two, ANOTHER, shared)];
    await a.provisional(180);
    const atSecond = await second.incoming();
    await a.cancel();
    expect((await a.final()).code).to.equal(487);
    expect((await edge.control.notice('canceled', shared.callId)).call).to.equal(ids.get(NUMBER.sip));
    atSecond.answer();
    await b.answered();
    await b.heard.waitUntilTone(700);
    expect((await edge.control.notice('answered', shared.callId)).call).to.equal(ids.get(ANOTHER));
    await b.hangup();
  });

  it('a CANCEL before the decision says by its branch which one it is about', async () => {
    const shared = { callId: `${random()}@shared`, tag: 'forked' };
    const { answer } = edge.control;
    edge.control.answer = async (request) => {
      if (request.to === NUMBER.sip) await edge.control.notice('canceled', shared.callId);
      return answer(request);
    };
    const b = await dial(two, ANOTHER, shared);
    await b.answered();
    const a = await dial(one, NUMBER.sip, shared);
    await edge.control.until(
      () =>
        edge.control.routes.find(({ sip_call_id, to }) => sip_call_id === shared.callId && to === NUMBER.sip),
      'the request',
    );
    await a.cancel();
    expect((await a.final()).code).to.equal(487);
    const asked = edge.control.routes.find(
      ({ sip_call_id, to }) => sip_call_id === shared.callId && to === NUMBER.sip,
    );
    expect(await edge.control.notice('canceled', shared.callId)).to.include({
      call: '',
      branch: asked?.branch,
    });
    expect(b.isOver).to.equal(false);
    await b.hangup();
  });

  for (const number of [NUMBER.webhook, NUMBER.sip]) {
    it(`the same INVITE by two paths is one call to ${number === NUMBER.sip ? "a customer's SIP URI" : 'a media node'}, ringing or answered: the second one gets 482`, async () => {
      (number === NUMBER.sip ? first : node).listen('manual');
      const [called] = [number === NUMBER.sip ? first : node];
      const raw = await RawSip.open(ADDRESS.operator);
      try {
        const callId = `${random()}@merged`;
        const call = await dial(one, number, { callId, tag: 'raw' });
        const ringing = await called.incoming();
        expect(codeOf(await raw.ask(requestText(raw, { user: number, callId }), edge.sip))).to.equal(482);
        ringing.answer();
        await call.answered();
        expect(codeOf(await raw.ask(requestText(raw, { user: number, callId }), edge.sip))).to.equal(482);
        expect(edge.control.routes.filter(({ sip_call_id }) => sip_call_id === callId)).to.have.length(1);
        expect(called.received.filter((received) => received.callId === callId)).to.have.length(1);
        await call.hangup();
      } finally {
        raw.close();
      }
    });
  }

  it('an INVITE that was refused may come again by another path', async () => {
    first.listen({ refuse: 486 });
    const callId = `${random()}@again`;
    const call = await dial(one, NUMBER.sip, { callId, tag: 'raw' });
    expect((await call.final()).code).to.equal(486);
    edge.control.answer = () => ({ action: 'sip', call: `call_s${++calls}`, targets: [second.uri] });
    second.listen({ refuse: 603 });
    const raw = await RawSip.open(ADDRESS.operator);
    try {
      expect(codeOf(await raw.ask(requestText(raw, { user: NUMBER.sip, callId }), edge.sip))).to.equal(603);
      expect(edge.control.routes.filter(({ sip_call_id }) => sip_call_id === callId)).to.have.length(2);
    } finally {
      raw.close();
    }
  });

  it('of a carrier that forks to two numbers of media nodes, one is enough: they are one user agent', async () => {
    const shared = { callId: `${random()}@shared`, tag: 'forked' };
    const [a, b] = [await dial(one, NUMBER.webhook, shared), await dial(two, NUMBER.american, shared)];
    await a.answered();
    expect((await b.final()).code).to.equal(482);
    await a.hangup();
  });

  it('a second far end that answers a call of ours is let go, and the first one keeps its audio', async () => {
    const call = await node.call({
      to: '+4930111',
      from: '+15551111',
      via: edge.sip,
      sound: tone(1000),
      headers: [
        ['X-MV-Call-ID', 'call_1'],
        ['X-MV-Targets', first.uri],
      ],
    });
    await call.answered();
    const called = await first.incoming();
    const invite = called.invite;
    if (!invite) throw new Error('nobody was called');
    // Another telephone behind the same proxy answers, too.
    const late = await RawSip.open(ADDRESS.other);
    try {
      late.send(answerOf(invite.text, 'late', `<sip:late@${ADDRESS.other}>`), edge.sip);
      for (const method of ['ACK', 'BYE']) {
        const request = await late.until(
          () => late.received.find((text) => text.startsWith(`${method} sip:late@${ADDRESS.other}`)),
          method,
        );
        expect(request).to.match(/^To: .*;tag=late\r$/m);
      }
    } finally {
      late.close();
    }
    const before = { call: call.heard.packets, called: called.heard.packets };
    await call.heard.until(
      () => call.heard.packets > before.call + 25 || undefined,
      'audio from who has answered',
    );
    await called.heard.until(
      () => called.heard.packets > before.called + 25 || undefined,
      'audio to who has answered',
    );
    expect(called.remoteAudio?.host).to.equal(ADDRESS.rtp);
    expect(call.receivedText).not.to.include(';tag=late').and.not.to.include(ADDRESS.other);
    expect(await call.hangup()).to.equal(200);
    await called.ended();
  });

  it('after a restart of the edge rtpengine still knows each by the name it was given', async () => {
    const shared = { callId: `${random()}@shared`, tag: 'forked' };
    const [a, b] = [await dial(one, NUMBER.sip, shared), await dial(two, ANOTHER, shared)];
    await Promise.all([a.answered(), b.answered()]);
    const atFirst = await first.incoming();
    await edge.stopKamailio('SIGKILL');
    await edge.startKamailio();
    await edge.push();
    await edge.set('dids', ANOTHER, 's;cust_a;');
    expect(await a.hold()).to.include({ host: ADDRESS.rtp });
    expect(await a.resume()).to.include({ host: ADDRESS.rtp });
    expect(await atFirst.hangup()).to.equal(200);
    await a.ended();
    const before = b.heard.packets;
    await b.heard.until(() => b.heard.packets > before + 25 || undefined, 'audio that goes on');
    expect(await b.hangup()).to.equal(200);
    await edge.until(async () => (await edge.relayed()).length === 0 || undefined, 'no relayed call');
  });

  it('a call that was relayed without a decision has a name of its own, and keeps it over a restart', async () => {
    await edge.set('sip_targets', NUMBER.sip, first.uri);
    edge.control.answer = () => ({ status: 500 });
    const call = await dial(one, NUMBER.sip, {});
    await call.answered();
    expect((await edge.relayed()).filter((id) => id.startsWith('edge-'))).to.have.length(1);
    await edge.stopKamailio('SIGKILL');
    await edge.startKamailio();
    await edge.push();
    await edge.set('dids', ANOTHER, 's;cust_a;');
    expect(await call.hangup()).to.equal(200);
    await edge.until(async () => (await edge.relayed()).length === 0 || undefined, 'no relayed call');
  });

  it('leave nothing behind', async () => {
    await edge.until(async () => (await edge.dialogs()) === 0 || undefined, 'no dialog');
    await edge.until(async () => (await edge.relayed()).length === 0 || undefined, 'no relayed call');
  });
});

/** A 200 to an INVITE, of somebody with this tag and Contact. */
function answerOf(invite: string, tag: string, contact: string): string {
  const kept = invite
    .split('\r\n')
    .filter((line) => /^(Via|Record-Route|From|To|Call-ID|CSeq): /i.test(line));
  const sdp = `v=0\r\no=- 1 1 IN IP4 ${ADDRESS.other}\r\ns=-\r\nc=IN IP4 ${ADDRESS.other}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n`;
  return [
    'SIP/2.0 200 OK',
    ...kept.map((line) => (line.startsWith('To: ') ? `${line};tag=${tag}` : line)),
    `Contact: ${contact}`,
    'Content-Type: application/sdp',
    `Content-Length: ${sdp.length}`,
    '',
    sdp,
  ].join('\r\n');
}

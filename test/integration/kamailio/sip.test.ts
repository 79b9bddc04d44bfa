import { expect } from 'chai';
import type { Manner } from '../../support/phone.ts';
import { Phone } from '../../support/phone.ts';
import { tone } from '../../../cli/phone/sound.ts';
import { ADDRESS, Edge, NUMBER } from './edge.ts';

describe('A call relayed to the SIP URIs of a customer', () => {
  let edge: Edge;
  let carrier: Phone;
  let first: Phone;
  let second: Phone;
  let calls = 0;

  before(async () => {
    edge = await Edge.start({ environment: { TARGET_SILENCE_MS: '600', TARGET_RING_MS: '1500' } });
    carrier = await Phone.open({ address: ADDRESS.operator });
  });
  after(async () => {
    await carrier?.close();
    await edge?.stop();
  });
  beforeEach(async () => {
    first = await Phone.open({ address: ADDRESS.customer });
    second = await Phone.open({ address: ADDRESS.customer2 });
    edge.control.answer = () => ({
      action: 'sip',
      call: `call_${++calls}`,
      targets: [first.uri.replace('phone@', '+4930555@'), second.uri],
    });
  });
  afterEach(async () => {
    await first?.close();
    await second?.close();
  });

  const dial = (): ReturnType<Phone['call']> =>
    carrier.call({ to: NUMBER.sip, from: '+491711234567', via: edge.sip, sound: tone(1000) });
  const eventsOf = (callId: string): string[] =>
    edge.control.notices.filter((notice) => notice.sip_call_id === callId).map(({ event }) => event);

  it('is heard both ways through rtpengine; its answer and its end are told', async () => {
    first.listen('answer');
    const call = await dial();
    await call.answered();
    const called = await first.incoming();
    expect(called.invite?.text).to.match(/^INVITE sip:\+4930555@127\.0\.0\.7/);
    await Promise.all([call.heard.waitUntilTone(440), called.heard.waitUntilTone(1000)]);
    expect(called.remoteAudio?.host).to.equal(ADDRESS.rtp);
    expect(call.remoteAudio?.host).to.equal(ADDRESS.rtp);
    expect(await edge.control.notice('answered', call.callId)).to.include({
      call: `call_${calls}`,
      from_tag: call.dialog.localTag,
    });
    expect(await call.hangup()).to.equal(200);
    await called.ended();
    expect(await edge.control.notice('ended', call.callId)).to.include({
      call: `call_${calls}`,
      by: 'caller',
    });
    expect(eventsOf(call.callId)).to.deep.equal(['answered', 'ended']);
  });

  it('tells who hung up, and takes a BYE from a customer whose address no trunk has', async () => {
    first.listen('answer');
    const call = await dial();
    await call.answered();
    const called = await first.incoming();
    expect(await called.hangup()).to.equal(200);
    await call.ended();
    expect(await edge.control.notice('ended', call.callId)).to.include({ by: 'callee' });
  });

  it("can be ended through JSON-RPC, which is told as the platform's doing", async () => {
    first.listen('answer');
    const call = await dial();
    await call.answered();
    const called = await first.incoming();
    await edge.control.notice('answered', call.callId);
    await edge.rpc('dlg.terminate_dlg', [call.callId, call.dialog.localTag, call.dialog.remoteTag]);
    expect(await call.ended()).to.include({ by: 'remote', how: 'bye' });
    expect(await called.ended()).to.include({ by: 'remote', how: 'bye' });
    expect(await edge.control.notice('ended', call.callId)).to.include({ by: 'platform' });
  });

  it('can be put on hold and taken back by the customer', async () => {
    first.listen('answer');
    const call = await dial();
    await call.answered();
    const called = await first.incoming();
    expect(await called.hold()).to.include({ host: ADDRESS.rtp, direction: 'recvonly' });
    expect(await called.resume()).to.include({ host: ADDRESS.rtp, direction: 'sendrecv' });
    await call.hangup();
    await called.ended();
  });

  it("is canceled at the customer's when the caller gives up, which is told", async () => {
    first.listen('ring');
    const call = await dial();
    await call.provisional(180);
    await call.cancel();
    expect((await call.final()).code).to.equal(487);
    expect((await (await first.incoming()).ended()).how).to.equal('cancel');
    expect(await edge.control.notice('canceled', call.callId)).to.include({
      call: `call_${calls}`,
      by: 'caller',
    });
    expect(second.received).to.be.empty;
    expect(eventsOf(call.callId)).to.deep.equal(['canceled']);
  });

  // The failover table of the contract, row by row.
  const next: [what: string, manner: Manner][] = [
    ...[408, 500, 502, 503, 504].map((code): [string, Manner] => [
      `a ${code}`,
      { refuse: code, reason: 'Failed' },
    ]),
    ['no answer to the INVITE at all', 'deaf'],
  ];
  for (const [what, manner] of next) {
    it(`${what} of the first target tries the second`, async () => {
      first.listen(manner);
      second.listen('answer');
      const call = await dial();
      await call.answered();
      const called = await second.incoming();
      await Promise.all([call.heard.waitUntilTone(440), called.heard.waitUntilTone(1000)]);
      expect(called.invite?.text)
        .to.match(/^Record-Route: /m)
        .and.to.match(/^INVITE sip:phone@127\.0\.0\.8/);
      expect(await call.hangup()).to.equal(200);
      await edge.control.notice('ended', call.callId);
      expect(eventsOf(call.callId)).to.deep.equal(['answered', 'ended']);
    });
  }

  const last: [code: number, told: number][] = [
    [486, 486],
    [600, 600],
    [603, 603],
    [487, 487],
    [404, 404],
    [480, 480],
    [488, 488],
    [403, 403],
    [401, 403],
    [407, 403],
    [302, 480],
  ];
  for (const [code, told] of last) {
    it(`a ${code} of the first target is the end: the caller gets ${told}`, async () => {
      first.listen({
        refuse: code,
        reason: 'See sip:inside@10.9.8.7',
        headers: [
          ['Contact', '<sip:elsewhere@10.9.8.7>'],
          ['Warning', '399 10.9.8.7 "no"'],
        ],
      });
      second.listen('answer');
      const call = await dial();
      const final = await call.final();
      expect(final.code).to.equal(told);
      expect(call.receivedText).not.to.include('10.9.8.7');
      expect(await edge.control.notice('failed', call.callId)).to.include({
        call: `call_${calls}`,
        code,
        by: 'callee',
      });
      expect(second.received).to.be.empty;
    });
  }

  it('a target that rings and is not answered is the end, too', async () => {
    first.listen('ring');
    second.listen('answer');
    const call = await dial();
    expect((await call.final()).code).to.equal(408);
    expect((await (await first.incoming()).ended()).how).to.equal('cancel');
    expect(await edge.control.notice('failed', call.callId)).to.include({ code: 408 });
    expect(second.received).to.be.empty;
  });

  for (const [what, manner] of [
    ['silence', 'deaf'],
    ['a 408', { refuse: 408 }],
    ['a 500', { refuse: 500 }],
  ] as [string, Manner][]) {
    it(`${what} of the first target does not hide what the second one says`, async () => {
      first.listen(manner);
      second.listen({ refuse: 486 });
      const call = await dial();
      expect((await call.final()).code).to.equal(486);
      expect(await edge.control.notice('failed', call.callId)).to.include({ code: 486 });
    });
  }

  it('a target that cannot be sent to counts as tried', async () => {
    second.listen('answer');
    edge.control.answer = () => ({
      action: 'sip',
      call: `call_${++calls}`,
      targets: ['sip:x@no-such-host.invalid', 'mailto:x@y', '', 'sips:x@127.0.0.7', second.uri],
    });
    const call = await dial();
    await call.answered();
    await call.hangup();
  });

  it("when all have failed the caller gets the last one's code, and a 503 as 500: it is no word about our other numbers", async () => {
    first.listen({ refuse: 500 });
    second.listen({ refuse: 503 });
    const call = await dial();
    const final = await call.final();
    expect(final.code).to.equal(500);
    expect(final.headers).not.to.have.property('retry-after');
    expect(await edge.control.notice('failed', call.callId)).to.include({ code: 503 });
    expect([first.received.length, second.received.length]).to.deep.equal([1, 1]);
  });

  it('what the targets said that did not take it is told', async () => {
    first.listen({ refuse: 500, reason: 'Out Of Order' });
    second.listen({ refuse: 404, reason: 'Nobody' });
    const call = await dial();
    await call.final();
    const failed = await edge.control.notice('failed', call.callId);
    expect(failed.tries).to.equal(
      `5xx;500;Out Of Order;${first.uri.replace('phone@', '+4930555@')}|4xx;404;Nobody;${second.uri}|`,
    );
  });

  it('is refused when rtpengine does not answer: nobody is connected around it', async () => {
    first.listen('answer');
    await edge.stopRtpengine();
    const call = await dial();
    const final = await call.final();
    expect(final.code).to.equal(503);
    expect(final.headers['retry-after']).to.equal('5');
    expect(await edge.control.notice('failed', call.callId)).to.include({ code: 503 });
    expect(first.received).to.be.empty;
    await edge.startRtpengine();
  });

  it('leaves nothing behind', async () => {
    await edge.until(async () => (await edge.dialogs()) === 0 || undefined, 'no dialog');
    await edge.until(async () => (await edge.relayed()).length === 0 || undefined, 'no relayed call');
  });
});

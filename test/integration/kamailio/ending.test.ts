import { expect } from 'chai';
import { pino } from 'pino';
import { farEndOf, sidesOf, type FarEnd } from '../../../control/lib/far-end.ts';
import { CallEnder, type EndedCall } from '../../../control/edge/call-ender.ts';
import { dialogsOf } from '../../../control/edge/dialog.ts';
import { KamailioRpc } from '../../../control/edge/kamailio-rpc.ts';
import { Rtpengine } from '../../../control/streams/rtpengine.ts';
import type { Call } from '../../support/call.ts';
import { Phone, type CallOptions } from '../../support/phone.ts';
import { random } from '../../support/wire.ts';
import { ADDRESS, Edge, freePort, NUMBER } from './edge.ts';

describe('Ending calls of ours at the SIP edge', () => {
  let edge: Edge;
  let node: Phone;
  let carrier: Phone;
  let other: Phone;
  let customer: Phone;
  let rpc: KamailioRpc;
  let rtpengine: Rtpengine;
  let ender: CallEnder;
  let calls = 0;

  before(async () => {
    const port = await freePort();
    node = await Phone.open({ address: ADDRESS.media, port });
    edge = await Edge.start({ media: [`${ADDRESS.media}:${port}`] });
    rpc = new KamailioRpc(edge.rpcUrl);
    rtpengine = new Rtpengine([edge.ng]);
    ender = new CallEnder({ rpcs: [rpc], audio: rtpengine, logger: pino({ enabled: false }) });
  });
  after(async () => {
    rpc?.close();
    rtpengine?.close();
    await node?.close();
    await edge?.stop();
  });
  beforeEach(async () => {
    [carrier, other] = [
      await Phone.open({ address: ADDRESS.operator }),
      await Phone.open({ address: ADDRESS.operator }),
    ];
    customer = await Phone.open({ address: ADDRESS.customer });
    customer.listen('answer');
    node.forget();
    node.listen('answer');
    edge.control.answer = ({ to }) => {
      if (to === NUMBER.webhook) return edge.control.media();
      return { action: 'sip', call: `call_e${++calls}`, targets: [customer.uri] };
    };
  });
  afterEach(async () => {
    for (const phone of [carrier, other, customer]) await phone?.close();
  });

  const dial = (phone: Phone, to: string, more: Partial<CallOptions> = {}): Promise<Call> =>
    phone.call({ to, from: '+491711234567', via: edge.sip, ...more });
  /** It began before anything was started here. */
  const ours = (id: string, farEnds: FarEnd[] = []): EndedCall => ({ id, createdAt: new Date(0), farEnds });
  const restart = async (signal: NodeJS.Signals): Promise<void> => {
    await edge.stopKamailio(signal);
    await edge.startKamailio();
  };
  const sidesTold = async (call: Call): Promise<FarEnd[]> => {
    const {
      to_tag: toTag = '',
      to_caller: toCaller = '',
      to_callee: toCallee = '',
      caller_routes: callerRoutes = '',
      callee_routes: calleeRoutes = '',
      from_tag: fromTag,
    } = await edge.control.notice('answered', call.callId);
    return sidesOf({
      sipCallId: call.callId,
      fromTag,
      toTag,
      toCaller,
      toCallee,
      callerRoutes,
      calleeRoutes,
    });
  };

  for (const tag of [undefined, 'shared']) {
    it(`one of two that share a Call-ID${tag ? ' and a From tag' : ''} ends alone`, async () => {
      const shared = { callId: `${random()}@shared`, ...(tag && { tag }) };
      await edge.set('dids', '+493012345606', 's;cust_a;');
      const second = await Phone.open({ address: ADDRESS.customer2 });
      second.listen('answer');
      const a = await dial(carrier, NUMBER.sip, shared);
      await a.answered();
      edge.control.answer = () => ({ action: 'sip', call: `call_e${++calls}`, targets: [second.uri] });
      const b = await dial(other, '+493012345606', shared);
      await b.answered();
      expect(await ender.end(ours(`call_e${calls}`))).to.equal(true);
      expect(await b.ended()).to.include({ by: 'remote', how: 'bye' });
      expect(await dialogsOf(rpc, { id: `call_e${calls - 1}` })).to.have.lengthOf(1);
      expect(await a.hangup()).to.equal(200);
      await second.close();
    });
  }

  it('one of two that ring with one Call-ID ends alone, its caller is told so, and nothing of it stays', async () => {
    const shared = { callId: `${random()}@shared` };
    customer.listen('ring');
    const a = await dial(carrier, NUMBER.sip, shared);
    await customer.incoming();
    const second = await Phone.open({ address: ADDRESS.customer2 });
    second.listen('ring');
    edge.control.answer = () => ({ action: 'sip', call: `call_e${++calls}`, targets: [second.uri] });
    const b = await dial(other, NUMBER.sip, shared);
    const there = await second.incoming();
    expect(await ender.end(ours(`call_e${calls}`))).to.equal(true);
    expect((await b.final()).code).to.equal(487);
    expect((await there.ended()).how).to.equal('cancel');
    expect(await dialogsOf(rpc, { id: `call_e${calls - 1}` })).to.have.lengthOf(1);
    await edge.until(
      async () => ((await edge.relayed()).includes(`call_e${calls}`) ? undefined : true),
      'its audio to be forgotten',
    );
    await a.cancel();
    await second.close();
  });

  it('a call whose called side answers as it is ended is let go all the same', async () => {
    customer.listen('manual');
    const call = await dial(carrier, NUMBER.sip);
    const there = await customer.incoming();
    there.ring();
    await edge.until(
      async () => ((await dialogsOf(rpc, { id: `call_e${calls}` })).length > 0 ? true : undefined),
      'the dialog',
    );
    const ending = ender.end(ours(`call_e${calls}`));
    there.answer();
    expect(await ending).to.equal(true);
    expect(await there.ended()).to.include({ by: 'remote' });
    if ((await call.final()).code === 200) await call.ended();
    await edge.until(
      async () =>
        (await dialogsOf(rpc, { id: `call_e${calls}` })).some(({ state }) => state !== 'over')
          ? undefined
          : true,
      'the end of the dialog',
    );
  });

  it('a call that a media node has placed ends on both sides, ringing or up', async () => {
    for (const manner of ['ring', 'answer'] as const) {
      customer.listen(manner);
      const call = await node.call({
        to: '+4930555',
        from: '+4930111',
        via: edge.sip,
        headers: [
          ['X-MV-Targets', customer.uri],
          ['X-MV-Call-ID', `call_out_${manner}`],
        ],
      });
      const there = await customer.incoming();
      if (manner === 'answer') await call.answered();
      expect(await ender.end(ours(`call_out_${manner}`))).to.equal(true);
      expect(await there.ended()).to.include({ by: 'remote' });
      if (manner === 'ring') expect((await call.final()).code).to.equal(487);
      else expect(await call.ended()).to.include({ by: 'remote', how: 'bye' });
    }
  });

  it('a call that is over, or never was, is known to be', async () => {
    expect(await ender.end({ id: 'call_none', createdAt: new Date(Date.now() + 3_600_000) })).to.equal(false);
  });

  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    describe(`after a restart by ${signal}`, () => {
      after(() => edge.push());
      beforeEach(() => edge.push());

      it('a relayed call gets a BYE on both sides', async () => {
        const call = await dial(carrier, NUMBER.sip);
        await call.answered();
        const there = await customer.incoming();
        const sides = await sidesTold(call);
        await restart(signal);
        expect(await ender.end(ours(`call_e${calls}`, sides))).to.equal(true);
        expect(await call.ended()).to.include({ by: 'remote', how: 'bye' });
        expect(await there.ended()).to.include({ by: 'remote', how: 'bye' });
        await edge.until(
          async () => ((await edge.relayed()).includes(`call_e${calls}`) ? undefined : true),
          'its audio to be forgotten',
        );
      });

      it('the BYE of either side of a relayed call is told of, with whose it is', async () => {
        for (const by of ['caller', 'callee'] as const) {
          const call = await dial(carrier, NUMBER.sip);
          await call.answered();
          const there = await customer.incoming();
          await restart(signal);
          const [from, to] = by === 'caller' ? [call, there] : [there, call];
          expect(await from.hangup()).to.equal(200);
          await to.ended();
          const told = await edge.control.notice('ended', call.callId);
          expect(told).to.include({ call: `call_e${calls}`, by: 'side', from_tag: from.dialog.localTag });
          await edge.push();
        }
      });

      it('who is with a media node that is gone then gets a BYE: a caller, and whom it has called', async () => {
        const parked = await dial(carrier, NUMBER.webhook);
        await parked.answered();
        const onNode = await node.incoming();
        const placed = await node.call({
          to: '+4930555',
          from: '+4930111',
          via: edge.sip,
          headers: [
            ['X-MV-Targets', customer.uri],
            ['X-MV-Call-ID', 'call_out_gone'],
          ],
        });
        const answer = await placed.answered();
        const there = await customer.incoming();
        await restart(signal);
        const namesOf = ({ callId, dialog }: Call, placing: boolean) => ({
          callId,
          fromTag: placing ? dialog.localTag : dialog.remoteTag,
          toTag: placing ? dialog.remoteTag : dialog.localTag,
        });
        const ends = [
          farEndOf(
            /^X-MV-Far-End: (.*?)\r$/m.exec(onNode.invite?.text ?? '')?.[1],
            namesOf(onNode, false),
            false,
          ),
          farEndOf(answer.headers['x-mv-far-end'], namesOf(placed, true), true),
        ].flatMap((end) => end ?? []);
        expect(ends).to.have.lengthOf(2);
        expect(await ender.end(ours('call_gone', ends))).to.equal(true);
        expect(await parked.ended()).to.include({ by: 'remote', how: 'bye' });
        expect(await there.ended()).to.include({ by: 'remote', how: 'bye' });
      });
    });
  }

  it('goes through the proxies on the way to the caller', async () => {
    await edge.push();
    const proxy = await Phone.open({ address: ADDRESS.operator });
    const call = await dial(carrier, NUMBER.sip, {
      headers: [['Record-Route', `<sip:${proxy.address}:${proxy.port};lr>`]],
    });
    await call.answered();
    const sides = await sidesTold(call);
    expect(sides[0]?.routes).to.contain(`sip:${proxy.address}:${proxy.port};lr`);
    await restart('SIGKILL');
    await ender.end(ours(`call_e${calls}`, sides));
    const bye = await proxy.message((text) => text.startsWith('BYE '));
    expect(bye.text).to.match(new RegExp(`^Route: .*sip:${proxy.address}:${proxy.port};lr`, 'm'));
    await proxy.close();
  });
});

import { expect } from 'chai';
import { isThere } from '../../../control/edge/dialog.ts';
import { KamailioRpc } from '../../../control/edge/kamailio-rpc.ts';
import { sidesOf, type FarEnd } from '../../../control/lib/far-end.ts';
import type { Call } from '../../support/call.ts';
import { Phone } from '../../support/phone.ts';
import { ADDRESS, Edge, freePort, NUMBER } from './edge.ts';

describe('Who is in a call, asked by the SIP edge', function () {
  this.timeout(60_000);
  let edge: Edge;
  let node: Phone;
  let carrier: Phone;
  let customer: Phone;
  let rpc: KamailioRpc;

  before(async () => {
    const port = await freePort();
    node = await Phone.open({ address: ADDRESS.media, port });
    edge = await Edge.start({ media: [`${ADDRESS.media}:${port}`] });
    rpc = new KamailioRpc(edge.rpcUrl);
  });
  after(async () => {
    rpc?.close();
    await node?.close();
    await edge?.stop();
  });
  beforeEach(async () => {
    [carrier, customer] = [
      await Phone.open({ address: ADDRESS.operator }),
      await Phone.open({ address: ADDRESS.customer }),
    ];
    customer.listen('answer');
  });
  afterEach(async () => {
    for (const phone of [carrier, customer]) await phone?.close();
  });

  /** A relayed call, and how its sides are reached: the caller, then the customer. */
  async function relayed(id: string): Promise<{ call: Call; far: Call; ends: FarEnd[] }> {
    edge.control.answer = () => ({ action: 'sip', call: id, targets: [customer.uri] });
    const call = await carrier.call({ to: NUMBER.sip, from: '+491711234567', via: edge.sip });
    await call.answered();
    const far = await customer.incoming();
    const {
      to_tag: toTag = '',
      to_caller: toCaller = '',
      to_callee: toCallee = '',
      caller_routes: callerRoutes = '',
      callee_routes: calleeRoutes = '',
      from_tag: fromTag,
    } = await edge.control.notice('answered', call.callId);
    return {
      call,
      far,
      ends: sidesOf({
        sipCallId: call.callId,
        fromTag,
        toTag,
        toCaller,
        toCallee,
        callerRoutes,
        calleeRoutes,
      }),
    };
  }

  const numbers = async (id: string): Promise<unknown> =>
    (
      (await rpc.call('dlg.profile_list', ['call', id])) as {
        caller: { cseq: string };
        callee: { cseq: string };
      }[]
    ).map(({ caller, callee }) => [caller.cseq, callee.cseq]);

  it("both sides answer, which changes nothing for Kamailio's dialog, and either of them is enough", async () => {
    const { call, far, ends } = await relayed('call_p1');
    await call.hold();
    await call.resume();
    const before = await numbers('call_p1');
    expect(await isThere([rpc], ends)).to.equal(true);
    for (const side of [call, far])
      expect(side.receivedText)
        .to.match(/^OPTIONS /m)
        .and.not.to.include('X-MV');
    expect(await numbers('call_p1')).to.deep.equal(before);
    far.drop();
    expect(await isThere([rpc], ends)).to.equal(true);
    call.leave();
  });

  it('nobody answers for sixteen seconds: nobody is there', async () => {
    const { call, far, ends } = await relayed('call_p3');
    call.drop();
    far.drop();
    expect(await isThere([rpc], ends)).to.equal(false);
  });

  it('a Kamailio that has forgotten the dialog can be asked all the same, and one that is away can not', async () => {
    const { call, ends } = await relayed('call_p4');
    await edge.stopKamailio('SIGKILL');
    expect(await isThere([rpc], ends)).to.equal(undefined);
    await edge.startKamailio();
    expect(await isThere([rpc], ends)).to.equal(true);
    expect(await call.hangup()).to.equal(200);
  });

  it('a call that was given up is not let out, whatever a media node does late', async () => {
    await rpc.call('htable.sets', ['given_up', 'call_p5', '1']);
    const headers = (id: string): [string, string][] => [
      ['X-MV-Call-ID', id],
      ['X-MV-Targets', customer.uri],
    ];
    const refused = await node.call({
      to: '+4930555',
      from: '+4930111',
      via: edge.sip,
      headers: headers('call_p5'),
    });
    expect((await refused.final()).code).to.equal(487);
    const other = await node.call({
      to: '+4930555',
      from: '+4930111',
      via: edge.sip,
      headers: headers('call_p6'),
    });
    await other.answered();
    expect(customer.received).to.have.length(1);
    await other.hangup();
  });
});

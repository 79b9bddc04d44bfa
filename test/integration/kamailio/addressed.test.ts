import { expect } from 'chai';
import type { Call } from '../../support/phone.ts';
import { Phone } from '../../support/phone.ts';
import { ADDRESS, Edge, freePort, NUMBER } from './edge.ts';

/**
 * From now on the phone addresses what it sends within the call to this URI, whatever Contact it is told
 * (against RFC 3261 §12.2.1.1).
 */
function addressesTo({ dialog }: Call, uri: string): void {
  dialog.refresh = () => undefined;
  dialog.target = uri;
}

describe('A peer that forgets our Contact within a call', () => {
  let edge: Edge;
  let carrier: Phone;
  let node: Phone;
  let customer: Phone;
  let proxy: string;

  before(async () => {
    const port = await freePort();
    node = await Phone.open({ address: ADDRESS.media, port });
    customer = await Phone.open({ address: ADDRESS.customer });
    carrier = await Phone.open({ address: ADDRESS.operator });
    edge = await Edge.start({ media: [`${ADDRESS.media}:${port}`] });
    edge.control.answer = (request) =>
      request.to === NUMBER.sip
        ? { action: 'sip', call: 'call_sip', targets: [customer.uri] }
        : edge.control.media();
    node.listen('answer');
    customer.listen('answer');
    proxy = `sip:${edge.sip.host}:${edge.sip.port}`;
  });
  after(async () => {
    for (const phone of [carrier, node, customer]) await phone?.close();
    await edge?.stop();
  });

  const kinds = [
    ['on a media node', NUMBER.webhook, () => node],
    ['relayed to a customer', NUMBER.sip, () => customer],
  ] as const;
  for (const [what, number, far] of kinds) {
    const farOf = (): Promise<Call> => far().incoming();
    const dial = async (): Promise<{ call: Call; called: Call }> => {
      const call = await carrier.call({ to: number, from: '+491711234567', via: edge.sip });
      // The dialled URI is what a call's target is before its answer.
      addressesTo(call, call.dialog.target);
      await call.final();
      return { call, called: await farOf() };
    };

    it(`is understood by its Route: ACK and BYE to the dialled URI, of a call ${what}`, async () => {
      const { call, called } = await dial();
      await called.answered();
      expect(await call.hangup()).to.equal(200);
      expect(await called.ended()).to.include({ by: 'remote', how: 'bye' });
      await edge.until(async () => (await edge.dialogs()) === 0 || undefined, 'the end of the dialog');
    });

    it(`is understood after a restart of Kamailio, too, on either side of a call ${what}`, async () => {
      const { call, called } = await dial();
      await called.answered();
      const other = await dial();
      await other.called.answered();
      await edge.stopKamailio('SIGKILL');
      await edge.startKamailio();
      await edge.push();
      expect((await call.request('INFO')).code).to.equal(200);
      addressesTo(called, proxy);
      expect(await called.hangup()).to.equal(200);
      expect(await call.ended()).to.include({ by: 'remote', how: 'bye' });
      expect(await other.call.hangup()).to.equal(200);
      expect(await other.called.ended()).to.include({ by: 'remote', how: 'bye' });
    });

    it(`is understood by Call-ID and tags when it has forgotten the Route as well, of a call ${what}`, async () => {
      const { call, called } = await dial();
      await called.answered();
      const headers = call.dialog.headers.bind(call.dialog);
      call.dialog.headers = (method, ackOf) => headers(method, ackOf).filter(([name]) => name !== 'Route');
      expect(await call.hangup()).to.equal(200);
      expect(await called.ended()).to.include({ by: 'remote', how: 'bye' });
    });

    it(`has the ACK of a refusal taken, which names no dialog of ours, of a call ${what}`, async () => {
      far().listen({ refuse: 486 });
      const call = await carrier.call({ to: number, from: '+491711234567', via: edge.sip });
      expect((await call.final()).code).to.equal(486);
      const acknowledged = async (): Promise<boolean> => {
        const { current, waiting } = (await edge.rpc('tm.stats')) as { current: number; waiting: number };
        return current === waiting;
      };
      await edge.until(async () => (await acknowledged()) || undefined, 'all transactions to be over', 3000);
      expect(edge.log).not.to.include('ERROR');
      far().listen('answer');
      await farOf();
    });

    it(`is told 481 when the tags are another call's, or none of ours: of a call ${what}`, async () => {
      const { call, called } = await dial();
      const stranger = await carrier.call({ to: number, from: '+491711234567', via: edge.sip });
      await stranger.answered();
      const far = await farOf();
      const { target } = stranger.dialog;
      const own = stranger.dialog.headers.bind(stranger.dialog);
      const others = call.dialog.headers.bind(call.dialog);
      stranger.dialog.target = `sip:${number}@${edge.sip.host}:${edge.sip.port}`;
      stranger.dialog.headers = (method) =>
        others(method).map(([name, value]) => [name, name === 'Call-ID' ? stranger.callId : value]);
      expect((await stranger.request('INFO')).code).to.equal(481);
      Object.assign(stranger.dialog, { target, headers: own });
      expect(await stranger.hangup()).to.equal(200);
      await far.ended();
      expect(await call.hangup()).to.equal(200);
      await called.ended();
    });
  }
});

import { expect } from 'chai';
import { Phone } from '../../support/phone.ts';
import { ADDRESS, Edge, freePort, NUMBER } from './edge.ts';

describe('A SIP edge that is killed with calls up', () => {
  let edge: Edge;
  let carrier: Phone;
  let node: Phone;
  let customer: Phone;

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
  });
  after(async () => {
    for (const phone of [carrier, node, customer]) await phone?.close();
    await edge?.stop();
  });

  it('lets them go on and end when it is back, and serves new ones once it has been pushed to', async () => {
    const parked = await carrier.call({ to: NUMBER.webhook, from: '+491711234567', via: edge.sip });
    const relayed = await carrier.call({ to: NUMBER.sip, from: '+491711234567', via: edge.sip });
    await Promise.all([parked.answered(), relayed.answered()]);
    const onNode = await node.incoming();
    const atCustomer = await customer.incoming();

    await edge.stopKamailio('SIGKILL');
    await edge.startKamailio();

    // Before anything is pushed, and without a dialog in its memory: the Contact of each side says where the
    // other one is.
    await onNode.hold();
    await onNode.resume();
    expect(await onNode.hangup()).to.equal(200);
    expect((await parked.ended()).by).to.equal('remote');
    expect(await atCustomer.hangup()).to.equal(200);
    expect((await relayed.ended()).by).to.equal('remote');

    const early = await carrier.call({ to: NUMBER.webhook, from: '+491711234567', via: edge.sip });
    expect((await early.final()).code).to.equal(503);
    await edge.push();
    const late = await carrier.call({ to: NUMBER.webhook, from: '+491711234567', via: edge.sip });
    await late.answered();
    expect(await late.hangup()).to.equal(200);
  });
});

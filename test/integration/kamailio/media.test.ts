import { expect } from 'chai';
import { Phone } from '../../support/phone.ts';
import { ADDRESS, Edge, freePort, NUMBER } from './edge.ts';

describe('A webhook call at the SIP edge', () => {
  let edge: Edge;
  let carrier: Phone;
  let node: Phone;

  before(async () => {
    const port = await freePort();
    node = await Phone.open({ address: ADDRESS.media, port });
    edge = await Edge.start({ media: [`${ADDRESS.media}:${port}`] });
    carrier = await Phone.open({ address: ADDRESS.operator });
  });
  after(async () => {
    await carrier?.close();
    await node?.close();
    await edge?.stop();
  });

  it('reaches the media node and is heard both ways through rtpengine', async () => {
    edge.control.answer = () => edge.control.media();
    node.listen('answer');
    const call = await carrier.call({ to: NUMBER.webhook, from: '+491711234567', via: edge.sip });
    await call.answered();
    const parked = await node.incoming();
    await Promise.all([call.heard.tone(440), parked.heard.packets]);
    await parked.hold(); await parked.hangup();
    await call.ended();
    expect(parked.invite?.text).to.include('X-MV-Call-ID: call_1');
    console.log(call.messages.map(m => `${m.received ? 'RECV' : 'SENT'}\n${m.text}`).join('\n-----\n'));
    console.log('=========== NODE');
    console.log(node.messages.map(m => `${m.received ? 'RECV' : 'SENT'}\n${m.text}`).join('\n-----\n'));
    console.log(edge.log);
  });
});

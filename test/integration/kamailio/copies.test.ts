import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { Phone } from '../../support/phone.ts';
import { ADDRESS, Edge, freePort, NUMBER } from './edge.ts';
import { codeOf, RawSip, requestText } from './raw-sip.ts';

describe('Copies of an INVITE that come at the same moment, to several processes,', () => {
  let edge: Edge;
  let carrier: RawSip;
  let node: RawSip;
  let customer: Phone;

  before(async () => {
    node = await RawSip.open(ADDRESS.media, await freePort());
    edge = await Edge.start({ media: [`${node.address}:${node.port}`] });
    edge.control.answer = () => ({ action: 'reject', code: 486, reason: 'Busy Here' });
    carrier = await RawSip.open(ADDRESS.operator);
    customer = await Phone.open({ address: ADDRESS.customer });
    customer.listen({ refuse: 486, reason: 'Busy Here' });
  });
  after(async () => {
    carrier?.close();
    node?.close();
    await customer?.close();
    await edge?.stop();
  });

  /** The final reply to many INVITEs, one after the other, each sent four times at once. */
  const finalReplies = async (from: RawSip, callIds: string[], headers: string[]): Promise<number[]> => {
    const codes: number[] = [];
    for (const callId of callIds) {
      const text = requestText(from, { user: NUMBER.webhook, callId, headers });
      const before = from.received.length;
      for (let copy = 0; copy < 4; copy++) from.send(text, edge.sip);
      const final = await from.until(
        () =>
          from.received
            .slice(before)
            .find((reply) => codeOf(reply) >= 200 && reply.includes(`Call-ID: ${callId}\r\n`)),
        'a final reply',
      );
      codes.push(codeOf(final));
    }
    return codes;
  };
  const fresh = (): string[] => Array.from({ length: 300 }, () => `${randomUUID()}@raw`);

  it('are one call of a carrier, decided once', async () => {
    const callIds = fresh();
    expect(new Set(await finalReplies(carrier, callIds, []))).to.deep.equal(new Set([486]));
    const asked = edge.control.routes.map((route) => route.sip_call_id).filter((id) => callIds.includes(id));
    expect(asked).to.have.length(callIds.length);
  });

  it('get the same refusal each, where a media node names nowhere to go', async () => {
    const callId = `${randomUUID()}@raw`;
    const text = requestText(node, { user: NUMBER.webhook, callId });
    for (let copies = 0; copies < 3; copies++) expect(codeOf(await node.ask(text, edge.sip))).to.equal(403);
  });

  it('are one call of a media node, placed once', async () => {
    const callIds = fresh();
    const codes = await finalReplies(node, callIds, [`X-MV-Targets: ${customer.uri}`]);
    expect(new Set(codes)).to.deep.equal(new Set([486]));
    expect(customer.received).to.have.length(callIds.length);
  });
});

import { expect } from 'chai';
import type { Call } from '../../support/phone.ts';
import { Phone } from '../../support/phone.ts';
import { ADDRESS, Edge, freePort, NUMBER } from './edge.ts';
import { LeakyNode } from './leaky-node.ts';

/**
 * Everything that a party has received, line by line, and what a curious one would decode: tokens in base64.
 */
function seenBy(messages: readonly { received: boolean; text: string }[]): string[] {
  const texts = messages.filter(({ received }) => received).map(({ text }) => text);
  const tokens = texts.join('\n').match(/[A-Za-z0-9+/_.-]{24,}/g) ?? [];
  return [
    ...texts,
    ...tokens.map((token) =>
      Buffer.from(token.replace(/^mv\./, '').replaceAll('.', '='), 'base64url').toString('latin1'),
    ),
  ].flatMap((text) => text.split(/\r?\n/));
}

/** The lines that give something away. */
const secretsIn = (lines: readonly string[], ...addresses: string[]): string[] =>
  lines.filter((line) => SECRETS.test(line) || addresses.some((address) => line.includes(address)));

const SECRETS = /FreeSWITCH|X-MV|X-FS|call_secret|candidate|urn:uuid|leak/i;

describe('What leaves the SIP edge', () => {
  let edge: Edge;
  let carrier: Phone;

  const ports = { media: 0, media2: 0 };
  before(async () => {
    ports.media = await freePort();
    ports.media2 = await freePort();
    edge = await Edge.start({
      media: [`${ADDRESS.media}:${ports.media}`, `${ADDRESS.media2}:${ports.media2}`],
      environment: { MEDIA_SILENCE_MS: '500' },
    });
    edge.control.answer = () => edge.control.media();
  });
  after(async () => edge?.stop());
  beforeEach(async () => (carrier = await Phone.open({ address: ADDRESS.operator })));
  afterEach(async () => carrier?.close());

  /** Every request a called side can send, and every one a caller can. */
  async function talk(node: LeakyNode, call: Call): Promise<void> {
    expect((await call.final()).code).to.equal(200);
    expect(await node.request('INVITE', node.sdp)).to.equal(200);
    expect(await node.request('UPDATE')).to.equal(200);
    expect(await node.request('INFO')).to.equal(200);
    expect(await node.request('OPTIONS')).to.equal(200);
    await call.hold();
    expect((await call.request('OPTIONS')).code).to.equal(200);
    expect(await call.pressInfo('5')).to.equal(200);
  }

  for (const end of ['the media node', 'the caller'] as const) {
    it(`tells a carrier nothing of a media node, when ${end} hangs up`, async () => {
      const nodes = [
        await LeakyNode.open(ADDRESS.media, ports.media),
        await LeakyNode.open(ADDRESS.media2, ports.media2),
      ];
      try {
        const call = await carrier.call({ to: NUMBER.webhook, from: '+491711234567', via: edge.sip });
        await call.final();
        const node = nodes.find((one) => one.dialog);
        if (!node) throw new Error('no node has the call');
        await talk(node, call);
        if (end === 'the caller') expect(await call.hangup()).to.equal(200);
        else expect(await node.request('BYE')).to.equal(200);
        const seen = seenBy(carrier.messages);
        expect(secretsIn(seen, ADDRESS.media, ADDRESS.media2)).to.deep.equal([]);
      } finally {
        for (const node of nodes) await node.close();
      }
    });
  }

  it('tells a carrier nothing of a media node that refuses, of one that fails over, and of one that is canceled', async () => {
    const first = await LeakyNode.open(ADDRESS.media, ports.media);
    const second = await Phone.open({ address: ADDRESS.media2, port: ports.media2 });
    try {
      for (const refusal of ['486 Busy at 127.0.0.5', '503 FreeSWITCH is full', '302 Moved']) {
        first.refusal = refusal;
        second.listen({ refuse: 480 });
        for (let i = 0; i < 2; i++)
          await (await carrier.call({ to: NUMBER.webhook, from: '+491711234567', via: edge.sip })).final();
      }
      second.listen('ring');
      first.refusal = '503 FreeSWITCH is full';
      const canceled = await carrier.call({ to: NUMBER.webhook, from: '+491711234567', via: edge.sip });
      await canceled.provisional(180);
      await canceled.cancel();
      await canceled.final();
      second.listen('answer');
      const failedOver = await carrier.call({ to: NUMBER.webhook, from: '+491711234567', via: edge.sip });
      await failedOver.answered();
      await edge.rpc('dlg.terminate_dlg', [
        failedOver.callId,
        failedOver.dialog.localTag,
        failedOver.dialog.remoteTag,
      ]);
      await failedOver.ended();
      const seen = seenBy(carrier.messages);
      expect(secretsIn(seen, ADDRESS.media, ADDRESS.media2)).to.deep.equal([]);
    } finally {
      await first.close();
      await second.close();
    }
  });

  it('tells a carrier nothing of a customer, and a customer nothing of a carrier but the ids of the dialog', async () => {
    const customer = await LeakyNode.open(ADDRESS.customer);
    edge.control.answer = () => ({
      action: 'sip',
      call: 'call_secret',
      targets: [`sip:pbx@${ADDRESS.customer}:${customer.wire.port}`],
    });
    try {
      const call = await carrier.call({
        to: NUMBER.sip,
        from: '+491711234567',
        via: edge.sip,
        headers: [
          ['P-Asserted-Identity', `<sip:+491711234567@${ADDRESS.operator}>`],
          ['Server', 'CarrierSwitch'],
          ['X-Carrier', ADDRESS.operator],
          ['Warning', `399 ${ADDRESS.operator} "x"`],
        ],
      });
      await talk(customer, call);
      expect(await customer.request('BYE')).to.equal(200);
      const seen = seenBy(carrier.messages);
      expect(secretsIn(seen, ADDRESS.customer)).to.deep.equal([]);

      const shown = seenBy(customer.wire.log).filter((line) => !/^(From|To|Call-ID): /.test(line));
      expect(
        shown.filter(
          (line) =>
            line.includes(ADDRESS.operator) || /CarrierSwitch|X-Carrier|test phone|call_secret/.test(line),
        ),
      ).to.deep.equal([]);
    } finally {
      await customer.close();
    }
  });

  it('a token of one call opens no other', async () => {
    const customer = await Phone.open({ address: ADDRESS.customer });
    customer.listen('answer');
    edge.control.answer = () => ({ action: 'sip', call: 'call_x', targets: [customer.uri] });
    try {
      const one = await carrier.call({ to: NUMBER.sip, from: '+491711234567', via: edge.sip });
      await one.answered();
      const called = await customer.incoming();
      const other = await carrier.call({ to: NUMBER.sip, from: '+491711234567', via: edge.sip });
      await other.answered();
      called.dialog.target = (await customer.incoming()).dialog.target;
      expect((await called.request('INFO')).code).to.equal(403);
      await one.hangup();
      await other.hangup();
    } finally {
      await customer.close();
    }
  });
});

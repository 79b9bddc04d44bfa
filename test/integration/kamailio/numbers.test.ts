import { expect } from 'chai';
import { ADDRESS, Edge, NUMBER } from './edge.ts';
import { RawSip, requestText } from './raw-sip.ts';

/**
 * What a trunk sends, and the number it means. The German trunk belongs to the operator, the American one to
 * the owner of the numbers.
 */
const DIALLED: [trunk: 'german' | 'american', uri: string, to: string | undefined][] = [
  ['german', 'sip:+493012345601@127.0.0.1', NUMBER.webhook],
  ['german', 'sip:493012345601@127.0.0.1', NUMBER.webhook],
  ['german', 'sip:00493012345601@127.0.0.1', NUMBER.webhook],
  ['german', 'sip:03012345601@127.0.0.1', NUMBER.webhook],
  ['german', 'sip:3012345601@127.0.0.1', NUMBER.webhook],
  ['german', 'tel:+493012345601', NUMBER.webhook],
  ['german', 'tel:+49-30-1234-5601', NUMBER.webhook],
  ['german', 'tel:+49(30)1234.5601', NUMBER.webhook],
  ['german', 'tel:12345601;phone-context=+4930', NUMBER.webhook],
  ['german', 'sip:+49-30-12345601@127.0.0.1', NUMBER.webhook],
  ['german', 'sip:%2B493012345601@127.0.0.1', NUMBER.webhook],
  ['german', 'sip:+493012345601;npdi=yes;rn=+4930999@127.0.0.1;user=phone', NUMBER.webhook],
  ['german', 'sip:+493012345601@127.0.0.1:5060;user=phone;transport=udp', NUMBER.webhook],
  ['german', 'sip:+493012345601:secret@127.0.0.1', NUMBER.webhook],
  ['american', 'sip:12125550100@127.0.0.1', NUMBER.american],
  ['american', 'sip:2125550100@127.0.0.1', NUMBER.american],
  ['american', 'sip:+12125550100@127.0.0.1', NUMBER.american],
  ['american', 'sip:03012345601@127.0.0.1', undefined],
  ['american', 'sip:3012345601@127.0.0.1', undefined],
  ['german', 'sip:+49301234560@127.0.0.1', undefined],
  ['german', 'sip:+4930123456011@127.0.0.1', undefined],
  ['german', 'sip:+@127.0.0.1', undefined],
  ['german', 'sip:++493012345601@127.0.0.1', undefined],
  ['german', 'sip:alice@127.0.0.1', undefined],
  ['german', 'sip:0000000000@127.0.0.1', undefined],
  ['german', 'sip:+493012345601abc@127.0.0.1', undefined],
];

const CALLERS: [from: string, normalised: string][] = [
  ['<sip:+491711234567@carrier.example>;tag=1', '+491711234567'],
  ['<sip:01711234567@carrier.example>;tag=1', '+491711234567'],
  ['"Karl" <sip:00441711234567@carrier.example;user=phone>;tag=1', '+441711234567'],
  ['<tel:+49-171-1234567>;tag=1', '+491711234567'],
  ['sip:491711234567@carrier.example;tag=1', '+491711234567'],
  ['"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1', 'anonymous'],
];

describe('How the SIP edge reads numbers', () => {
  let edge: Edge;
  let trunks: { german: RawSip; american: RawSip };

  before(async () => {
    edge = await Edge.start();
    trunks = { german: await RawSip.open(ADDRESS.operator), american: await RawSip.open(ADDRESS.owner) };
  });
  after(async () => {
    trunks?.german.close();
    trunks?.american.close();
    await edge?.stop();
  });

  for (const [trunk, uri, to] of DIALLED) {
    it(`${uri} from the ${trunk} trunk is ${to ?? 'nobody'}`, async () => {
      const asked = edge.control.routes.length;
      const reply = await trunks[trunk].ask(requestText(trunks[trunk], { uri }), edge.sip);
      expect(edge.control.routes.slice(asked).map((route) => route.to)).to.deep.equal(
        to === undefined ? [] : [to],
      );
      expect(reply).to.match(to === undefined ? /^SIP\/2\.0 404 / : /^SIP\/2\.0 480 /);
    });
  }

  for (const [from, normalised] of CALLERS) {
    it(`a caller who says ${from} is ${normalised}`, async () => {
      await trunks.german.ask(requestText(trunks.german, { user: NUMBER.webhook, from }), edge.sip);
      expect(edge.control.routes.at(-1)?.from).to.equal(normalised);
    });
  }
});

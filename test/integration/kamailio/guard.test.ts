import { expect } from 'chai';
import { NameServer } from '../nat/name-server.ts';
import { Phone } from '../../support/phone.ts';
import type { Call } from '../../support/call.ts';
import { ADDRESS, Edge, freePort, NUMBER } from './edge.ts';
import { SipCarrier } from './sip-carrier.ts';

const NAME_SERVER = '127.0.0.53';

describe("A name of a customer's that leads inside", function () {
  let names: NameServer;
  let edge: Edge;
  let node: Phone;
  let carrier: Phone;
  let inside: SipCarrier;

  before(async function () {
    // Another name server for one process needs a file system of its own.
    if (process.getuid?.() !== 0) this.skip();
    names = await NameServer.open(NAME_SERVER, {
      'priv.test': { a: [ADDRESS.customer] },
      'two.test': { a: ['192.0.2.77', ADDRESS.customer] },
      'srv.test': {},
      '_sip._udp.srv.test': { srv: [[10, 0, 5099, 'priv.test']] },
    });
    const port = await freePort();
    node = await Phone.open({ address: ADDRESS.media, port });
    edge = await Edge.start({
      media: [`${ADDRESS.media}:${port}`],
      nameServer: NAME_SERVER,
      environment: { TARGET_SILENCE_MS: '600' },
    });
    carrier = await Phone.open({ address: ADDRESS.operator });
    await edge.carrier('trunk_own', { ofCustomer: true });
    await edge.carrier('trunk_operator', {});
  });
  after(async () => {
    names?.close();
    for (const phone of [carrier, node]) await phone?.close();
    await edge?.stop();
  });
  beforeEach(async () => {
    inside = await SipCarrier.open(ADDRESS.customer, { port: 5099 });
  });
  afterEach(async () => {
    await inside?.close();
  });

  const leg = (uri: string, trunk?: string): Promise<Call> =>
    node.call({
      to: '+4930111',
      from: '+15551111',
      via: edge.sip,
      headers: [
        ['X-MV-Call-ID', 'call_1'],
        ['X-MV-Targets', uri],
        ...(trunk ? [['X-MV-Trunks', trunk] as [string, string]] : []),
      ],
    });

  for (const host of [
    'priv.test:5099',
    'priv.test:5099;transport=tcp',
    'two.test:5099',
    'srv.test',
    'localhost:5099',
    '0x7f.7:5099',
  ]) {
    it(`${host} is not connected to: as a SIP URI of a number, as the destination of a leg, as a trunk`, async () => {
      edge.control.answer = () => ({ action: 'sip', call: 'call_2', targets: [`sip:x@${host}`] });
      const relayed = await carrier.call({ to: NUMBER.sip, from: '+491711234567', via: edge.sip });
      for (const call of [relayed, await leg(`sip:x@${host}`), await leg(`sip:x@${host}`, 'trunk_own')])
        expect((await call.final()).code).to.be.within(400, 599);
      expect(inside.invites).to.be.empty;
    });
  }

  it("gets neither OPTIONS nor REGISTER where it is a customer's trunk: it is down; the operator's gets them", async () => {
    const state = (table: string, id: string, wanted: string): Promise<true> =>
      edge.until(async () => {
        const found = (await edge.rpc('htable.get', [table, id]).catch(() => undefined)) as
          { item: { value: string } } | undefined;
        return found?.item.value === wanted || undefined;
      }, `${table} of ${id} to be ${wanted}`);
    for (const host of ['priv.test:5099', 'srv.test']) {
      await edge.rpc('htable.flush', ['trunk_state']);
      await edge.rpc('htable.flush', ['registered']);
      for (const table of ['due', 'failed']) await edge.rpc('htable.flush', [table]);
      await edge.set('probes', 'trunk_own', `sip:${host}`);
      await edge.set('registrations', 'trunk_own', `sip:priv.test|sip:${host}|sip:mini@priv.test|reg.token1`);
      await state('trunk_state', 'trunk_own', 'down');
      await state('registered', 'trunk_own', 'down');
      expect(inside.requests).to.be.empty;
    }
    await edge.set('probes', 'trunk_operator', 'sip:priv.test:5099');
    await state('trunk_state', 'trunk_operator', 'up');
    expect(inside.got('OPTIONS')).not.to.be.empty;
    for (const table of ['probes', 'registrations']) await edge.rpc('htable.flush', [table]);
  });

  it("is connected to where it is a carrier of the operator's", async () => {
    const call = await leg('sip:x@priv.test:5099', 'trunk_operator');
    await call.answered();
    expect(inside.invites).to.have.length(1);
    expect(await call.hangup()).to.equal(200);
  });

  it('is connected to when it was written as an address, which only the operator may', async () => {
    const call = await leg(`sip:x@${ADDRESS.customer}:5099`);
    await call.answered();
    await call.hangup();
  });
});

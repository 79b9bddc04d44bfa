import { expect } from 'chai';
import type { Call } from '../../../control/calls/call.ts';
import { Directory } from '../../../control/directory/directory.ts';
import { Legs } from '../../../control/placing/legs.ts';
import type { Trunk } from '../../../control/trunks/schema.ts';

const trunk = (id: string, more: Partial<Trunk>) =>
  ({
    id,
    isActive: true,
    proxy: `${id}.example`,
    transport: 'udp',
    priority: 10,
    weight: 10,
    numberFormat: 'e164',
    callerId: 'passthrough',
    ...more,
  }) as Trunk;
const none = { loadAll: () => Promise.resolve([]), get: () => Promise.resolve(undefined) };
const call = {
  id: 'call_1',
  customerId: 'cust_a',
  direction: 'inbound',
  from: '+15551111',
  to: '+15552222',
} as Call;

describe('a second leg', () => {
  const legs = async (trunks: Trunk[], allowPrivate = false): Promise<Legs> => {
    const directory = new Directory({
      customers: none,
      applications: none,
      dids: none,
      trunks: { ...none, loadAll: () => Promise.resolve(trunks) },
    });
    await directory.load();
    return new Legs({ directory, allowPrivate });
  };

  it("a number goes through the customer's own trunks, then the operator's, by priority, and no one else's", async () => {
    const all = await legs([
      trunk('operator', {}),
      trunk('second', { customerId: 'cust_a', priority: 20 }),
      trunk('first', { customerId: 'cust_a' }),
      trunk('other', { customerId: 'cust_b' }),
      trunk('off', { isActive: false }),
    ]);
    expect(all.trunksFor('cust_a').map(({ id }) => id)).to.deep.equal(['first', 'second', 'operator']);
    expect(all.trunksFor('cust_a', 'second').map(({ id }) => id)).to.deep.equal(['second']);
    expect([
      ...all.trunksFor('cust_a', 'other'),
      ...all.trunksFor('cust_a', 'off'),
      ...all.trunksFor('cust_a', 'none'),
    ]).to.deep.equal([]);
  });

  it('a trunk that is down is tried last, whoever owns it, and one that nobody knows about like one that is up', async () => {
    const all = await legs([
      trunk('down', { customerId: 'cust_a', priority: 1, status: 'down' }),
      trunk('up', { status: 'up' }),
      trunk('unknown', { priority: 5, status: 'unknown' }),
    ]);
    expect(all.trunksFor('cust_a').map(({ id }) => id)).to.deep.equal(['unknown', 'up', 'down']);
  });

  it('trunks of one priority share the calls by weight', async () => {
    const all = await legs([trunk('heavy', { weight: 30 }), trunk('light', { weight: 10 })]);
    let heavy = 0;
    for (let i = 0; i < 4000; i++) heavy += Number(all.trunksFor('cust_a')[0]?.id === 'heavy');
    expect(heavy / 4000).to.be.within(0.7, 0.8);
  });

  it('a number is written as each trunk wants it, over its transport and port', async () => {
    const trunks = [
      trunk('a', { numberFormat: 'plus_less', port: 5070, transport: 'tcp' }),
      trunk('b', { numberFormat: 'national', country: 'DE' }),
      trunk('c', { numberFormat: 'national', country: 'US', transport: 'tls' }),
    ];
    const route = (await legs([])).via(trunks, call, '+493012345601');
    expect(route.uris).to.deep.equal([
      'sip:493012345601@a.example:5070;transport=tcp',
      'sip:03012345601@b.example',
      'sip:011493012345601@c.example;transport=tls',
    ]);
    expect(route.headers).to.deep.include({
      'X-MV-Call-ID': 'call_1',
      'X-MV-Trunks': 'a|b|c',
      'X-MV-Callers': '15551111|0015551111|15551111',
    });
  });

  it("the caller is shown by each trunk's rule; a number named for the leg comes before all but a fixed one", async () => {
    const trunks = [
      trunk('a', {}),
      trunk('b', { callerId: 'did' }),
      trunk('c', { callerId: 'fixed', callerIdNumber: '+15554444' }),
    ];
    const one = await legs([]);
    const route = one.via(trunks, call, '+15553333');
    expect(route).to.include({ from: '+15551111' });
    expect(route.headers).to.include({
      'X-MV-Callers': '+15551111|+15552222|+15554444',
      'X-MV-Diversions': '+15552222||',
    });
    const named = one.via(trunks, call, '+15553333', '+15555555');
    expect(named.headers)
      .to.include({ 'X-MV-Callers': '+15555555|+15555555|+15554444' })
      .and.not.have.property('X-MV-Diversions');
    const outbound = one.via(trunks, { ...call, direction: 'outbound' }, '+15553333');
    expect(outbound.headers)
      .to.include({ 'X-MV-Callers': '+15551111|+15551111|+15554444' })
      .and.not.have.property('X-MV-Diversions');
  });

  it('a caller without a number cannot put anything into the lists', async () => {
    const one = await legs([]);
    expect(
      one.via([trunk('a', {}), trunk('b', { callerId: 'did' })], { ...call, from: 'a|b' }, '+15553333')
        .headers,
    ).to.include({ 'X-MV-Callers': '|+15552222' });
    expect(one.via([trunk('a', {})], { ...call, from: 'a|b' }, '+15553333').headers).not.to.have.property(
      'X-MV-Callers',
    );
  });

  it('a caller whose number is withheld goes by the number that was dialled, as each trunk wants it', async () => {
    const trunks = [
      trunk('a', { numberFormat: 'plus_less' }),
      trunk('b', { callerId: 'did' }),
      trunk('c', { callerId: 'fixed', callerIdNumber: '+15554444' }),
    ];
    const route = (await legs([])).via(trunks, { ...call, from: 'anonymous' }, '+15553333');
    expect(route.headers).to.include({
      'X-MV-Callers': 'anonymous|+15552222|+15554444',
      'X-MV-Identities': '15552222||',
      'X-MV-Diversions': '+15552222||',
    });
    expect(
      (await legs([])).via([trunk('a', {})], { ...call, from: 'anonymous' }, '+15553333', '+15555555')
        .headers,
    ).not.to.have.property('X-MV-Identities');
  });

  it('without a trunk there is no way to a number', async () => {
    expect((await legs([])).trunksFor('cust_a')).to.deep.equal([]);
  });

  it('a SIP URI is taken as it is, but not to a private address outside the development profile', async () => {
    expect((await legs([])).sipUri(call, 'sip:desk@pbx.example')?.uris).to.deep.equal([
      'sip:desk@pbx.example',
    ]);
    expect((await legs([])).sipUri(call, 'sip:desk@10.0.0.1')).to.equal(undefined);
    expect((await legs([], true)).sipUri(call, 'sip:desk@127.0.0.1')?.uris).to.deep.equal([
      'sip:desk@127.0.0.1',
    ]);
  });
});

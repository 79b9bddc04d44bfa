import { expect } from 'chai';
import { Directory } from '../../../control/directory/directory.ts';
import { numberTablesOf, tablesOf } from '../../../control/edge/tables.ts';
import { statusOf } from '../../../control/edge/trunk-states.ts';
import type { Trunk } from '../../../control/trunks/schema.ts';

const none = { loadAll: () => Promise.resolve([]), get: () => Promise.resolve(undefined) };
const trunk = (id: string, more: Partial<Trunk> = {}) =>
  ({ id, isActive: true, proxy: `${id}.example`, transport: 'udp', probe: true, ...more }) as Trunk;

async function tables(...trunks: Trunk[]): Promise<Record<string, Record<string, string>>> {
  const directory = new Directory({
    customers: none,
    applications: none,
    dids: none,
    trunks: { ...none, loadAll: () => Promise.resolve(trunks) },
  });
  await directory.load();
  expect(numberTablesOf(directory, '+15551111').dids.size).to.equal(0);
  return Object.fromEntries(
    Object.entries(tablesOf(directory, 'token')).map(([name, rows]) => [name, Object.fromEntries(rows)]),
  );
}

describe("trunks in kamailio's tables", () => {
  it('a trunk is where calls go, by its own rules, and is probed unless it is not to be', async () => {
    const { carriers, probes } = await tables(
      trunk('a', {
        fromDomain: 'x.example',
        maxConcurrent: 5,
        maxCps: 2,
        retryOn404: true,
        port: 5070,
        transport: 'tls',
      }),
      trunk('b', { probe: false }),
      trunk('off', { isActive: false }),
    );
    expect(carriers).to.deep.equal({ a: 'x.example;5;2;1;', b: ';;;;' });
    expect(probes).to.deep.equal({ a: 'sip:a.example:5070;transport=tls' });
  });

  it("an address may be several owners'", async () => {
    expect(
      (
        await tables(
          trunk('a', { inboundIp: '192.0.2.1', customerId: 'cust_a', country: 'DE' }),
          trunk('b', { inboundIp: '192.0.2.1' }),
        )
      ).trunks,
    ).to.deep.equal({ '192.0.2.1': 'a;cust_a;49|b;*;' });
  });

  it('a trunk calls in by its credentials only without an address, and its password is nowhere as it is', async () => {
    const credentials = { username: 'mini', password: 'secret' };
    const made = await tables(
      trunk('a', { ...credentials, customerId: 'cust_a' }),
      trunk('b', { ...credentials, inboundIp: '192.0.2.1' }),
      trunk('c', { ...credentials }),
      trunk('d', { username: 'open' }),
    );
    expect(made.logins).to.deep.equal({
      mini: 'a;cust_a;;4a4500403ef1ba1741f1561d9ee0c312|c;*;;4a4500403ef1ba1741f1561d9ee0c312',
    });
    expect(made.contacts).to.deep.equal({ logins: '1' });
    expect(made.credentials)
      .to.include({ 'b::username': 'bWluaQ==', 'b::password': 'c2VjcmV0' })
      .and.not.have.property('b::realm');
    expect(JSON.stringify(made)).not.to.include('secret');
  });

  it('a registered trunk has a Contact nobody can guess, the same after every start', async () => {
    const register = {
      username: 'a b',
      password: 'secret',
      realm: 'r',
      register: true,
      inboundIp: '192.0.2.1',
    };
    const made = await tables(trunk('a', { ...register, port: 5070, transport: 'tcp' }));
    const [contact = ''] = Object.keys(made.contacts ?? {});
    expect(contact).to.match(/^reg\.[0-9a-f]{32}$/);
    expect(made.contacts?.[contact]).to.equal('a;*;');
    expect(made.registrations).to.deep.equal({
      a: `sip:a.example|sip:a.example:5070;transport=tcp|sip:a%20b@a.example|${contact}`,
    });
    expect((await tables(trunk('a', register))).contacts).to.have.property(contact);
  });
});

describe('the state of a trunk', () => {
  const found = (probed?: 'up' | 'down', registered?: 'up' | 'down') => ({
    probed: new Map(probed && [['t', probed]]),
    registered: new Map(registered && [['t', registered]]),
  });
  const of = (more: Partial<Trunk>, ...views: ReturnType<typeof found>[]) =>
    statusOf(trunk('t', more), views);

  it('is up where it answers and is registered as it should be, and down where either is not so', () => {
    expect(of({}, found('up'))).to.equal('up');
    expect(of({}, found('down'))).to.equal('down');
    expect(of({ register: true }, found('up', 'up'))).to.equal('up');
    expect(of({ register: true }, found('up', 'down'))).to.equal('down');
    expect(of({ register: true, probe: false }, found(undefined, 'up'))).to.equal('up');
  });

  it('is what it was while nobody knows, and unknown where nobody looks', () => {
    expect(of({}, found())).to.equal(undefined);
    expect(of({ register: true }, found('up'))).to.equal(undefined);
    expect(of({ probe: false }, found())).to.equal('unknown');
    expect(of({ isActive: false }, found('up'))).to.equal('unknown');
  });

  it('is up while one Kamailio reaches it', () => {
    expect(of({}, found('down'), found('up'))).to.equal('up');
    expect(of({}, found('down'), found())).to.equal('down');
  });
});

import { expect } from 'chai';
import { pino } from 'pino';
import { Directory } from '../../../control/directory/directory.ts';
import { MANY, PIECES, Pieces } from '../../../control/edge/pieces.ts';
import type { Trunk } from '../../../control/trunks/schema.ts';

const none = { loadAll: () => Promise.resolve([]), get: () => Promise.resolve(undefined) };

interface Numbered {
  id: string;
  customerId: string;
  number: string;
  status: string;
  routeMode: string;
  routeTarget?: { sip_uri: string };
}

describe('the pieces of the tables', () => {
  let log: string;
  let trunks: Trunk[];
  let numbers: Numbered[];
  let directory: Directory;

  async function pieces(): Promise<Pieces> {
    log = '';
    directory = new Directory({
      customers: { ...none, loadAll: () => Promise.resolve([{ id: 'cust_a', status: 'active' }] as never) },
      applications: none,
      dids: { ...none, loadAll: () => Promise.resolve(numbers as never) },
      trunks: { ...none, loadAll: () => Promise.resolve(trunks) },
    });
    await directory.load();
    return new Pieces(directory, 'token', pino({}, { write: (line: string) => void (log += line) }));
  }
  const all = (one: Pieces): Map<string, string> =>
    new Map(Array.from({ length: PIECES }, (_, piece) => [...one.entriesOf(piece)]).flat());

  beforeEach(() => {
    trunks = [];
    numbers = [];
  });

  it('hold every entry once, and have the same digests whatever the order in which things came', async () => {
    const mode = (i: number): Partial<Numbered> =>
      i % 3 ? { routeMode: 'reject' } : { routeMode: 'sip', routeTarget: { sip_uri: `sip:${i}@b.example` } };
    numbers = Array.from({ length: 3000 }, (_, i) => ({
      id: `did_${i}`,
      customerId: 'cust_a',
      number: `+${15550000 + i}`,
      status: 'active',
      routeMode: 'webhook',
      ...mode(i),
    }));
    const one = await pieces();
    numbers = numbers.toReversed();
    const other = await pieces();
    expect(all(one).size).to.equal(4000);
    for (let piece = 0; piece < PIECES; piece++) expect(other.digestOf(piece)).to.equal(one.digestOf(piece));
  });

  it('leave out what too many trunks share, and nothing else: one customer must not keep all others from being served', async () => {
    trunks = Array.from(
      { length: 300 },
      (_, i) =>
        ({
          id: `trunk_${i}`,
          customerId: 'cust_a',
          proxy: 'a.example',
          transport: 'udp',
          isActive: true,
          username: 'shared',
          password: 'secret',
        }) as Trunk,
    );
    trunks.push({
      id: 'trunk_b',
      proxy: 'b.example',
      transport: 'udp',
      isActive: true,
      username: 'own',
      password: 'secret',
    } as Trunk);
    const entries = all(await pieces());
    expect([entries.has('lshared'), entries.has('lown'), entries.has('rtrunk_0')]).to.deep.equal([
      false,
      true,
      true,
    ]);
    expect(log).to.include('too many trunks share').and.include('lshared');
  });

  it('that have changed in many numbers at once are pushed whole, with those that are gone', async () => {
    numbers = [
      { id: 'did_1', customerId: 'cust_a', number: '+15550001', status: 'active', routeMode: 'webhook' },
    ];
    const one = await pieces();
    const changed = one.changed({
      numbers: ['+15550001', ...Array.from({ length: MANY }, (_, i) => `+${1555100000 + i}`)],
      trunks: false,
    });
    const entries = new Map(
      [...changed].flatMap(([piece, what]) => [...one.changeOf(piece, 'before', what).entries]),
    );
    expect([entries.get('d+15550001'), entries.get('s+15550001'), entries.get('d+1555100000')]).to.deep.equal(
      ['w;cust_a;', '', ''],
    );
  });
});

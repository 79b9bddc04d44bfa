import { expect } from 'chai';
import { Directory, type Touched } from '../../../control/directory/directory.ts';

const none = { loadAll: () => Promise.resolve([]), get: () => Promise.resolve(undefined) };
const at = (n: number): Date => new Date(n);

interface Numbered {
  id: string;
  customerId: string;
  applicationId?: string;
  number: string;
  status: string;
  routeMode: string;
  routeTarget?: unknown;
}

describe('the directory, in pages', () => {
  let numbers: Numbered[];
  let recent: Numbered[];
  let customer: { id: string; status: string };
  let trunk: { id: string; status: string; updatedAt: Date };
  let pages: number;
  let directory: Directory;
  let told: Touched[];

  beforeEach(async () => {
    numbers = Array.from({ length: 10 }, (_, i) => ({
      id: `did_${i}`,
      customerId: i < 5 ? 'cust_a' : 'cust_b',
      number: `+1555000${i}`,
      status: 'active',
      routeMode: 'webhook',
    }));
    recent = [];
    customer = { id: 'cust_a', status: 'active' };
    trunk = { id: 'trunk_1', status: 'up', updatedAt: at(1) };
    pages = 0;
    told = [];
    directory = new Directory({
      customers: {
        loadAll: () => Promise.resolve([customer, { id: 'cust_b', status: 'active' }] as never),
        get: () => Promise.resolve(customer as never),
      },
      applications: none,
      trunks: {
        loadAll: () => Promise.resolve([trunk] as never),
        get: () => Promise.resolve(trunk as never),
      },
      dids: {
        async *loadAll() {
          for (let i = 0; i < numbers.length; i += 3) {
            pages++;
            yield numbers.slice(i, i + 3) as never;
          }
        },
        get: (id) => Promise.resolve(numbers.find((number) => number.id === id) as never),
        writtenSince: () => Promise.resolve({ items: recent as never, next: at(0) }),
        ofNumbers: (wanted) =>
          Promise.resolve(numbers.filter(({ number }) => wanted.includes(number)) as never),
      },
    });
    await directory.load();
    directory.listen((touched) => told.push(touched));
  });

  const change = (i: number, what: Partial<Numbered>): void => {
    numbers = numbers.map((number, n) => (n === i ? { ...number, ...what } : number));
  };
  const touched = (): string[] => told.flatMap((one) => one.numbers);

  it('is read whole at the start, and later a part at a time', async () => {
    expect([...directory.dids()]).to.have.length(10);
    expect(pages).to.equal(4);
    await directory.catchUp();
    expect(pages).to.equal(6);
    expect(told).to.deep.equal([]);
  });

  it('heals of a change whose news was lost: at once where the database says that it is recent, else by the next pass', async () => {
    change(9, { routeMode: 'reject' });
    recent = numbers.slice(9);
    await directory.catchUp();
    expect(touched()).to.deep.equal(['+15550009']);
    change(8, { status: 'disabled' });
    for (let i = 0; i < 4; i++) await directory.catchUp();
    expect(directory.didByNumber('+15550008')?.status).to.equal('disabled');
  });

  it('forgets what a whole pass has not met, and nothing that came meanwhile', async () => {
    await directory.catchUp();
    const [gone] = numbers.splice(1, 1);
    numbers.unshift({
      id: 'did_00',
      customerId: 'cust_a',
      number: '+15550000',
      status: 'active',
      routeMode: 'webhook',
    });
    numbers.unshift({
      id: 'did_01',
      customerId: 'cust_a',
      number: '+15559999',
      status: 'active',
      routeMode: 'webhook',
    });
    await directory.refresh({ room: 'dids', id: 'did_01' });
    for (let i = 0; i < 6; i++) await directory.catchUp();
    expect(directory.didByNumber(gone?.number ?? '')).to.equal(undefined);
    expect(directory.didByNumber('+15559999')?.id).to.equal('did_01');
    expect(touched()).to.include.members([gone?.number, '+15559999']);
  });

  it('tells of numbers whose routing differs alone', async () => {
    change(0, { applicationId: 'app_b' });
    expect((await directory.refresh({ room: 'dids', id: 'did_0' })).numbers).to.deep.equal([]);
    change(0, { routeMode: 'sip', routeTarget: { sip_uri: 'sip:a@b.example' } });
    expect((await directory.refresh({ room: 'dids', id: 'did_0' })).numbers).to.deep.equal(['+15550000']);
    expect((await directory.refresh({ room: 'dids', id: 'did_0' })).numbers).to.deep.equal([]);
    customer = { ...customer };
    expect((await directory.refresh({ room: 'customers', id: 'cust_a' })).numbers).to.deep.equal([]);
    customer = { ...customer, status: 'suspended' };
    expect((await directory.refresh({ room: 'customers', id: 'cust_a' })).numbers).to.have.members(
      [0, 1, 2, 3, 4].map((i) => `+1555000${i}`),
    );
  });

  it('tells of a trunk that was changed, not of one that answers again', async () => {
    trunk = { ...trunk, status: 'down' };
    expect((await directory.refresh({ room: 'trunks', id: 'trunk_1' })).trunks).to.equal(false);
    trunk = { ...trunk };
    expect((await directory.refresh({ room: 'trunks', id: 'trunk_1' })).trunks).to.equal(true);
    await directory.catchUp();
    trunk = { ...trunk, updatedAt: at(2) };
    told.length = 0;
    await directory.catchUp();
    expect(told.map((one) => one.trunks)).to.deep.equal([true]);
  });

  it('reads some numbers anew when asked: those that are gone are gone', async () => {
    change(2, { routeMode: 'reject' });
    const [gone] = numbers.splice(3, 1);
    await directory.reread(['+15550002', '+15550003', '+15550004', '+15557777'], false);
    expect(directory.didByNumber('+15550002')?.routeMode).to.equal('reject');
    expect(directory.didByNumber(gone?.number ?? '')).to.equal(undefined);
    expect(touched()).to.deep.equal(['+15550003', '+15550002']);
  });
});

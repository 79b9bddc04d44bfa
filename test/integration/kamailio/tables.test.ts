import { expect } from 'chai';
import { pino } from 'pino';
import { Directory } from '../../../control/directory/directory.ts';
import { EdgeSync } from '../../../control/edge/edge-sync.ts';
import { KamailioRpc } from '../../../control/edge/kamailio-rpc.ts';
import { shardOf, SHARDS } from '../../../control/directory/number-shards.ts';
import type { Trunk } from '../../../control/trunks/schema.ts';
import type { RoutedDid } from '../../../control/dids/schema.ts';
import { Phone } from '../../support/phone.ts';
import { ADDRESS, Edge, TOKEN } from './edge.ts';

const TOTAL = 100_000;
const numberAt = (i: number): string => `+${493_000_000_000 + i}`;
const at = new Date(0);

/** The database of these tests: numbers and one trunk, read by as many control processes as a test has. */
class World {
  readonly dids = new Map<string, RoutedDid>();
  readonly trunk = {
    id: 'trunk_1',
    proxy: ADDRESS.operator,
    transport: 'udp',
    inboundIp: ADDRESS.operator,
    isActive: true,
    updatedAt: at,
  } as Trunk;
  rereads = 0;

  constructor(total: number) {
    for (let i = 0; i < total; i++) this.put(i);
  }

  put(i: number, change: Partial<RoutedDid> = {}): RoutedDid {
    const routeMode = i % 20 < 14 ? 'webhook' : i % 20 < 17 ? 'sip' : 'reject';
    const routeTarget = routeMode === 'sip' ? { sip_uri: `sip:${i}@pbx.example.com` } : undefined;
    const did: RoutedDid = {
      id: `did_${i}`,
      customerId: 'cust_a',
      applicationId: 'app_a',
      number: numberAt(i),
      status: 'active',
      routeMode,
      routeTarget,
      ...change,
    };
    this.dids.set(did.id, did);
    return did;
  }

  async directory(): Promise<Directory> {
    const none = { loadAll: () => Promise.resolve([]), get: () => Promise.resolve(undefined) };
    const directory = new Directory({
      customers: { ...none, loadAll: () => Promise.resolve([{ id: 'cust_a', status: 'active' } as never]) },
      applications: none,
      trunks: { ...none, loadAll: () => Promise.resolve([this.trunk]) },
      dids: {
        loadAll: () => Promise.resolve([...this.dids.values()]),
        get: (id) => Promise.resolve(this.dids.get(id)),
        ofNumbers: (numbers) => {
          this.rereads++;
          const wanted = new Set(numbers);
          return Promise.resolve([...this.dids.values()].filter((did) => wanted.has(did.number)));
        },
      },
    });
    await directory.load();
    return directory;
  }
}

/** One control process, as far as Kamailio's tables are concerned. */
class Control {
  readonly directory: Directory;
  readonly sync: EdgeSync;

  constructor(edge: Edge, directory: Directory) {
    this.directory = directory;
    this.sync = new EdgeSync(new KamailioRpc(edge.rpcUrl), directory, TOKEN, pino({ enabled: false }));
  }

  async changed(id: string): Promise<void> {
    await this.sync.push(await this.directory.refresh({ room: 'dids', id }));
  }
}

describe('A hundred thousand numbers at the edge', function () {
  this.timeout(60_000);
  let edge: Edge;
  let world: World;
  let phone: Phone;
  const controls: Control[] = [];

  async function control(): Promise<Control> {
    const one = new Control(edge, await world.directory());
    controls.push(one);
    one.sync.start();
    return one;
  }
  const settled = (sync: EdgeSync): Promise<unknown> =>
    edge.until(
      () => Promise.resolve((sync.synced && sync.counters.due === 0) || undefined),
      'the tables',
      40_000,
    );
  async function answerTo(number: string): Promise<{ status: number; retry: string | undefined }> {
    const { code: status, headers } = await (
      await phone.call({ to: number, from: '+491711234567', via: edge.sip })
    ).final();
    return { status, retry: headers['retry-after'] };
  }
  const held = async (table: string, i: number): Promise<string | undefined> =>
    (
      (await edge.rpc('htable.get', [table, numberAt(i)]).catch(() => undefined)) as
        { item: { value: string } } | undefined
    )?.item.value;

  before(async () => {
    edge = await Edge.start({ synced: false });
    world = new World(TOTAL);
    phone = await Phone.open({ address: ADDRESS.operator });
  });
  afterEach(async () => {
    for (const one of controls.splice(0)) await one.sync.stop();
  });
  after(async () => {
    await phone?.close();
    await edge?.stop();
  });

  it('serve as soon as they are there: what is not there yet gets 503, not 404, until everything is', async () => {
    const first = await control();
    await edge.until(
      () => Promise.resolve(first.sync.counters.entries > 20_000 || undefined),
      'a part of the numbers',
    );
    await first.sync.stop();
    expect(await edge.rpc('htable.get', ['edge', 'synced']).catch(() => undefined)).to.equal(undefined);
    const rejected = await Promise.all(Array.from({ length: 200 }, (_, i) => held('dids', i * 20 + 19)));
    const there = rejected.findIndex((value) => value !== undefined) * 20 + 19;
    const absent = rejected.indexOf(undefined) * 20 + 19;
    expect(await answerTo(numberAt(there))).to.deep.equal({ status: 480, retry: undefined });
    for (const number of [numberAt(absent), '+493999999999'])
      expect(await answerTo(number)).to.deep.equal({ status: 503, retry: '5' });
    // Another process goes on where the first one ended.
    const { sync } = await control();
    await settled(sync);
    expect(sync.counters.entries).to.be.lessThan(TOTAL * 1.15 - 20_000);
    expect(await answerTo(numberAt(absent))).to.include({ status: 480 });
    expect(await answerTo('+493999999999')).to.include({ status: 404 });
  });

  it('are pushed with some hundred requests, each entry once', async () => {
    await edge.stopKamailio('SIGKILL');
    await edge.startKamailio();
    const { sync } = await control();
    await settled(sync);
    expect(await held('dids', 0)).to.equal('w;cust_a;');
    expect(await held('dids', TOTAL - 1)).to.equal('r;cust_a;480');
    expect(await held('sip_targets', TOTAL - 6)).to.equal(`sip:${TOTAL - 6}@pbx.example.com`);
    // And the trunk, in two tables.
    expect(sync.counters.entries).to.equal(TOTAL + (TOTAL / 20) * 3 + 2);
    expect(sync.counters.requests).to.be.lessThan(1500);
  });

  it('are compared after a start of a control process, and nothing that is there is pushed again', async () => {
    const { sync } = await control();
    await settled(sync);
    expect(sync.counters).to.include({ entries: 0 });
    expect(sync.counters.requests).to.be.lessThan(500);
    expect(world.rereads).to.equal(0);
  });

  it('that change are pushed alone', async () => {
    const one = await control();
    await settled(one.sync);
    const before = { ...one.sync.counters };
    const { id } = world.put(7, { routeMode: 'reject' });
    await one.changed(id);
    expect(await held('dids', 7)).to.equal('r;cust_a;480');
    // Its routing and its targets, of which it has none; the heartbeat may come between.
    expect(one.sync.counters.entries - before.entries).to.equal(2);
    expect(one.sync.counters.requests - before.requests).to.be.at.most(2);
    world.dids.delete(id);
    await one.changed(id);
    expect(await held('dids', 7)).to.equal(undefined);
    world.put(7);
    await one.changed(id);
    expect(await held('dids', 7)).to.equal('w;cust_a;');
  });

  it('that change while all are pushed do not wait for the others', async () => {
    await edge.stopKamailio('SIGKILL');
    await edge.startKamailio();
    const one = await control();
    await edge.until(
      () => Promise.resolve(one.sync.counters.entries > 1000 || undefined),
      'the first numbers',
    );
    // Of the last piece, so that it would be the last.
    const i =
      Array.from({ length: TOTAL / 20 }, (_, block) => block * 20).find(
        (n) => shardOf(numberAt(n)) === SHARDS - 1,
      ) ?? 0;
    await one.changed(world.put(i, { routeMode: 'reject' }).id);
    const due = one.sync.counters.due;
    expect(await held('dids', i)).to.equal('r;cust_a;480');
    expect(due).to.be.greaterThan(0);
    await settled(one.sync);
    expect(await held('dids', i)).to.equal('r;cust_a;480');
    world.put(i);
    await one.changed(`did_${i}`);
  });

  it('that were removed or changed while no control process was there are mended after its start', async () => {
    world.dids.delete('did_100');
    world.put(101, { routeMode: 'reject' });
    world.put(TOTAL);
    const { sync } = await control();
    await settled(sync);
    expect(await held('dids', 100)).to.equal(undefined);
    expect(await held('dids', 101)).to.equal('r;cust_a;480');
    expect(await held('dids', TOTAL)).to.equal('w;cust_a;');
    // Their pieces, whole.
    expect(sync.counters.entries).to.be.lessThan(200);
    world.dids.delete(`did_${TOTAL}`);
  });

  it('are compared with what Kamailio really holds, a few with each heartbeat: what went astray comes back', async () => {
    const { sync } = await control();
    await settled(sync);
    // Of the pieces that are looked at first.
    const i = Array.from({ length: TOTAL }, (_, n) => n).find((n) => shardOf(numberAt(n)) < 8) ?? 0;
    await edge.rpc('htable.delete', ['dids', numberAt(i)]);
    await edge.until(async () => (await held('dids', i)) !== undefined || undefined, 'the number');
  });

  it('are pushed by one process where two know of the same change', async () => {
    const [one, two] = [await control(), await control()];
    await Promise.all([settled(one.sync), settled(two.sync)]);
    const before = one.sync.counters.entries + two.sync.counters.entries;
    const { id } = world.put(8, { routeMode: 'reject' });
    await Promise.all([one.changed(id), two.changed(id)]);
    expect(await held('dids', 8)).to.equal('r;cust_a;480');
    // Both say so; the second is told that it is held already.
    expect(one.sync.counters.entries + two.sync.counters.entries - before).to.equal(4);
    expect([one.sync.counters.due, two.sync.counters.due]).to.deep.equal([0, 0]);
  });

  it('are not put back by a process that has not heard of their change', async () => {
    const [one, two] = [await control(), await control()];
    await Promise.all([settled(one.sync), settled(two.sync)]);
    await one.changed(world.put(9, { routeMode: 'reject' }).id);
    world.dids.delete('did_10');
    await one.changed('did_10');
    expect(two.directory.didByNumber(numberAt(9))?.routeMode, 'what the other one knows').to.equal('webhook');
    // It compares everything, and changes a number of the same piece.
    await two.sync.push();
    expect(await held('dids', 9)).to.equal('r;cust_a;480');
    expect(await held('dids', 10)).to.equal(undefined);
    expect(two.directory.didByNumber(numberAt(9))?.routeMode).to.equal('reject');
    expect(two.directory.didByNumber(numberAt(10))).to.equal(undefined);
  });

  it('keep a Kamailio ready that holds them, while they are compared', async () => {
    const { sync } = await control();
    await edge.until(() => Promise.resolve(sync.synced || undefined), 'the first heartbeat');
    expect(sync.counters.due).to.be.greaterThan(0);
    const seen = new Set<boolean>();
    await edge.until(() => {
      seen.add(sync.synced);
      return Promise.resolve(sync.counters.due === 0 || undefined);
    }, 'everything to be compared');
    expect([...seen]).to.deep.equal([true]);
  });
});

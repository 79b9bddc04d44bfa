import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { Rooms } from '../../../control/conferences/rooms.ts';

describe('the rooms in Redis', () => {
  /** Two control processes. */
  let clients: Redis[];
  let one: Rooms;
  let two: Rooms;
  let room: string;

  before(() => {
    const url = process.env.MINIVOICE_TEST_REDIS_URL ?? '';
    clients = [new Redis(url), new Redis(url)];
    [one, two] = clients.map((client) => new Rooms(client)) as [Rooms, Rooms];
  });
  beforeEach(() => (room = `app_1-${randomUUID()}`));
  after(() => clients.forEach((client) => client.disconnect()));

  const keys = () => clients[0]?.keys(`conference:{${room}}:*`);

  it('two first members at two processes at once get one node, every time', async () => {
    for (let i = 0; i < 200; i++) {
      const name = `${room}-${i}`;
      const nodes = await Promise.all([one.claim(name, 'a', 'n1'), two.claim(name, 'b', 'n2')]);
      expect(new Set(nodes).size).to.equal(1);
      await Promise.all([one.leave(name, 'a'), two.leave(name, 'b')]);
    }
    expect(await keys()).to.deep.equal([]);
  });

  it('a room is entered where it has a node, and nowhere else', async () => {
    expect(await one.enter(room, 'a')).to.equal(undefined);
    expect(await keys(), 'nobody is counted in').to.deep.equal([]);
    expect(await one.claim(room, 'a', 'n1')).to.equal('n1');
    expect(await two.enter(room, 'b')).to.equal('n1');
    expect(await two.claim(room, 'b', 'n2')).to.equal('n1');
  });

  it("it is freed by the last who leaves, and is then anybody's", async () => {
    await one.claim(room, 'a', 'n1');
    await two.claim(room, 'b', 'n2');
    await one.leave(room, 'a');
    expect(await two.enter(room, 'c')).to.equal('n1');
    await two.leave(room, 'b');
    await two.leave(room, 'c');
    expect(await keys()).to.deep.equal([]);
    expect(await two.claim(room, 'd', 'n2')).to.equal('n2');
  });

  it('it has an end that every announcement puts off', async () => {
    await one.claim(room, 'a', 'n1');
    const lives = async () => Promise.all(((await keys()) ?? []).map(async (key) => clients[0]?.pttl(key)));
    expect(await lives()).to.have.length(2);
    for (const life of await lives()) expect(life).to.be.within(20_000, 30_000);
    for (const key of (await keys()) ?? []) await clients[0]?.pexpire(key, 1000);
    await two.claim(room, 'a', 'n1');
    for (const life of await lives()) expect(life).to.be.within(20_000, 30_000);
  });

  it('members whose time is over do not keep a room on its node', async () => {
    await one.claim(room, 'a', 'n1');
    await clients[0]?.zadd(`conference:{${room}}:members`, 1, 'a');
    expect(await two.enter(room, 'b')).to.equal(undefined);
    expect(await two.claim(room, 'b', 'n2')).to.equal('n2');
  });

  it('a room of a dead node is free, and stays where it has gone meanwhile', async () => {
    await one.claim(room, 'a', 'n1');
    await two.abandon(room, 'n1');
    expect(await two.claim(room, 'b', 'n2')).to.equal('n2');
    await one.abandon(room, 'n1');
    expect(await one.enter(room, 'c')).to.equal('n2');
  });

  it('without Redis every question fails, and soon', async () => {
    const away = new Redis(1, { lazyConnect: true, maxRetriesPerRequest: 1, retryStrategy: () => 50 });
    away.on('error', () => undefined);
    const failed = await new Rooms(away).enter(room, 'a').then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(failed).to.be.instanceOf(Error);
    away.disconnect();
  });
});

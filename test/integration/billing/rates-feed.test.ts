import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { Rates } from '../../../control/billing/rates/rates.ts';
import { RateService } from '../../../control/billing/rates/service.ts';
import { RateStore } from '../../../control/billing/rates/store.ts';
import { ChangeFeed } from '../../../control/edge/change-feed.ts';
import { Directory } from '../../../control/directory/directory.ts';
import { Ids } from '../../../control/lib/ids.ts';
import { createDatabase, type TestDatabase } from '../webhooks/database.ts';

/** Tells our connections from others' on the same Redis. */
const run = `rates-${randomBytes(4).toString('hex')}-`;
const nothing = { loadAll: () => Promise.resolve([]), get: () => Promise.resolve(undefined) };

describe('rates in several control processes', () => {
  let database: TestDatabase;
  const connections: Redis[] = [];
  const feeds: ChangeFeed[] = [];
  before(async () => {
    database = await createDatabase();
  });
  after(async () => {
    for (const feed of feeds) feed.stop();
    for (const connection of connections) connection.disconnect();
    await database.drop();
  });

  async function process(name: string) {
    const connect = (): Redis => {
      const redis = new Redis(globalThis.process.env['MINIVOICE_TEST_REDIS_URL'] ?? '', {
        connectionName: run + name,
      });
      connections.push(redis);
      return redis;
    };
    const store = new RateStore(database.db);
    const rates = new Rates(store);
    await rates.load();
    const subscriber = connect();
    const feed = new ChangeFeed({
      directory: new Directory({ customers: nothing, applications: nothing, dids: nothing, trunks: nothing }),
      syncs: [],
      forget: () => undefined,
      rates,
      redis: connect(),
      subscriber,
      self: name,
      logger: pino({ enabled: false }),
    });
    feeds.push(feed);
    await feed.listen();
    feed.start();
    const subscribed = new RegExp(`name=${run}${name} .* sub=1 `);
    while (!subscribed.test(String(await connections[0]?.client('LIST'))))
      await new Promise((resolve) => setTimeout(resolve, 10));
    const service = new RateService({
      store,
      customer: () => Promise.resolve(undefined),
      ids: new Ids(feeds.length),
      onChange: (change) => feed.announce(change),
    });
    return {
      service,
      price: () =>
        rates.table.find({ id: 'cust_1', currency: 'EUR' }, 'outbound', '+493012345', new Date())
          ?.priceMicros,
    };
  }

  it('are the same everywhere as soon as a change is told, and in the one that made it before the reply', async () => {
    const a = await process('a');
    const b = await process('b');
    const heard = async (expected: bigint | undefined): Promise<void> => {
      expect(a.price()).to.equal(expected);
      while (b.price() !== expected) await new Promise((resolve) => setTimeout(resolve, 5));
    };
    const terms = {
      direction: 'outbound',
      prefix: '+49',
      price_per_minute: '1',
      connection_fee: '0',
      minimum_seconds: 0,
      increment_seconds: 1,
      is_active: true,
    } as const;
    const { id } = await a.service.create(terms);
    await heard(1_000_000n);
    await a.service.update(id, { price_per_minute: '2' });
    await heard(2_000_000n);
    await a.service.import('prefix,price_per_minute\n493,3\n', { dryRun: false });
    await heard(3_000_000n);
    await a.service.import('prefix,price_per_minute,is_active\n493,3,false\n', { dryRun: false });
    await heard(2_000_000n);
    await a.service.delete(id);
    await heard(undefined);
  });
});

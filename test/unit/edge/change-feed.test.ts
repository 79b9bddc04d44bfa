import { EventEmitter, once } from 'node:events';
import { expect } from 'chai';
import { pino } from 'pino';
import { ChangeFeed } from '../../../control/edge/change-feed.ts';
import { Directory } from '../../../control/directory/directory.ts';

const none = { loadAll: () => Promise.resolve([]), get: () => Promise.resolve(undefined) };

/** A connection to Redis, as far as listening goes. */
class Subscriber extends EventEmitter {
  status = 'ready';
  channels: string[] = [];

  subscribe(channel: string): Promise<void> {
    this.channels.push(channel);
    return Promise.resolve();
  }

  tell(id: string): void {
    this.emit('message', 'minivoice:changes', JSON.stringify({ from: 'somebody else', room: 'dids', id }));
  }
}

describe('changes of other control processes', () => {
  let subscriber: Subscriber;
  let directory: Directory;
  let feed: ChangeFeed;
  let number: { id: string; number: string; customerId: string; status: string; routeMode: string };
  /** Reading all numbers waits for this. */
  let reading: Promise<void>;
  const reads = new EventEmitter();
  let count = 0;

  beforeEach(() => {
    subscriber = new Subscriber();
    number = {
      id: 'did_1',
      number: '+15550001',
      customerId: 'cust_a',
      status: 'active',
      routeMode: 'webhook',
    };
    reading = Promise.resolve();
    count = 0;
    directory = new Directory({
      customers: none,
      applications: none,
      trunks: none,
      dids: {
        loadAll: async () => {
          const read = [number];
          count++;
          reads.emit('read');
          await reading;
          return read as never;
        },
        get: () => Promise.resolve(number as never),
      },
    });
    feed = new ChangeFeed({
      directory,
      syncs: [],
      forget: () => undefined,
      rates: { refresh: () => Promise.resolve(), reload: () => Promise.resolve() },
      redis: {} as never,
      subscriber: subscriber as never,
      self: 'me',
      logger: pino({ enabled: false }),
      reloadMs: 5,
    });
  });
  afterEach(() => feed.stop());

  it('are heard of from before the directory is read: one that comes meanwhile takes the place of what was read', async () => {
    await feed.listen();
    expect(subscriber.channels).to.deep.equal(['minivoice:changes']);
    let read = (): void => undefined;
    reading = new Promise((resolve) => (read = resolve));
    const loaded = directory.load();
    await once(reads, 'read');
    number = { ...number, routeMode: 'reject' };
    subscriber.tell('did_1');
    read();
    await loaded;
    // The change is read in its turn, behind the page that was on its way.
    await directory.refresh({ room: 'rates', id: 'rate_1' });
    while (directory.didByNumber('+15550001')?.routeMode !== 'reject')
      await new Promise((resolve) => setImmediate(resolve));
  });

  it('are read at once when Redis is back, since nobody listened meanwhile', async () => {
    subscriber.status = 'connecting';
    const listening = feed.listen();
    await directory.load();
    number = { ...number, routeMode: 'reject' };
    subscriber.emit('ready');
    await listening;
    expect(directory.didByNumber('+15550001')?.routeMode).to.equal('reject');
  });

  it('are looked for now and then, and no more once that was stopped, even while it was under way', async () => {
    await directory.load();
    feed.start();
    await once(reads, 'read');
    let read = (): void => undefined;
    reading = new Promise((resolve) => (read = resolve));
    await once(reads, 'read');
    feed.stop();
    const before = count;
    read();
    // Ten times as long as it would take to look again.
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(count).to.equal(before);
  });
});

import { expect } from 'chai';
import { Redis } from 'ioredis';
import { ApiError } from '../../../control/lib/errors.ts';
import { createLogger } from '../../../control/lib/logger.ts';
import { Peers } from '../../../control/lib/peers.ts';

const url = process.env['MINIVOICE_TEST_REDIS_URL'] ?? '';

async function refused(attempt: Promise<unknown>): Promise<ApiError> {
  const error = await attempt.then(
    (value) => `was answered: ${JSON.stringify(value)}`,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ApiError)) throw new Error(String(error));
  return error;
}

describe('control processes asking each other', () => {
  const connections: Redis[] = [];
  const started: Peers[] = [];

  const connect = (): Redis => {
    const redis = new Redis(url, { maxRetriesPerRequest: 1 });
    connections.push(redis);
    return redis;
  };

  /** A process that hears what it is asked. */
  async function process(instance: number): Promise<Peers> {
    const [redis, subscriber] = [connect(), connect()];
    const peers = new Peers({ instance, redis, subscriber, logger: createLogger('silent') });
    peers.start();
    started.push(peers);
    while (!peers.listening) await new Promise(setImmediate);
    return peers;
  }

  afterEach(async () => {
    for (const peers of started.splice(0)) peers.stop();
    await Promise.all(connections.splice(0).map((redis) => redis.quit()));
  });

  it('get what the other one answers', async () => {
    const asking = await process(1);
    const other = await process(2);
    other.answer('sum', (body) => Promise.resolve((body as number[]).reduce((a, b) => a + b)));
    expect(await Promise.all([asking.ask(2, 'sum', [1, 2]), asking.ask(2, 'sum', [3, 4])])).to.deep.equal([
      3, 7,
    ]);
    expect(asking.waiting).to.equal(0);
  });

  it('get the error the other one throws, and nothing of one that is not meant for them', async () => {
    const asking = await process(1);
    const other = await process(2);
    other.answer('refuse', () =>
      Promise.reject(
        new ApiError('invalid_request', 'no', { details: [{ path: 'a', message: 'b' }], retryAfter: 7 }),
      ),
    );
    other.answer('break', () => Promise.reject(new Error('a secret')));
    expect(await refused(asking.ask(2, 'refuse', 1))).to.deep.include({
      code: 'invalid_request',
      message: 'no',
      details: [{ path: 'a', message: 'b' }],
      retryAfter: 7,
    });
    expect(await refused(asking.ask(2, 'break', 1))).to.include({
      code: 'internal_error',
      message: 'internal error',
    });
  });

  it('hear at once that the other one is away', async () => {
    const asking = await process(1);
    expect(await refused(asking.ask(2, 'anything', 1, 60_000))).to.include({
      code: 'service_unavailable',
      message: 'control process 2, which has this in its care, is away',
      retryAfter: 2,
    });
  });

  it('a request is carried out once where two lives of a process listen', async () => {
    const asking = await process(1);
    let times = 0;
    for (const life of [await process(2), await process(2)])
      life.answer('count', () => Promise.resolve(++times));
    for (let n = 1; n <= 20; n++) expect(await asking.ask(2, 'count', null)).to.equal(n);
    expect(times).to.equal(20);
  });

  it('what was not begun in time is not begun any more', async () => {
    const asking = await process(1);
    const deaf = connect();
    const heard = new Promise<string>((resolve) =>
      deaf.on('message', (_channel: string, text: string) => resolve(text)),
    );
    await deaf.subscribe('minivoice:requests:3');
    const error = await refused(asking.ask(3, 'anything', 1, 50));
    expect(error).to.include({
      code: 'service_unavailable',
      message: 'control process 3, which has this in its care, did not answer in time',
    });
    // The process wakes up and hears of it now.
    const awake = await process(4);
    const done: unknown[] = [];
    awake.answer('anything', (body) => Promise.resolve(done.push(body)));
    await connect().publish('minivoice:requests:4', await heard);
    await asking.ask(4, 'anything', 2);
    expect(done).to.deep.equal([2]);
  });

  it('one that was begun and takes too long may still be done, and the message says so', async () => {
    const asking = await process(1);
    const other = await process(2);
    other.answer('slow', () => new Promise(() => undefined));
    expect((await refused(asking.ask(2, 'slow', 1, 50))).message).to.contain('it may be done all the same');
    expect(asking.waiting).to.equal(0);
  });

  it('nonsense on the channels is ignored', async () => {
    const asking = await process(1);
    const other = await process(2);
    other.answer('echo', (body) => Promise.resolve(body));
    for (const text of [
      '',
      '{}',
      'null',
      '{"id":1}',
      '{"id":"a","replyTo":"b","kind":"unknown"}',
      '{"id":"a","replyTo":"b","kind":"echo","body":1}',
    ])
      await connect().publish('minivoice:requests:2', text);
    expect(await asking.ask(2, 'echo', { text: 'ü' })).to.deep.equal({ text: 'ü' });
  });
});

import { connect as dial, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import type { Limits } from '../../../control/limits/limits.ts';
import { ApiError } from '../../../control/lib/errors.ts';
import { connect, limitsOf, place } from './redis.ts';

/** A way to Redis that can be cut and mended, or hold everything back. */
class Way {
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  port = 0;

  async open(): Promise<void> {
    const { hostname, port } = new URL(process.env['MINIVOICE_TEST_REDIS_URL'] ?? '');
    this.#server = createServer((near) => {
      const far = dial(Number(port), hostname);
      near.pipe(far).pipe(near);
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on('error', () => undefined).on('close', () => [near, far].forEach((one) => one.destroy()));
      }
    });
    await new Promise<void>((resolve) => this.#server?.listen(this.port, '127.0.0.1', resolve));
    this.port = (this.#server.address() as AddressInfo).port;
  }

  async cut(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
    await new Promise((resolve) => this.#server?.close(resolve));
  }

  hang(): void {
    for (const socket of this.#sockets) socket.pause();
  }

  go(): void {
    for (const socket of this.#sockets) socket.resume();
  }
}

const of = { customer: { id: 'cust_1', cps: 100, concurrentCalls: 2 } };
const codeOf = (attempt: Promise<unknown>): Promise<string> =>
  attempt.then(
    () => 'granted',
    (error: unknown) => (error instanceof ApiError ? error.code : String(error)),
  );

describe('limits and an outage of Redis', () => {
  let direct: Redis;
  let way: Way;
  let redis: Redis;
  let limits: Limits;

  before(() => {
    direct = connect();
  });
  after(() => direct.disconnect());
  beforeEach(async () => {
    await direct.flushdb();
    way = new Way();
    await way.open();
    const url = new URL(process.env['MINIVOICE_TEST_REDIS_URL'] ?? '');
    url.port = String(way.port);
    redis = new Redis(url.href, { maxRetriesPerRequest: 1, retryStrategy: () => 50 });
    redis.on('error', () => undefined);
    limits = limitsOf(redis, 0, undefined, { beatMs: 20, renewMs: 100, settleMs: 200, patienceMs: 300 });
    await limits.start(() => false);
    await open();
  });
  afterEach(async () => {
    await limits.stop();
    redis.disconnect();
    await way.cut();
  });

  /** @throws Error after five seconds */
  async function until(look: () => boolean | Promise<boolean>, what: string): Promise<void> {
    for (const end = Date.now() + 5000; !(await look());) {
      if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
      await new Promise((resolve) => {
        setTimeout(resolve, 5);
      });
    }
  }
  const open = (): Promise<void> => until(() => limits.open, 'places to be given');

  it('a connection that is cut: refused at once, and counted right when it is back', async () => {
    await limits.take(place('call_1', of));
    await way.cut();
    await until(() => redis.status !== 'ready', 'the connection to be lost');
    expect(await codeOf(limits.take(place('call_2', of)))).to.equal('service_unavailable');
    limits.release('call_1', 0); // Redis does not hear of it now.
    await way.open();
    await open();
    expect(await codeOf(limits.take(place('call_3', of)))).to.equal('granted');
    await until(
      async () => (await direct.hkeys('{limits}:places:0')).join() === 'call_3:0',
      'what was released meanwhile to be forgotten',
    );
  });

  it('a restart that forgets everything: what is held is announced before anything is taken', async () => {
    await limits.take(place('call_1', of));
    await limits.take(place('call_2', of));
    await way.cut();
    await direct.flushdb();
    await way.open();
    const codes = new Set<string>();
    await until(async () => {
      codes.add(await codeOf(limits.take(place(`call_${codes.size + 3}`, of))));
      return codes.has('concurrent_call_limit_reached');
    }, 'places to be given');
    expect([...codes]).to.deep.equal(['service_unavailable', 'concurrent_call_limit_reached']);
    limits.release('call_1', 0);
    expect(await codeOf(limits.take(place('call_last', of)))).to.equal('granted');
  });

  it('one that hangs: refused in bounded time, and what was granted without our hearing of it is given back', async () => {
    way.hang();
    expect(await codeOf(limits.take(place('call_1', of)))).to.equal('service_unavailable');
    expect(await codeOf(limits.take(place('call_2', of)))).to.equal('service_unavailable');
    way.go();
    await open();
    for (const id of ['call_3', 'call_4'])
      expect(await codeOf(limits.take(place(id, of)))).to.equal('granted');
    expect(await codeOf(limits.take(place('call_5', of)))).to.equal('concurrent_call_limit_reached');
  });
});

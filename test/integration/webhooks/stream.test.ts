import { once } from 'node:events';
import {
  Agent,
  createServer,
  get as httpGet,
  request as httpRequest,
  type IncomingMessage,
  type Server,
} from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { WebSocket } from 'ws';
import { RequestLimits } from '../../../control/http/request-limits.ts';
import { ApiError } from '../../../control/lib/errors.ts';
import { Ids } from '../../../control/lib/ids.ts';
import { createLogger } from '../../../control/lib/logger.ts';
import { CommitSignal } from '../../../control/webhooks/commit-signal.ts';
import { enqueue, type OutboxRow } from '../../../control/webhooks/outbox.ts';
import { StreamStore } from '../../../control/webhooks/stream-store.ts';
import { EventStream, type EventStreamOptions } from '../../../control/webhooks/stream.ts';
import { Tail, type TailOptions } from '../../../control/webhooks/tail.ts';
import { Watched } from '../../../cli/phone/wait.ts';
import { createDatabase, type TestDatabase } from './database.ts';

/** A client that keeps what it gets. */
class Client extends Watched {
  readonly events: { event_id: string; event: string; n: number }[] = [];
  closed: { code: number; reason: string } | undefined;
  newest: string | undefined;
  readonly ws: WebSocket;

  constructor(url: string, key: string, options: { autoPong?: boolean } = {}) {
    super();
    this.ws = new WebSocket(url, { headers: { authorization: `Bearer ${key}` }, ...options });
    this.ws.on(
      'upgrade',
      (response) => (this.newest = response.headers['x-minivoice-event-id'] as string | undefined),
    );
    this.ws.on('message', (data: Buffer) => {
      this.events.push(JSON.parse(data.toString()) as Client['events'][number]);
      this.changed();
    });
    this.ws.on('error', () => undefined);
    this.ws.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
      this.changed();
    });
  }

  static async open(...args: ConstructorParameters<typeof Client>): Promise<Client> {
    const client = new Client(...args);
    await once(client.ws, 'open');
    return client;
  }

  got(count: number): Promise<number[]> {
    return this.until(
      () => (this.events.length >= count ? this.events.map(({ n }) => n) : undefined),
      () => `${count} events, got ${this.events.length}`,
      15_000,
    );
  }

  end(): Promise<NonNullable<Client['closed']>> {
    return this.until(() => this.closed, 'the end of the connection', 15_000);
  }
}

describe('the live stream of events', () => {
  let database: TestDatabase;
  let count = 0;
  let keys: Record<string, string>;
  const disabled = new Set<string>();
  const ids = new Ids(0);
  const cleanUps: (() => unknown)[] = [];
  before(async () => {
    database = await createDatabase();
  });
  after(() => database.drop());
  beforeEach(async () => {
    await database.db('webhook_deliveries').delete();
    await put({ ...event('app_0'), createdAt: new Date(Date.now() - 3600_000) });
    keys = { 'key-1': 'app_1', 'key-2': 'app_2' };
    disabled.clear();
  });
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  });

  /** A control process with nothing but the stream. */
  const start = async (
    options: Partial<EventStreamOptions> & { tail?: never; tailing?: Partial<TailOptions> } = {},
  ): Promise<{ url: string; port: number; tail: Tail; stream: EventStream }> => {
    const { tailing, ...rest } = options;
    const store = new StreamStore(database.db);
    const tail = new Tail({ store, logger: createLogger('silent'), pollMs: 50, ...tailing });
    const stream = new EventStream({
      store,
      tail,
      limits: new RequestLimits({ perKey: 0, perAddress: 0, proxies: [] }),
      requestId: () => 'req_1',
      logger: createLogger('silent'),
      authenticator: {
        authenticate: (_kind, header) => {
          const applicationId = keys[(header ?? '').replace('Bearer ', '')];
          return applicationId === undefined
            ? Promise.reject(new ApiError('unauthorized'))
            : Promise.resolve({
                kind: 'customer',
                applicationId,
                customerId: 'cust_1',
                applicationStatus: disabled.has(applicationId) ? 'disabled' : 'active',
                customerStatus: 'active',
              });
        },
      },
      ...rest,
    });
    const server: Server = createServer((request, response) => {
      if (request.url !== '/echo') return void response.end('an ordinary reply');
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () =>
        response.end(
          JSON.stringify({ body: Buffer.concat(chunks).toString(), name: request.headers['x-name'] }),
        ),
      );
    });
    stream.attach(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanUps.push(async () => {
      stream.stop();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });
    const { port } = server.address() as AddressInfo;
    return { url: `ws://127.0.0.1:${port}/v1/events`, port, tail, stream };
  };
  const event = (applicationId = 'app_1', size = 0): OutboxRow => {
    count++;
    return {
      id: ids.next('whd'),
      eventId: ids.next('evt'),
      event: 'call.created',
      callId: `call_${count}`,
      seq: 1,
      customerId: 'cust_1',
      applicationId,
      status: 'none',
      body: JSON.stringify({ event: 'call.created', n: count, filler: 'x'.repeat(size) }),
      createdAt: new Date(),
    };
  };
  const put = (...rows: OutboxRow[]): Promise<void> => database.db.transaction((trx) => enqueue(trx, rows));
  const refusal = async (
    url: string,
    key = 'key-1',
  ): Promise<{ status: number; body: { error: { code: string } } }> => {
    const ws = new WebSocket(url, { headers: { authorization: `Bearer ${key}` } });
    ws.on('error', () => undefined);
    const [, response] = (await once(ws, 'unexpected-response')) as [unknown, IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    return {
      status: response.statusCode ?? 0,
      body: JSON.parse(Buffer.concat(chunks).toString()) as { error: { code: string } },
    };
  };
  const numbers = (rows: OutboxRow[]): number[] =>
    rows.map(({ body }) => (JSON.parse(body) as { n: number }).n);

  it("brings an application's events as they are committed, with their ids, and nobody else's", async () => {
    const { url } = await start();
    await put(event());
    const client = await Client.open(url, 'key-1');
    const other = await Client.open(url, 'key-2');
    const rows = [event(), event('app_2'), event()];
    await put(...rows);
    const [first, second, third] = rows;
    await client.got(2);
    await other.got(1);
    expect(client.events.map(({ event_id }) => event_id)).to.deep.equal([first?.eventId, third?.eventId]);
    expect(client.events[0]).to.deep.equal({
      event_id: first?.eventId,
      ...(JSON.parse(first?.body ?? '') as object),
    });
    expect(other.events.map(({ event_id }) => event_id)).to.deep.equal([second?.eventId]);
  });

  it('goes on where a subscriber was: with what came meanwhile, and then live, each event once and in order', async () => {
    const { url } = await start();
    const rows = Array.from({ length: 300 }, () => event());
    await put(...rows.slice(0, 200));
    let writing = true;
    const more = (async () => {
      for (let i = 200; i < 300; i += 4) await put(...rows.slice(i, i + 4));
      writing = false;
    })();
    const client = await Client.open(`${url}?since=${rows[49]?.eventId}`, 'key-1');
    expect(client.newest).to.equal(rows[49]?.eventId);
    await more;
    expect(writing).to.equal(false);
    expect(await client.got(250)).to.deep.equal(numbers(rows.slice(50)));
    const all = await Client.open(`${url}?since=earliest`, 'key-1');
    expect(await all.got(300)).to.deep.equal(numbers(rows));
  });

  it('tells a new subscriber which event is the newest, from which it can resume before it has got one', async () => {
    const { url } = await start();
    expect((await Client.open(url, 'key-1')).newest).to.equal(undefined);
    const [row, between] = [event(), event()];
    await put(row);
    const client = await Client.open(url, 'key-1');
    expect(client.newest).to.equal(row.eventId);
    client.ws.close();
    await client.end();
    await put(between);
    const resumed = await Client.open(`${url}?since=${client.newest}`, 'key-1');
    expect(await resumed.got(1)).to.deep.equal(numbers([between]));
  });

  it('an event is not seen before its commit, and what commits later with an earlier position is not lost', async () => {
    const { url } = await start({ tailing: { holdMs: 60_000 } });
    const client = await Client.open(url, 'key-1');
    const [slow, quick, rolledBack] = [event(), event(), event()];
    const trx = await database.db.transaction();
    await enqueue(trx, [slow]);
    await put(quick);
    const before = await Client.open(url, 'key-1');
    await new Promise((resolve) => setTimeout(resolve, 200)); // what must not come can only be waited for
    expect(client.events).to.deep.equal([]);
    await trx.commit();
    expect(await client.got(2)).to.deep.equal(numbers([slow, quick]));
    expect(before.events.length).to.be.lessThan(2);
    const back = await database.db.transaction();
    await enqueue(back, [rolledBack]);
    await back.rollback();
  });

  it('a position whose transaction was rolled back holds the others up for a moment and no longer', async () => {
    const { url } = await start({ tailing: { holdMs: 100 } });
    const client = await Client.open(url, 'key-1');
    for (let i = 0; i < 3; i++)
      await database.db
        .transaction((trx) => enqueue(trx, [event()]).then(() => Promise.reject(new Error('rolled back'))))
        .catch(() => undefined);
    const row = event();
    await put(row);
    expect(await client.got(1)).to.deep.equal(numbers([row]));
  });

  it('many processes write, several serve, and every subscriber gets everything exactly once, each call in its order', async () => {
    const served = await Promise.all([start(), start()]);
    const clients = await Promise.all([0, 1, 0, 1].map((i) => Client.open(served[i]?.url ?? '', 'key-1')));
    const calls = Array.from({ length: 8 }, (_, call) =>
      Array.from({ length: 40 }, (_, i) => ({
        ...event(),
        callId: `call_${call}`,
        body: JSON.stringify({ event: 'e', n: call * 1000 + i }),
      })),
    );
    await Promise.all(
      calls.map(async (rows) => {
        for (let i = 0; i < rows.length; i += 3) await put(...rows.slice(i, i + 3));
      }),
    );
    for (const client of clients) {
      const got = await client.got(320);
      expect(new Set(got).size).to.equal(320);
      for (let call = 0; call < 8; call++) {
        expect(got.filter((n) => Math.floor(n / 1000) === call)).to.deep.equal(
          Array.from({ length: 40 }, (_, i) => call * 1000 + i),
        );
      }
    }
  });

  it('a commit elsewhere is told by Redis at once; without Redis it is found all the same', async () => {
    const redisUrl = process.env['MINIVOICE_TEST_REDIS_URL'] ?? '';
    const connections = [new Redis(redisUrl), new Redis(redisUrl), new Redis(redisUrl)] as const;
    cleanUps.push(() => connections.forEach((connection) => connection.disconnect()));
    const logger = createLogger('silent');
    const { url, tail } = await start({ tailing: { pollMs: 3600_000 } });
    new CommitSignal({
      redis: connections[0],
      subscriber: connections[1],
      onCommit: () => tail.wake(),
      logger,
    }).start();
    const elsewhere = new CommitSignal({
      redis: connections[2],
      subscriber: connections[1],
      onCommit: () => undefined,
      logger,
    });
    const client = await Client.open(url, 'key-1');
    const polling = await Client.open((await start()).url, 'key-1');
    const [told, untold] = [event(), event()];
    await put(told);
    await client.until(() => {
      elsewhere.committed();
      return client.events.length === 1 || undefined;
    }, 'the event that was told');
    connections[2].disconnect();
    elsewhere.committed();
    await put(untold);
    expect(await polling.got(2)).to.deep.equal(numbers([told, untold]));
  });

  it('one who does not read is cut with a reason, holds up nobody else, and loses nothing', async () => {
    const { url } = await start({ slowMs: 300 });
    const rows = Array.from({ length: 200 }, () => event('app_1', 200_000));
    const slow = await Client.open(url, 'key-1');
    const quick = await Client.open(url, 'key-1');
    slow.ws.pause();
    for (let i = 0; i < 200; i += 20) await put(...rows.slice(i, i + 20));
    expect(await quick.got(200)).to.deep.equal(numbers(rows));
    setTimeout(() => slow.ws.resume(), 1000); // what is on its way comes first, the reason last
    expect(await slow.end()).to.deep.equal({ code: 4008, reason: 'too slow: resume with since' });
    const resumed = await Client.open(`${url}?since=${slow.events.at(-1)?.event_id}`, 'key-1');
    expect([
      ...slow.events.map(({ n }) => n),
      ...(await resumed.got(200 - slow.events.length)),
    ]).to.deep.equal(numbers(rows));
  });

  it('one that gives no sign of life is cut, and one whose key was taken away is told so', async () => {
    const { url, stream } = await start({ heartbeatMs: 100 });
    const dead = await Client.open(url, 'key-1', { autoPong: false });
    const alive = await Client.open(url, 'key-2');
    expect((await dead.end()).code).to.equal(1006);
    await eventually(() => stream.size === 1);
    delete keys['key-2'];
    expect(await alive.end()).to.deep.equal({ code: 4001, reason: 'the API key is not valid any more' });
  });

  it('a disabled application opens none, and what it has open is ended', async () => {
    const { url } = await start({ heartbeatMs: 100 });
    const open = await Client.open(url, 'key-2');
    disabled.add('app_2');
    expect(await open.end()).to.deep.equal({ code: 4001, reason: 'the application is disabled' });
    expect(await refusal(url, 'key-2'))
      .to.include({ status: 403 })
      .and.to.have.nested.property('body.error.code', 'application_disabled');
  });

  it('refuses, in the words of the API, a wrong key, an unknown event, an unknown parameter and too many', async () => {
    const { url } = await start({ perApplication: 1 });
    const foreign = event('app_2');
    await put(foreign);
    expect(await refusal(url, 'key-3')).to.have.nested.property('body.error.code', 'unauthorized');
    expect(await refusal(`${url}?since=${foreign.eventId}`)).to.have.nested.property(
      'body.error.code',
      'not_found',
    );
    expect(await refusal(`${url}?from=1`)).to.have.nested.property('body.error.code', 'invalid_request');
    await Client.open(url, 'key-1');
    expect(await refusal(url))
      .to.include({ status: 429 })
      .and.to.have.nested.property('body.error.code', 'rate_limited');
  });

  it('a process that ends says so, and another goes on from there', async () => {
    const [first, second] = [await start(), await start()];
    const client = await Client.open(first.url, 'key-1');
    const [one, two] = [event(), event()];
    await put(one);
    await client.got(1);
    first.stream.stop();
    expect((await client.end()).code).to.equal(1001);
    await put(two);
    const again = await Client.open(`${second.url}?since=${client.events[0]?.event_id}`, 'key-1');
    expect(await again.got(1)).to.deep.equal(numbers([two]));
  });

  it('clients that offer other upgrades are served as if they had not', async () => {
    const { port } = await start();
    const request = httpGet({
      port,
      path: '/v1/calls',
      headers: { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': 'AAMAAABk' },
    });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    expect([response.statusCode, Buffer.concat(chunks).toString()]).to.deep.equal([200, 'an ordinary reply']);
  });

  it('of a POST that offers another upgrade the body is read, with its length, in chunks, late, and again on the same connection', async () => {
    const { port } = await start();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    cleanUps.push(() => agent.destroy());
    const headers = {
      connection: 'Upgrade, HTTP2-Settings, keep-alive',
      upgrade: 'h2c',
      'http2-settings': 'AAMAAABk',
      'x-name': 'Anna: B',
    };
    const post = async (more: Record<string, string>, ...parts: string[]): Promise<unknown> => {
      const request = httpRequest({
        port,
        path: '/echo',
        method: 'POST',
        agent,
        headers: { ...headers, ...more },
      });
      for (const part of parts) {
        request.write(part);
        await new Promise((resolve) => setImmediate(resolve));
      }
      request.end();
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk as Buffer);
      return JSON.parse(Buffer.concat(chunks).toString()) as unknown;
    };
    const sockets = new Set<unknown>();
    agent.on('free', (socket: unknown) => sockets.add(socket));
    const expected = { body: '{"a":1}', name: 'Anna: B' };
    expect(await post({ 'content-length': '7' }, '{"a":1}')).to.deep.equal(expected);
    expect(await post({ 'transfer-encoding': 'chunked' }, '{"a"', ':1}')).to.deep.equal(expected);
    expect(await post({ expect: '100-continue', 'content-length': '7' }, '{"a":', '1}')).to.deep.equal(
      expected,
    );
    expect(sockets.size).to.equal(1);
  });

  it('one who sends what nobody asked for is cut with a reason', async () => {
    const { url } = await start({ heartbeatMs: 60_000 });
    for (const send of [(ws: WebSocket) => ws.ping(), (ws: WebSocket) => ws.send('x'.repeat(4000))]) {
      const client = await Client.open(url, 'key-1');
      for (let i = 0; i < 50; i++) send(client.ws);
      const told = event();
      await put(told);
      expect(await client.got(1), String(send)).to.deep.equal(numbers([told]));
      for (let i = 0; i < 1000; i++) send(client.ws);
      expect(await client.end()).to.deep.equal({
        code: 4029,
        reason: 'more than 100 messages between two pings',
      });
    }
  });

  it('a client that goes away in the middle of its handshake leaves nothing behind', async () => {
    const { port, stream, url } = await start();
    const socket = connect(port, '127.0.0.1');
    socket.write(
      'GET /v1/events HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nAuthorization: Bearer key-1\r\n\r\n',
    );
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).to.match(/^HTTP\/1.1 400/);
    socket.destroy();
    const client = await Client.open(url, 'key-1');
    expect(stream.size).to.equal(1);
    client.ws.terminate();
    await eventually(() => stream.size === 0);
  });
});

async function eventually(look: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 5000; !look();) {
    if (Date.now() > deadline) throw new Error('waited in vain');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

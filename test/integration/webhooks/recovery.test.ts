import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { connectDatabase } from '../../../control/lib/database.ts';
import { WebhookStore } from '../../../control/webhooks/store.ts';
import { Receiver } from '../lib/receiver.ts';
import { createDatabase, type TestDatabase } from './database.ts';
import { PostOffice } from './post-office.ts';

describe('webhook recovery', () => {
  let database: TestDatabase;
  let office: PostOffice;
  const cleanUps: (() => unknown)[] = [];
  before(async () => {
    database = await createDatabase();
  });
  after(() => database.drop());
  beforeEach(async () => {
    office = await PostOffice.open(database);
  });
  afterEach(async () => {
    await office.close();
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  });

  const receiver = async (reply: Parameters<typeof Receiver.start>[0]): Promise<Receiver> => {
    const started = await Receiver.start(reply);
    cleanUps.push(() => started.stop());
    office.endpoints.set('app_1', { url: started.url(), secrets: [] });
    return started;
  };

  const workerProcess = (endpoint: string): ChildProcess => {
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', fileURLToPath(new URL('./worker-process.ts', import.meta.url))],
      {
        stdio: 'inherit',
        env: {
          ...process.env,
          WORKER_DATABASE_URL: database.url,
          WORKER_ENDPOINT: endpoint,
          WORKER_LEASE_MS: '1000',
        },
      },
    );
    cleanUps.push(() => kill(child));
    return child;
  };
  const kill = async (child: ChildProcess): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  };

  it('workers are killed in the middle of their work, and no event is lost', async function () {
    this.timeout(60_000);
    office.time = Date.now();
    const events = Array.from({ length: 400 }, (_, i) => office.event('app_1', `call_${i >> 2}`, i & 3));
    const arrived = new Set<string>();
    let holding = true;
    const target = await receiver((request, response) => {
      arrived.add(String(request.headers['x-minivoice-event-id']));
      // While it holds, every worker gets stuck with what it has claimed.
      if (holding && arrived.size % 3 === 0) return;
      response.writeHead(200).end();
    });
    await office.put(...events);
    for (const share of [1, 2]) {
      const child = workerProcess(target.url());
      await target.until(
        () => (arrived.size >= share * 20 && target.open > 0) || undefined,
        `${share * 20} events`,
        20_000,
      );
      await kill(child);
    }
    holding = false;
    workerProcess(target.url());
    await office.until(
      'all to be delivered',
      (rows) => rows.every((row) => row.status === 'delivered'),
      30_000,
    );
    expect(arrived).to.deep.equal(new Set(events.map(({ eventId }) => eventId)));
  });

  it('several workers share the work, and none does what another did', async () => {
    const target = await receiver((_request, response) => response.writeHead(200).end());
    await office.put(...Array.from({ length: 300 }, (_, i) => office.event('app_1', `call_${i}`, 1)));
    for (let i = 0; i < 4; i++) office.worker();
    await office.until('all to be delivered', (rows) => rows.every((row) => row.status === 'delivered'));
    expect(target.requests).to.have.length(300);
  });

  it('a claim that nobody finishes is taken over when its lease ends, and not before', async () => {
    const target = await receiver((_request, response) => response.writeHead(200).end());
    const row = office.event('app_1', 'call_1', 1);
    await office.put(row);
    const claimed = await office.store.claim(
      [{ applicationId: 'app_1', count: 1 }],
      office.now(),
      new Date(office.time + 30_000),
    );
    expect(claimed.map(({ id }) => id)).to.deep.equal([row.id]);
    expect(
      await office.store.claim(
        [{ applicationId: 'app_1', count: 1 }],
        new Date(office.time + 29_999),
        new Date(office.time + 60_000),
      ),
    ).to.deep.equal([]);
    office.worker();
    office.pass(30);
    await office.until('it to be delivered', ([first]) => first?.status === 'delivered');
    expect(target.requests).to.have.length(1);
  });

  it('a worker that outlived its lease changes nothing that another has done since', async () => {
    await office.put(office.event('app_1', 'call_1', 1));
    const claim = async (): ReturnType<WebhookStore['claim']> => {
      office.time += 30_000;
      return office.store.claim(
        [{ applicationId: 'app_1', count: 1 }],
        office.now(),
        new Date(office.time + 30_000),
      );
    };
    const [late, current] = [(await claim())[0], (await claim())[0]];
    if (!late || !current) throw new Error('both claims should have got the event');
    await office.store.handBack([late], office.now());
    expect((await office.deliveries())[0]?.next_attempt_at).to.deep.equal(current.leaseUntil);
    await office.store.record(
      [{ delivery: current, attempt: undefined, verdict: { status: 'delivered' } }],
      office.now(),
    );
    await office.db('webhook_deliveries').update({ attempts: 1 });
    await office.store.record(
      [{ delivery: late, attempt: undefined, verdict: { status: 'pending', nextAttemptAt: office.now() } }],
      office.now(),
    );
    expect((await office.deliveries())[0]?.status).to.equal('delivered');
  });

  it('a worker that stops finishes what it has begun', async () => {
    const target = await receiver((_request, response) =>
      setTimeout(() => response.writeHead(200).end(), 100),
    );
    const worker = office.worker();
    await office.put(office.event('app_1', 'call_1', 1));
    await target.until(() => target.requests[0], 'the request');
    await worker.stop();
    expect((await office.deliveries())[0]?.status).to.equal('delivered');
    await office.put(office.event('app_1', 'call_2', 1));
    expect([(await office.deliveries())[1]?.status, worker.running, target.requests.length]).to.deep.equal([
      'pending',
      0,
      1,
    ]);
  });

  it('what it cannot finish in time goes back as if it had not been tried, and another takes it at once', async () => {
    const target = await receiver((_request, response) => {
      if (target.requests.length > 1) response.writeHead(200).end();
    });
    const worker = office.worker();
    await office.put(office.event('app_1', 'call_1', 1));
    await target.until(() => target.requests[0], 'the request');
    await worker.stop(50);
    const [delivery] = await office.deliveries();
    expect([delivery?.status, delivery?.attempts, delivery?.next_attempt_at?.getTime()]).to.deep.equal([
      'pending',
      0,
      office.time,
    ]);
    office.worker();
    await office.until('it to be delivered', ([first]) => first?.status === 'delivered');
    expect(target.requests.map(({ headers }) => headers['x-minivoice-attempt'])).to.deep.equal(['1', '1']);
  });

  it('when the database goes away the outcome of a running attempt is kept until it is back, and the work goes on', async () => {
    const wire = await cuttableWire(new URL(database.url));
    cleanUps.push(() => wire.close());
    const throughWire = connectDatabase(wire.url, 4);
    cleanUps.push(() => throughWire.destroy());
    let release = (): void => {};
    const target = await receiver((_request, response) => {
      if (target.requests.length === 1) release = () => response.writeHead(200).end();
      else response.writeHead(200).end();
    });
    office.worker({ store: new WebhookStore(throughWire) });
    await office.put(office.event('app_1', 'call_1', 1), office.event('app_1', 'call_1', 2));
    await target.until(() => target.requests[0], 'the request');
    wire.cut();
    release();
    await wire.refused;
    expect((await office.deliveries()).map(({ status }) => status)).to.deep.equal(['pending', 'pending']);
    wire.mend();
    await office.until('both to be delivered', (rows) => rows.every((row) => row.status === 'delivered'));
    expect(
      target.requests.map(({ body }) => (JSON.parse(body) as { data: { seq: number } }).data.seq),
    ).to.deep.equal([1, 2]);
  });
});

/**
 * The way to a database, through a TCP relay that can be cut: open connections break, new ones are dropped.
 */
async function cuttableWire(to: URL): Promise<{
  url: string;
  cut: () => void;
  mend: () => void;
  refused: Promise<void>;
  close: () => Promise<void>;
}> {
  const sockets = new Set<net.Socket>();
  let whole = true;
  let sawRefusal = (): void => {};
  const refused = new Promise<void>((resolve) => {
    sawRefusal = resolve;
  });
  const server = net.createServer((near) => {
    if (!whole) {
      near.destroy();
      sawRefusal();
      return;
    }
    const far = net.connect(Number(to.port || 3306), to.hostname);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket
        .on('error', () => {})
        .on('close', () => {
          sockets.delete(socket);
          near.destroy();
          far.destroy();
        });
    }
    near.pipe(far).pipe(near);
  });
  const breakAll = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(to);
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as net.AddressInfo).port);
  return {
    url: url.href,
    refused,
    cut: () => {
      whole = false;
      breakAll();
    },
    mend: () => {
      whole = true;
    },
    close: async () => {
      breakAll();
      server.close();
      await once(server, 'close');
    },
  };
}

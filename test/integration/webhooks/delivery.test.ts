import type { ServerResponse } from 'node:http';
import { expect } from 'chai';
import { Receiver, type Received } from '../lib/receiver.ts';
import { verify } from '../../unit/webhooks/verify.ts';
import { enqueue } from '../../../control/webhooks/outbox.ts';
import { createDatabase, type TestDatabase } from './database.ts';
import { PostOffice } from './post-office.ts';

describe('webhook delivery', () => {
  let database: TestDatabase;
  let office: PostOffice;
  const receivers: Receiver[] = [];
  before(async () => {
    database = await createDatabase();
  });
  after(() => database.drop());
  beforeEach(async () => {
    office = await PostOffice.open(database);
  });
  afterEach(async () => {
    await office.close();
    for (const receiver of receivers.splice(0)) await receiver.stop();
  });

  /** An application with an endpoint that answers like this. */
  const application = async (
    id: string,
    reply: Parameters<typeof Receiver.start>[0],
    secrets: string[] = [],
  ): Promise<Receiver> => {
    const receiver = await Receiver.start(reply);
    receivers.push(receiver);
    office.endpoints.set(id, { url: receiver.url('/hook'), secrets });
    return receiver;
  };
  const status =
    (code: number, headers: Record<string, string> = {}): Parameters<typeof Receiver.start>[0] =>
    (_request, response) =>
      response.writeHead(code, headers).end('reply');
  const requests = (receiver: Receiver, count: number): Promise<Received[]> =>
    receiver.until(
      () => (receiver.requests.length >= count ? receiver.requests : undefined),
      () => `${count} requests, got ${receiver.requests.length}`,
    );

  it('an event arrives once, byte for byte, named, numbered and signed, and the attempt is kept', async () => {
    const receiver = await application('app_1', status(202), ['old secret', 'new secret']);
    office.worker();
    const row = office.event('app_1', 'call_1', 1, 'call.answered');
    await office.put(row);
    const [request] = await requests(receiver, 1);
    expect([request?.method, request?.path, request?.body]).to.deep.equal(['POST', '/hook', row.body]);
    expect(request?.headers).to.include({
      'content-type': 'application/json',
      'x-minivoice-event': 'call.answered',
      'x-minivoice-event-id': row.eventId,
      'x-minivoice-attempt': '1',
      'user-agent': 'MiniVoice',
    });
    for (const [secret, good] of [
      ['old secret', true],
      ['new secret', true],
      ['another', false],
    ] as const) {
      expect(
        await verify(secret, request?.headers ?? {}, request?.rawBody ?? Buffer.alloc(0), office.now()),
        secret,
      ).to.equal(good);
    }
    const [delivery] = await office.until('it to be delivered', ([first]) => first?.status === 'delivered');
    expect(delivery).to.deep.include({ attempts: 1, next_attempt_at: null, delivered_at: office.now() });
    const entries = await office.store.attemptsOfCall('call_1');
    expect(entries).to.have.length(1);
    expect(entries[0]).to.deep.include({
      at: office.now(),
      deliveryId: row.id,
      event: 'call.answered',
      attempt: 1,
      status: 202,
      error: undefined,
    });
    expect(receiver.requests).to.have.length(1);
  });

  it('an event exists exactly when what it tells about is committed, and writing it again changes nothing', async () => {
    const receiver = await application('app_1', status(200));
    office.worker();
    const kept = office.event('app_1', 'call_1', 2);
    await office.db
      .transaction((trx) =>
        enqueue(trx, [office.event('app_1', 'call_1', 1)]).then(() =>
          trx.rollback(new Error('not this time')),
        ),
      )
      .catch(() => {});
    await office.put(kept);
    await office.until('it to be delivered', ([first]) => first?.status === 'delivered');
    await office.put(kept);
    await office.put(office.event('app_1', 'call_2', 1));
    await requests(receiver, 2);
    expect((await office.deliveries()).map(({ id }) => id))
      .to.include(kept.id)
      .and.have.length(2);
    expect(receiver.requests.map(({ headers }) => headers['x-minivoice-attempt'])).to.deep.equal(['1', '1']);
  });

  it('without a secret nothing is signed', async () => {
    const receiver = await application('app_1', status(200));
    office.worker();
    await office.put(office.event('app_1', 'call_1', 1));
    const [request] = await requests(receiver, 1);
    expect(request?.headers).to.not.have.any.keys('x-minivoice-signature', 'x-minivoice-timestamp');
  });

  it('a failed event is sent again on schedule, with the same id and a new signature, until it is exhausted', async () => {
    const receiver = await application('app_1', status(500), ['secret']);
    office.worker();
    const row = office.event('app_1', 'call_1', 1);
    await office.put(row);
    for (const [i, wait] of [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400].entries()) {
      const sentAt = office.time;
      const [delivery] = await office.until(`attempt ${i + 1}`, ([first]) => first?.attempts === i + 1);
      expect([delivery?.status, (delivery?.next_attempt_at?.getTime() ?? 0) - sentAt]).to.deep.equal([
        'pending',
        wait * 1000,
      ]);
      office.pass(wait - 0.001);
      office.pass(0.001);
    }
    const [delivery] = await office.until('the last attempt', ([first]) => first?.attempts === 10);
    expect(delivery).to.deep.include({ status: 'exhausted', next_attempt_at: null, delivered_at: null });
    expect(receiver.requests.map(({ headers }) => headers['x-minivoice-attempt'])).to.deep.equal([
      '1',
      '2',
      '3',
      '4',
      '5',
      '6',
      '7',
      '8',
      '9',
      '10',
    ]);
    expect(new Set(receiver.requests.map(({ headers }) => headers['x-minivoice-event-id']))).to.deep.equal(
      new Set([row.eventId]),
    );
    expect(new Set(receiver.requests.map(({ headers }) => headers['x-minivoice-signature'])).size).to.equal(
      10,
    );
    const last = receiver.requests[9];
    expect(
      await verify('secret', last?.headers ?? {}, last?.rawBody ?? Buffer.alloc(0), office.now()),
    ).to.equal(true);
    expect(
      (await office.store.attemptsOfCall('call_1')).map(({ attempt, error }) => [attempt, error]),
    ).to.deep.equal(Array.from({ length: 10 }, (_, i) => [i + 1, 'status 500']));
  });

  it('a 2xx is success whatever becomes of the body, and the next event of the call does not wait for it', async () => {
    const endings: Record<string, (response: ServerResponse) => void> = {
      endless: (response) => response.writeHead(200).write('x'),
      cut: (response) =>
        response.writeHead(200, { 'content-length': '99' }).write('x', () => response.destroy()),
    };
    for (const [what, end] of Object.entries(endings)) {
      const receiver = await application(what, (_request, response) => end(response));
      await office.put(...[1, 2, 3].map((seq) => office.event(what, `call_${what}`, seq)));
      office.worker();
      await requests(receiver, 3);
      const rows = await office.until(
        'the events to be delivered',
        (all) => all.filter(({ status: s }) => s === 'delivered').length === receivers.length * 3,
      );
      expect(
        rows.map(({ attempts }) => attempts),
        what,
      ).to.deep.equal(rows.map(() => 1));
    }
  });

  it('a failed event that is taken the second time is delivered', async () => {
    const receiver = await application('app_1', (_request, response) =>
      response.writeHead(receiver.requests.length === 1 ? 503 : 204).end(),
    );
    office.worker();
    await office.put(office.event('app_1', 'call_1', 1));
    await office.until('the first attempt', ([first]) => first?.attempts === 1);
    office.pass(5);
    const [delivery] = await office.until('the second attempt', ([first]) => first?.attempts === 2);
    expect(delivery?.status).to.equal('delivered');
  });

  it('each event of a call is first tried after the one before it was, and calls do not wait for each other', async () => {
    const holding: (() => void)[] = [];
    const receiver = await application('app_1', (request, response) => {
      const answer = (): void => {
        response.writeHead(request.body.includes('"seq":2') ? 500 : 200).end();
      };
      if (request.body.includes('call_slow')) holding.push(answer);
      else answer();
    });
    office.worker();
    office.worker();
    // Written in one transaction and out of order.
    await office.put(
      ...[3, 1, 2, 4].map((seq) => office.event('app_1', 'call_slow', seq)),
      ...[1, 2, 3].map((seq) => office.event('app_1', 'call_quick', seq)),
    );
    const seqs = (call: string): number[] =>
      receiver.requests
        .filter(({ body }) => body.includes(call))
        .map(({ body }) => (JSON.parse(body) as { data: { seq: number } }).data.seq);
    for (const expected of [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4]]) {
      const answer = await receiver.until(() => holding.shift(), `event ${expected.length} of the slow call`);
      await receiver.until(() => (seqs('call_quick').length === 3 ? true : undefined), 'the quick call');
      expect(seqs('call_slow')).to.deep.equal(expected);
      answer();
    }
    expect(seqs('call_quick')).to.deep.equal([1, 2, 3]);
    // The second failed, which held the third up only until it had been tried.
    await office.until('all first attempts', (rows) => rows.every(({ attempts }) => attempts === 1));
  });

  it('endpoints that never answer delay nobody else', async () => {
    for (let i = 0; i < 12; i++) await application(`app_dead_${i}`, () => {});
    const receiver = await application('app_alive', status(200));
    office.worker({ concurrency: 16, concurrencyPerEndpoint: 8 });
    const dead = (i: number): ReturnType<PostOffice['event']> =>
      office.event(`app_dead_${i % 12}`, `call_dead_${i}`, 1);
    await office.put(...Array.from({ length: 120 }, (_, i) => dead(i)));
    await receivers[0]?.until(() => receivers[0]?.requests[0], 'the first request to a dead endpoint');
    await office.put(...Array.from({ length: 40 }, (_, i) => office.event('app_alive', `call_${i}`, 1)));
    await requests(receiver, 40);
  });

  it('a redirect is a failure and is not followed', async () => {
    const elsewhere = await application('app_2', status(200));
    await application('app_1', status(302, { location: elsewhere.url() }));
    office.worker();
    await office.put(office.event('app_1', 'call_1', 1));
    await office.until('the attempt', ([first]) => first?.attempts === 1 && first.status === 'pending');
    expect(elsewhere.connections).to.equal(0);
    expect((await office.store.attemptsOfCall('call_1'))[0]).to.deep.include({
      status: 302,
      error: 'status 302: redirects are not followed',
    });
  });

  it('410 gives up the event and everything that waits for the same endpoint, and nothing of others', async () => {
    await application('app_gone', status(410));
    await application('app_busy', status(500));
    office.worker();
    await office.put(office.event('app_busy', 'call_1', 1));
    await office.until('the first failure', ([first]) => first?.attempts === 1);
    await office.put(...[1, 2, 3].map((seq) => office.event('app_gone', 'call_2', seq)));
    const rows = await office.until(
      'the rest to be given up',
      (all) => all.filter((row) => row.status === 'disabled').length === 3,
    );
    expect(rows.map((row) => [row.status, row.attempts])).to.deep.equal([
      ['pending', 1],
      ['disabled', 1],
      ['disabled', 0],
      ['disabled', 0],
    ]);
  });

  it('an endpoint that says when to come back is left alone until then, with its other events too', async () => {
    const receiver = await application('app_1', (_request, response) =>
      response.writeHead(receiver.requests.length === 1 ? 429 : 200, { 'retry-after': '20' }).end(),
    );
    office.worker();
    await office.put(office.event('app_1', 'call_1', 1));
    const [delivery] = await office.until('the attempt', ([first]) => first?.attempts === 1);
    expect((delivery?.next_attempt_at?.getTime() ?? 0) - office.time).to.equal(20_000);
    const other = await application('app_2', status(200));
    await office.put(office.event('app_1', 'call_2', 1), office.event('app_2', 'call_3', 1));
    await requests(other, 1);
    expect(receiver.requests).to.have.length(1);
    office.pass(20);
    await office.until('all to be delivered', (rows) => rows.every((row) => row.status === 'delivered'));
  });

  it('an endpoint on a private address is refused, and the attempt says why', async () => {
    office.endpoints.set('app_1', { url: 'http://169.254.169.254/latest/meta-data/', secrets: [] });
    office.worker();
    await office.put(office.event('app_1', 'call_1', 1));
    await office.until('the attempt', ([first]) => first?.attempts === 1);
    const [entry] = await office.store.attemptsOfCall('call_1');
    expect([entry?.status, entry?.error]).to.deep.equal([
      undefined,
      'forbidden_address: 169.254.169.254 is not a public address',
    ]);
  });

  it('of a long or unreadable reply the first 4 KiB are kept', async () => {
    await application('app_1', (_request, response) =>
      response.writeHead(500).end(Buffer.concat([Buffer.from([0xff, 0x00]), Buffer.alloc(300_000, 'x')])),
    );
    office.worker();
    await office.put(office.event('app_1', 'call_1', 1));
    await office.until('the attempt', ([first]) => first?.attempts === 1);
    const row = (await office.db('webhook_attempts').first()) as {
      reply: string;
      request_headers: unknown;
      status: number;
    };
    expect([row.reply, row.status]).to.deep.equal([`\ufffd\u0000${'x'.repeat(4094)}`, 500]);
    expect(JSON.stringify(row.request_headers)).to.contain('X-MiniVoice-Event-Id');
  });

  it('an application without a webhook gets nothing, which is settled only when every instance must know of a new one', async () => {
    const receiver = await application('app_new', status(200));
    let known = false;
    office.worker({ endpointOf: (id) => (known ? office.endpoints.get(id) : undefined) });
    await office.put(office.event('app_none', 'call_1', 1), office.event('app_new', 'call_2', 1));
    const later = office.time + 10_000;
    await office.until('both to be put off', (rows) =>
      rows.every((row) => row.next_attempt_at?.getTime() === later),
    );
    known = true;
    office.pass(10);
    await requests(receiver, 1);
    const rows = await office.until('both to be settled', (all) =>
      all.every((row) => row.status !== 'pending'),
    );
    expect(rows.map((row) => [row.status, row.attempts])).to.deep.equal([
      ['none', 0],
      ['delivered', 1],
    ]);
  });

  it('an event whose application cannot be looked up waits and is not counted as tried', async () => {
    const receiver = await application('app_1', status(200));
    let broken = true;
    office.worker({
      endpointOf: (id) =>
        broken ? Promise.reject(new Error('not now')) : Promise.resolve(office.endpoints.get(id)),
    });
    await office.put(office.event('app_1', 'call_1', 1));
    await office.until(
      'it to be put off',
      ([first]) => first?.next_attempt_at?.getTime() === office.time + 5000 && first.attempts === 0,
    );
    broken = false;
    office.pass(5);
    const [request] = await requests(receiver, 1);
    expect(request?.headers['x-minivoice-attempt']).to.equal('1');
  });
});

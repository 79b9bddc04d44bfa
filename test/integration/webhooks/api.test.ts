import { expect } from 'chai';
import { Directory } from '../../../control/directory/directory.ts';
import { createGuardedFetch, type GuardedFetch } from '../../../control/lib/guarded-fetch.ts';
import { createLogger } from '../../../control/lib/logger.ts';
import type { Endpoint } from '../../../control/webhooks/deliver.ts';
import { DeliveryLogStore } from '../../../control/webhooks/log-store.ts';
import { enqueue, type OutboxRow } from '../../../control/webhooks/outbox.ts';
import { webhookRoutes } from '../../../control/webhooks/routes.ts';
import { WebhookService } from '../../../control/webhooks/service.ts';
import { WebhookStore } from '../../../control/webhooks/store.ts';
import { DeliveryWorker } from '../../../control/webhooks/worker.ts';
import { verify } from '../../unit/webhooks/verify.ts';
import { OPERATOR, startApi, type ApiReply, type TestApi } from '../http/api.ts';
import { Receiver } from '../lib/receiver.ts';

interface Mine {
  customerId: string;
  applicationId: string;
  key: string;
}

describe('the API of webhooks', () => {
  let api: TestApi;
  let worker: DeliveryWorker;
  let fetch: GuardedFetch;
  let receiver: Receiver;
  let answer: [status: number, headers?: Record<string, string>];
  let mine: Mine;

  before(async () => {
    fetch = createGuardedFetch({ allowPrivate: true });
    api = await startApi({
      rooms: ({ db, ids, now, stores, applications }) => {
        const directory = new Directory(stores);
        void directory.load();
        const endpointOf = (id: string): Endpoint | undefined => {
          const application = directory.application(id);
          return application?.webhookUrl === undefined
            ? undefined
            : {
                url: application.webhookUrl,
                secrets: application.webhookSecrets,
                disabled: application.webhookDisabled !== undefined,
              };
        };
        worker = new DeliveryWorker({
          store: new WebhookStore(db),
          fetch: fetch.fetch,
          endpointOf,
          disable: (id, url, reason) => applications.disableWebhook(id, url, reason),
          logger: createLogger('silent'),
          now,
          random: () => 0,
          pollMs: 50,
        });
        const service = new WebhookService({
          store: new DeliveryLogStore(db),
          endpointOf,
          enable: (id) => applications.enableWebhook(id),
          wake: () => worker.wake(),
          fetch: fetch.fetch,
          ids,
          now,
        });
        return {
          endpoints: webhookRoutes(service),
          onChange: async (change) => void (await directory.refresh(change)),
        };
      },
    });
    worker.start();
  });
  after(async () => {
    await worker.stop();
    fetch.close();
    await api.close();
  });
  beforeEach(async () => {
    answer = [200];
    receiver = await Receiver.start((_request, response) => response.writeHead(...answer).end('a reply'));
    mine = await api.customer();
    await configure({ webhook_url: receiver.url('/hook'), webhook_secret: 'a-secret-of-mine' });
  });
  afterEach(() => receiver.stop());

  const configure = (body: object): Promise<ApiReply> =>
    api.send('PATCH', `/v1/applications/${mine.applicationId}`, { key: mine.key, body });
  const get = (path: string, key = mine.key): Promise<ApiReply> => api.send('GET', path, { key });
  const post = (path: string, body?: unknown, key = mine.key): Promise<ApiReply> =>
    api.send('POST', path, { key, body });
  const health = async (): Promise<Record<string, unknown>> =>
    (await get(`/v1/applications/${mine.applicationId}`)).body.webhook_health;
  const put = async (...rows: Partial<OutboxRow>[]): Promise<OutboxRow[]> => {
    const whole = rows.map((row, i): OutboxRow => ({
      id: api.ids.next('whd'),
      eventId: api.ids.next('evt'),
      event: 'call.created',
      callId: 'call_1',
      seq: i + 1,
      customerId: mine.customerId,
      applicationId: mine.applicationId,
      body: JSON.stringify({ event: row.event ?? 'call.created' }),
      createdAt: new Date(Date.now() + api.clock.offsetMs),
      ...row,
    }));
    await api.db.transaction((trx) => enqueue(trx, whole));
    worker.wake();
    return whole;
  };
  const until = async (id: string, status: string, attempts: number): Promise<ApiReply> => {
    for (const deadline = Date.now() + 10_000; ;) {
      const reply = await get(`/v1/webhooks/deliveries/${id}`);
      if (reply.body.status === status && reply.body.attempt_count === attempts) return reply;
      if (Date.now() > deadline)
        throw new Error(`waited in vain for ${status} after ${attempts}: ${JSON.stringify(reply.body)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };

  it('another webhook_url starts with a clean slate: what waits is sent there at once, and what the old one says is over', async () => {
    answer = [503, { 'Retry-After': '3600' }];
    const rows = await put({}, { callId: 'call_2', seq: 1 });
    for (const { id } of rows) await until(id, 'pending', 1);
    const other = await Receiver.start((_request, response) => response.writeHead(200).end());
    try {
      await configure({ webhook_url: other.url('/new') });
      for (const { id } of rows) await until(id, 'delivered', 2);
      expect(await health()).to.include({ state: 'active', consecutive_failures: 0 });
      const [later] = await put({ callId: 'call_3', seq: 1 });
      await until(later?.id ?? '', 'delivered', 1);
    } finally {
      await other.stop();
    }
  });

  it('a 410 that comes when the webhook_url is another one already gives nothing up', async () => {
    const other = await Receiver.start((_request, response) => response.writeHead(200).end());
    const leaving = await Receiver.start((_request, response) => {
      void configure({ webhook_url: other.url('/new') }).then(() => response.writeHead(410).end());
    });
    try {
      await configure({ webhook_url: leaving.url('/old') });
      const [row] = await put({});
      await until(row?.id ?? '', 'delivered', 2);
      expect(await health()).to.include({ state: 'active' });
    } finally {
      await leaving.stop();
      await other.stop();
    }
  });

  it('a test event can be asked for twenty times a minute, by each application', async () => {
    const replies = await Promise.all(Array.from({ length: 60 }, () => post('/v1/webhooks/test')));
    const sent = replies.filter(({ status }) => status === 200).length;
    expect(sent, 'twenty at once, and one more every three seconds').to.be.within(20, 40);
    const refused = replies.find(({ status }) => status === 429);
    expect(refused?.body.error).to.include({
      code: 'rate_limited',
      message: 'this can be asked 20 times a minute',
    });
    expect(Number(refused?.headers.get('retry-after'))).to.be.within(1, 3);
    expect(receiver.requests).to.have.length(sent);
    expect((await post('/v1/webhooks/test', undefined, (await api.customer()).key)).status).to.equal(409);
  });

  it('lists deliveries by call, event and status, in pages, newest first', async () => {
    const rows = await put(
      { callId: 'call_a' },
      { callId: 'call_a', event: 'call.answered' },
      { callId: 'call_b', seq: 1 },
      { callId: 'call_c', status: 'none' },
    );
    for (const { id, status } of rows) if (status !== 'none') await until(id, 'delivered', 1);
    const ids = async (query: string): Promise<string[]> =>
      (await get(`/v1/webhooks/deliveries?${query}`)).body.data.map((row: { id: string }) => row.id);
    const [first, second, third, kept] = rows.map(({ id }) => id);
    expect(await ids('')).to.deep.equal([kept, third, second, first]);
    expect(await ids('call_id=call_a')).to.deep.equal([second, first]);
    expect(await ids('event=call.answered')).to.deep.equal([second]);
    expect(await ids('status=none')).to.deep.equal([kept]);
    expect(await ids('status=delivered')).to.deep.equal([third, second, first]);
    const page = (await get('/v1/webhooks/deliveries?limit=3')).body;
    expect(await ids(`limit=3&cursor=${page.next_cursor}`)).to.deep.equal([first]);
    expect((await get('/v1/webhooks/deliveries?status=lost')).status).to.equal(400);
    const all = (
      await api.send('GET', `/admin/v1/webhooks/deliveries?application_id=${mine.applicationId}`, {
        key: OPERATOR,
      })
    ).body;
    expect(all.data.map((row: { id: string }) => row.id)).to.deep.equal([kept, third, second, first]);
  });

  it("shows every attempt's request, reply and time", async () => {
    answer = [500];
    const [row] = await put({});
    await until(row?.id ?? '', 'pending', 1);
    answer = [200];
    api.clock.offsetMs += 5001;
    worker.wake();
    const { body } = await until(row?.id ?? '', 'delivered', 2);
    expect(body).to.include({
      event_id: row?.eventId,
      event: 'call.created',
      call_id: 'call_1',
      body: row?.body,
    });
    expect(
      body.attempts.map((a: { attempt: number; status: number; error?: string; reply: string }) => [
        a.attempt,
        a.status,
        a.error,
        a.reply,
      ]),
    ).to.deep.equal([
      [1, 500, 'status 500', 'a reply'],
      [2, 200, undefined, 'a reply'],
    ]);
    const [sent] = body.attempts;
    expect(sent.request).to.deep.include({ method: 'POST', url: receiver.url('/hook') });
    expect(sent.request.headers).to.include({
      'X-MiniVoice-Event-Id': row?.eventId,
      'X-MiniVoice-Signature': receiver.requests[0]?.headers['x-minivoice-signature'],
    });
    expect(sent.took_ms).to.be.a('number');
  });

  it("another application's delivery is not found, whatever is asked of it", async () => {
    const [row] = await put({});
    await until(row?.id ?? '', 'delivered', 1);
    const other = await api.customer();
    for (const [method, path] of [
      ['GET', ''],
      ['POST', '/redeliver'],
    ] as const) {
      const reply = await api.send(method, `/v1/webhooks/deliveries/${row?.id}${path}`, { key: other.key });
      expect([reply.status, reply.body.error.code]).to.deep.equal([404, 'delivery_not_found']);
    }
    expect((await get('/v1/webhooks/deliveries', other.key)).body.data).to.deep.equal([]);
    expect((await get('/v1/webhooks/deliveries/whd_none')).status).to.equal(404);
    expect(
      (await api.send('GET', `/admin/v1/webhooks/deliveries/${row?.id}`, { key: OPERATOR })).body.attempts,
    ).to.have.length(1);
  });

  it('sends one again that was delivered: the same event, the next attempt, and the whole schedule before it', async () => {
    const [row] = await put({});
    const id = row?.id ?? '';
    await until(id, 'delivered', 1);
    answer = [500];
    const asked = await post(`/v1/webhooks/deliveries/${id}/redeliver`);
    expect([asked.status, asked.body.status]).to.deep.equal([202, 'pending']);
    const { body } = await until(id, 'pending', 2);
    expect(Date.parse(body.next_attempt_at) - Date.parse(body.attempts[1].at)).to.be.within(4000, 6000);
    answer = [204];
    api.clock.offsetMs += 6000;
    worker.wake();
    await until(id, 'delivered', 3);
    expect(
      receiver.requests.map(({ headers }) => [
        headers['x-minivoice-event-id'],
        headers['x-minivoice-attempt'],
      ]),
    ).to.deep.equal([
      [row?.eventId, '1'],
      [row?.eventId, '2'],
      [row?.eventId, '3'],
    ]);
  });

  it('one that waits for hours is sent at once when asked for', async () => {
    answer = [503, { 'retry-after': '7200' }];
    const [row] = await put({});
    await until(row?.id ?? '', 'pending', 1);
    answer = [200];
    api.clock.offsetMs += 61_000; // the endpoint itself is left alone for a minute at the most
    await post(`/v1/webhooks/deliveries/${row?.id}/redeliver`);
    await until(row?.id ?? '', 'delivered', 2);
  });

  it('sends all that failed since a time again, those for which there was no webhook when asked to, and nothing else', async () => {
    const before = new Date(Date.now() + api.clock.offsetMs - 3600_000);
    const rows = await put(
      { createdAt: before },
      { callId: 'call_2' },
      { callId: 'call_3' },
      { callId: 'call_4', status: 'none' },
    );
    for (const { id } of rows.slice(0, 3)) await until(id, 'delivered', 1);
    const [old, failed, delivered, kept] = rows.map(({ id }) => id);
    await api
      .db('webhook_deliveries')
      .whereIn('id', [old ?? '', failed ?? ''])
      .update({ status: 'exhausted' });
    const since = new Date(before.getTime() + 1000).toISOString();
    expect((await post('/v1/webhooks/redeliver', { since })).body).to.deep.equal({ count: 1 });
    await until(failed ?? '', 'delivered', 2);
    expect((await post('/v1/webhooks/redeliver', { since, status: ['none'] })).body).to.deep.equal({
      count: 1,
    });
    await until(kept ?? '', 'delivered', 1);
    expect((await get(`/v1/webhooks/deliveries/${delivered}`)).body.attempt_count).to.equal(1);
    expect((await get(`/v1/webhooks/deliveries/${old}`)).body.status).to.equal('exhausted');
    const refused = await post('/v1/webhooks/redeliver', { since: 'yesterday' });
    expect([refused.status, refused.body.error.details[0].path]).to.deep.equal([400, 'since']);
  });

  it('tests the endpoint with a signed event and tells what it said', async () => {
    const { body } = await post('/v1/webhooks/test');
    const [request] = receiver.requests;
    expect(body).to.include({ delivered: true, body: request?.body });
    expect(body.attempt).to.include({ status: 200, reply: 'a reply' });
    expect(JSON.parse(request?.body ?? ''))
      .to.deep.include({ event: 'webhook.test' })
      .and.to.have.nested.property('data.test', true);
    expect(
      await verify(
        'a-secret-of-mine',
        request?.headers ?? {},
        request?.rawBody ?? Buffer.alloc(0),
        new Date(Date.now() + api.clock.offsetMs),
      ),
    ).to.equal(true);
    expect((await get(`/v1/webhooks/deliveries/${body.delivery_id}`)).body).to.include({
      status: 'delivered',
      event: 'webhook.test',
      event_id: request?.headers['x-minivoice-event-id'],
    });
    answer = [404];
    expect((await post('/v1/webhooks/test')).body)
      .to.include({ delivered: false })
      .and.to.have.nested.property('attempt.error', 'status 404');
    expect(receiver.requests, 'a test is made once').to.have.length(2);
  });

  it('without a webhook_url nothing can be tested, enabled or sent again', async () => {
    const [row] = await put({});
    await until(row?.id ?? '', 'delivered', 1);
    await configure({ webhook_url: null });
    for (const [path, body] of [
      ['test'],
      ['enable'],
      ['redeliver', { since: '2026-01-01T00:00:00Z' }],
      [`deliveries/${row?.id}/redeliver`],
    ] as const) {
      const reply = await post(`/v1/webhooks/${path}`, body);
      expect([reply.status, reply.body.error.code], path).to.deep.equal([409, 'webhook_not_configured']);
    }
    expect(await health()).to.equal(undefined);
  });

  it('the application shows how its endpoint is doing', async () => {
    expect(await health()).to.deep.equal({ state: 'active', consecutive_failures: 0 });
    answer = [500];
    const rows = await put({}, { callId: 'call_2' });
    for (const { id } of rows) await until(id, 'pending', 1);
    const failing = await soon(async () =>
      (await health())?.consecutive_failures === 2 ? health() : undefined,
    );
    expect(failing)
      .to.include({ state: 'failing', last_error: 'status 500' })
      .and.to.have.property('last_failure_at');
    answer = [200];
    api.clock.offsetMs += 5001;
    worker.wake();
    for (const { id } of rows) await until(id, 'delivered', 2);
    const well = await soon(async () => ((await health())?.state === 'active' ? health() : undefined));
    expect(well).to.include({ consecutive_failures: 0 }).and.to.have.property('last_success_at');
    const list = (await get('/v1/applications')).body.data;
    expect(list[0].webhook_health.state).to.equal('active');
  });

  it('410 disables the endpoint, for what waits and for what comes later, until it is enabled again', async () => {
    answer = [500];
    const [waiting] = await put({});
    await until(waiting?.id ?? '', 'pending', 1);
    answer = [410];
    const [gone] = await put({ callId: 'call_2' });
    await until(gone?.id ?? '', 'disabled', 1);
    await until(waiting?.id ?? '', 'disabled', 1);
    expect(await soon(health)).to.include({
      state: 'disabled',
      disabled_reason: 'the endpoint answered 410 Gone',
    });
    const sent = receiver.requests.length;
    answer = [200];
    const [later] = await put({ callId: 'call_3' });
    await until(later?.id ?? '', 'disabled', 0);
    expect(receiver.requests).to.have.length(sent);
    const refused = await post(`/v1/webhooks/deliveries/${later?.id}/redeliver`);
    expect([refused.status, refused.body.error.code]).to.deep.equal([409, 'webhook_disabled']);
    expect((await post('/v1/webhooks/test')).body.delivered, 'it can be tested before').to.equal(true);

    expect((await post('/v1/webhooks/enable')).status).to.equal(204);
    expect(await health()).to.deep.equal({ state: 'active', consecutive_failures: 0 });
    const since = new Date(Date.now() + api.clock.offsetMs - 600_000).toISOString();
    expect((await post('/v1/webhooks/redeliver', { since })).body.count).to.equal(3);
    for (const [row, attempts] of [
      [waiting, 2],
      [gone, 2],
      [later, 1],
    ] as const)
      await until(row?.id ?? '', 'delivered', attempts);
  });

  it('410 disables until the address is set anew', async () => {
    answer = [410];
    const [gone] = await put({});
    await until(gone?.id ?? '', 'disabled', 1);
    answer = [200];
    await configure({ webhook_url: receiver.url('/elsewhere') });
    expect((await health()).state).to.equal('active');
    const [later] = await put({ callId: 'call_2' });
    await until(later?.id ?? '', 'delivered', 1);
    expect(receiver.requests.at(-1)?.path).to.equal('/elsewhere');
  });

  it('settled deliveries age out with their attempts, the oldest first and so many at a time; what is pending stays', async () => {
    const rows = await put({}, { callId: 'call_2' }, { callId: 'call_3' });
    for (const { id } of rows) await until(id, 'delivered', 1);
    const [oldest, pending, young] = rows.map(({ id }) => id);
    await api
      .db('webhook_deliveries')
      .where({ id: pending })
      .update({ status: 'pending', next_attempt_at: new Date(Date.now() + api.clock.offsetMs + 3600_000) });
    const store = new DeliveryLogStore(api.db);
    await store.purge(new Date(0), 10);
    const at = new Date(Date.now() + 3600_000);
    const left = async (): Promise<string[]> =>
      (await api.db('webhook_deliveries').where({ application_id: mine.applicationId }).orderBy('id')).map(
        (row: { id: string }) => row.id,
      );
    let steps = 0;
    while ((await left()).includes(oldest ?? '')) steps += await store.purge(at, 1);
    expect(steps).to.be.greaterThan(0);
    expect(await left()).to.deep.equal([pending, young]);
    while ((await store.purge(at, 100)) > 0);
    expect(await left()).to.deep.equal([pending]);
    expect(
      await api.db('webhook_attempts').whereIn('delivery_id', [oldest ?? '', young ?? '']),
    ).to.deep.equal([]);
  });
});

/** Asks until there is something. */
async function soon<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (const deadline = Date.now() + 5000; ;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error('waited in vain');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

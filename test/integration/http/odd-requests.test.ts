import { expect } from 'chai';
import { CallService } from '../../../control/calls/service.ts';
import { CallStore } from '../../../control/calls/store.ts';
import { callRoutes } from '../../../control/calls/routes.ts';
import { flowRoutes } from '../../../control/placing/routes.ts';
import { RecordingLibrary } from '../../../control/recordings/library.ts';
import { recordingRoutes } from '../../../control/recordings/routes.ts';
import type { RecordingService } from '../../../control/recordings/service.ts';
import { RecordingStore } from '../../../control/recordings/store.ts';
import { createLogger } from '../../../control/lib/logger.ts';
import { DeliveryLogStore } from '../../../control/webhooks/log-store.ts';
import { webhookRoutes } from '../../../control/webhooks/routes.ts';
import { WebhookService } from '../../../control/webhooks/service.ts';
import { OPERATOR, startApi, type TestApi } from './api.ts';

describe('requests as careless clients and scanners send them', () => {
  let api: TestApi;
  let key: string;
  let applicationId: string;
  before(async () => {
    api = await startApi({
      rooms: ({ db, ids }) => {
        const calls = new CallService({
          calls: { get: () => undefined } as never,
          store: new CallStore(db),
          attemptsOf: () => Promise.resolve([]),
          hangup: () => Promise.resolve(false),
        });
        const library = new RecordingLibrary({
          store: new RecordingStore(db),
          storages: {},
          fileOf: () => '',
          publicUrl: '',
          logger: createLogger('silent'),
        });
        return {
          endpoints: [
            ...callRoutes(calls),
            ...flowRoutes({ calls, outbound: {} as never, replace: () => Promise.resolve(false) }),
            ...recordingRoutes({
              service: { library } as RecordingService,
              call: (id, scope) => calls.get(id, scope),
              control: () => Promise.reject(new Error('no calls')),
            }),
            ...webhookRoutes(
              new WebhookService({
                store: new DeliveryLogStore(db),
                endpointOf: () => undefined,
                enable: () => Promise.resolve(),
                wake: () => undefined,
                fetch: () => Promise.reject(new Error('no')),
                ids,
              }),
            ),
          ],
        };
      },
    });
    ({ key, applicationId } = await api.customer());
  });
  after(() => api.close());

  const ODD = [
    'é',
    '\u{1f600}',
    '%',
    '\u0000',
    'x'.repeat(49),
    'x'.repeat(4000),
    'call_20260529T120000.000000000é',
    '__proto__',
  ];

  it('get 404 for an id that cannot be ours, whatever is read, changed or deleted by it', async () => {
    const seen: string[] = [];
    for (const [path, operations] of Object.entries(api.document.paths)) {
      if (!path.includes('{id}')) continue;
      for (const method of Object.keys(operations)) {
        for (const odd of ODD) {
          const url = path.replace('{id}', encodeURIComponent(odd));
          const body =
            method === 'get' || method === 'delete'
              ? undefined
              : path.endsWith('/actions')
                ? { actions: [] }
                : path.endsWith('/credits')
                  ? { amount: '1' }
                  : path.endsWith('/applications')
                    ? { name: 'x' }
                    : path.endsWith('/recordings')
                      ? { action: 'start' }
                      : {};
          const reply = await api.send(method.toUpperCase(), url, {
            key: path.startsWith('/admin') ? OPERATOR : key,
            body,
          });
          expect([reply.status, reply.body.error.code], `${method} ${url.slice(0, 100)}`).to.have.property(
            '0',
            404,
          );
        }
        seen.push(`${method} ${path}`);
      }
    }
    expect(seen).to.include.members([
      'get /v1/calls/{id}',
      'get /v1/calls/{id}/events',
      'post /v1/calls/{id}/hangup',
      'post /v1/calls/{id}/actions',
      'get /admin/v1/calls/{id}/events',
      'post /admin/v1/calls/{id}/hangup',
      'get /v1/recordings/{id}',
      'get /v1/webhooks/deliveries/{id}',
      'delete /v1/trunks/{id}',
      'patch /admin/v1/rates/{id}',
    ]);
  });

  it('get 400 or an empty list for a query that is nonsense, never an error of ours', async () => {
    for (const [path, { get }] of Object.entries(api.document.paths)) {
      if (!get || path.includes('{') || !path.includes('v1/')) continue;
      const names = (get.parameters ?? [])
        .filter((parameter) => parameter.in === 'query')
        .map(({ name }) => name);
      for (const name of names) {
        for (const odd of [
          ...ODD,
          '',
          '0000-01-01T00:00:00Z',
          '9999-12-31T23:59:59.999-23:59',
          '2026-02-30T00:00:00Z',
        ]) {
          const query = `${name}=${encodeURIComponent(odd)}`;
          const reply = await api.send('GET', `${path}?${query}`, {
            key: path.startsWith('/admin') ? OPERATOR : key,
          });
          expect(reply.status, `${path}?${query}`).to.be.oneOf([200, 400]);
          if (reply.status === 400)
            expect(reply.body.error.details[0].path, `${path}?${query}`).to.equal(name);
        }
      }
    }
    for (const odd of ODD)
      expect(
        (await api.send('GET', `/v1/dids/by-number/${encodeURIComponent(odd)}`, { key })).status,
        odd,
      ).to.equal(404);
  });

  it('find calls by number with a plus sign that became a space, or was left out, and are told when it is none', async () => {
    const call = {
      customer_id: (await api.customer()).customerId,
      application_id: applicationId,
      direction: 'inbound',
      status: 'completed',
      route_mode: 'webhook',
      routing_target: applicationId,
      metadata: '{}',
      variables: '{}',
      event_counts: '{}',
      created_at: new Date('2026-05-29T11:00:00Z'),
    };
    await api.db('calls').insert([
      {
        ...call,
        id: 'call_20260529T110000.000000001',
        from_number: '+15551230001',
        to_number: '+15551230002',
      },
      { ...call, id: 'call_20260529T110000.000000002', from_number: 'anonymous', to_number: '+15551230003' },
    ]);
    const found = async (query: string): Promise<string[]> =>
      ((await api.send('GET', `/v1/calls?${query}`, { key })).body.data as { id: string }[]).map(({ id }) =>
        id.slice(-1),
      );
    for (const query of [
      'to=+15551230002',
      'to=%2B15551230002',
      'to=15551230002',
      'from=+15551230001',
      'did=+15551230002',
      'from=15551230001&did=%2B15551230002',
    ]) {
      expect(await found(query), query).to.deep.equal(['1']);
    }
    expect(await found('from=anonymous')).to.deep.equal(['2']);
    expect(await found('since=2026-05-29T12:30:00+02:00')).to.deep.equal(['2', '1']);
    expect(await found('since=2026-05-29T13:00:01%2B02:00')).to.deep.equal([]);
    for (const [query, field] of [
      ['to=hello', 'to'],
      ['to=++1', 'to'],
      ['did=anonymous', 'did'],
      ['from=+1555', 'from'],
      ['to=+1%20555%20123', 'to'],
    ]) {
      const { status, body } = await api.send('GET', `/v1/calls?${query}`, { key });
      expect([status, body.error.details[0].path], query).to.deep.equal([400, field]);
      expect(body.error.message, query).to.contain('%2B');
    }
    const { body } = await api.send('GET', '/v1/calls?since=yesterday', { key });
    expect(body.error.message).to.equal(
      'since must be an RFC 3339 time such as 2026-05-01T00:00:00Z; in a URL the + of an offset is written %2B',
    );
  });

  it('that are deep or wide, keyed or not, get 400 with the limit, and a reply of a few lines', async () => {
    const nested = `{"name":"x","application_id":${'['.repeat(60_000)}${']'.repeat(60_000)}}`;
    const wide = `{${Array.from({ length: 20_000 }, (_, i) => `"a${i}":1`).join(',')}}`;
    const values = `{"name":[${'1,'.repeat(60_000)}1]}`;
    for (const headers of [{}, { 'Idempotency-Key': 'deep' }] as Record<string, string>[]) {
      for (const [raw, message] of [
        [nested, 'the body must not be nested deeper than 32 levels'],
        [values, 'the body must not hold more than 50000 values'],
        [wide, 'name is required'],
      ]) {
        for (const [path, as] of [
          ['/v1/applications', key],
          ['/admin/v1/customers', OPERATOR],
        ]) {
          const reply = await api.send('POST', path ?? '', { key: as, raw, headers });
          expect([reply.status, reply.body.error.message], path).to.deep.equal([400, message]);
          expect(JSON.stringify(reply.body).length).to.be.below(10_000);
        }
      }
    }
  });

  it('that hold half a character, or a number that would change, get 400 with its field', async () => {
    for (const [path, as, raw, field] of [
      ['/v1/applications', key, '{"name":"a\\ud83d"}', 'name'],
      ['/v1/applications', key, '{"name":"a","webhook_secret":"\\ude00aaaaaaaa"}', 'webhook_secret'],
      ['/admin/v1/customers', OPERATOR, '{"name":"a","limits":{"cps":12345678901234567890}}', 'limits.cps'],
      [
        '/v1/calls',
        key,
        '{"from":"+15551230001","to":"+15551230002","metadata":{"id":12345678901234567890}}',
        'metadata.id',
      ],
      [
        '/v1/calls',
        key,
        '{"from":"+15551230001","to":"+15551230002","metadata":{"__proto__":{}}}',
        'metadata.__proto__',
      ],
    ]) {
      const reply = await api.send('POST', path ?? '', { key: as, raw });
      expect([reply.status, reply.body.error.details[0].path], raw).to.deep.equal([400, field]);
    }
  });
});

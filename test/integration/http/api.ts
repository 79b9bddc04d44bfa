import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { applicationRoutes } from '../../../control/applications/routes.ts';
import { ApplicationService } from '../../../control/applications/service.ts';
import { ApplicationStore } from '../../../control/applications/store.ts';
import { ledgerRoutes } from '../../../control/billing/ledger/routes.ts';
import { LedgerService } from '../../../control/billing/ledger/service.ts';
import { LedgerStore } from '../../../control/billing/ledger/store.ts';
import { rateRoutes } from '../../../control/billing/rates/routes.ts';
import { RateService } from '../../../control/billing/rates/service.ts';
import { RateStore } from '../../../control/billing/rates/store.ts';
import { customerRoutes } from '../../../control/customers/routes.ts';
import { CustomerService } from '../../../control/customers/service.ts';
import { CustomerStore } from '../../../control/customers/store.ts';
import { didRoutes } from '../../../control/dids/routes.ts';
import { DidService } from '../../../control/dids/service.ts';
import { DidStore } from '../../../control/dids/store.ts';
import { createAuthenticator } from '../../../control/http/auth.ts';
import type { Endpoint } from '../../../control/http/endpoint.ts';
import type { ReadinessCheck } from '../../../control/http/health.ts';
import { createIdempotency } from '../../../control/http/idempotency.ts';
import { RequestLimits } from '../../../control/http/request-limits.ts';
import { createRegistry } from '../../../control/http/metrics.ts';
import { createApi } from '../../../control/http/server.ts';
import type { Database } from '../../../control/lib/database.ts';
import { tellAll, type Change } from '../../../control/lib/changes.ts';
import { Ids } from '../../../control/lib/ids.ts';
import { createLogger } from '../../../control/lib/logger.ts';
import { createSecrets } from '../../../control/lib/secrets.ts';
import { trunkRoutes } from '../../../control/trunks/routes.ts';
import { TrunkService } from '../../../control/trunks/service.ts';
import { TrunkStore } from '../../../control/trunks/store.ts';
import { DeliveryLogStore } from '../../../control/webhooks/log-store.ts';
import { createDatabase } from '../webhooks/database.ts';
import { checkReply, type ApiDocument } from './openapi-check.ts';

export const OPERATOR = 'operator-token-of-the-tests';

export interface ApiReply {
  status: number;
  headers: Headers;
  /** The parsed JSON; undefined where there is no body. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- what a test expects of it is the test
  body: any;
}

export interface Send {
  key?: string;
  /** Sent as JSON. */
  body?: unknown;
  /** Sent as it is. */
  raw?: string | Buffer;
  headers?: Record<string, string>;
}

export interface RoomParts {
  db: Database;
  ids: Ids;
  now: () => Date;
  stores: { customers: CustomerStore; applications: ApplicationStore; dids: DidStore; trunks: TrunkStore };
  applications: ApplicationService;
}

const UNLIMITED = new RequestLimits({ perKey: 0, perAddress: 0, proxies: [] });

interface Options {
  /** The production profile, where customers may not name private addresses. */
  production?: boolean;
  endpoints?: Endpoint[];
  /** More rooms, on the same database; told of every change. */
  rooms?: (parts: RoomParts) => { endpoints: Endpoint[]; onChange?: (change: Change) => Promise<void> };
  readiness?: ReadinessCheck[];
  limits?: RequestLimits;
}

/**
 * The REST API with its rooms on a database of its own, listening on a free port. Every reply that `send`
 * gets is held against the OpenAPI document.
 */
export async function startApi({
  production = false,
  endpoints = [],
  rooms,
  readiness = [],
  limits = UNLIMITED,
}: Options = {}) {
  const { db, drop } = await createDatabase();
  const ids = new Ids(0);
  const secrets = createSecrets('5a'.repeat(32));
  const clock = { offsetMs: 0 };
  const now = (): Date => new Date(Date.now() + clock.offsetMs);
  const logger = createLogger('fatal');
  const changes: Change[] = [];
  const stores = {
    customers: new CustomerStore(db),
    applications: new ApplicationStore(db, secrets, now),
    dids: new DidStore(db),
    trunks: new TrunkStore(db, secrets),
  };
  const authenticator = createAuthenticator(
    OPERATOR,
    (hash) => stores.applications.findKey(hash),
    () => now().getTime(),
  );
  const onChange = tellAll(
    [
      () => authenticator.forget(),
      (change) => void changes.push(change),
      (change) => more?.onChange?.(change),
    ],
    logger,
  );
  const customerExists = async (id: string): Promise<boolean> =>
    (await stores.customers.get(id)) !== undefined;
  const applicationOwner = async (id: string): Promise<string | undefined> =>
    (await stores.applications.get(id))?.customerId;
  const shared = { ids, onChange, customerExists, now };

  const applications = new ApplicationService({
    ...shared,
    store: stores.applications,
    webhooks: new DeliveryLogStore(db),
    allowPrivate: !production,
  });
  const more = rooms?.({ db, ids, now, stores, applications });

  const registry = createRegistry();
  const idempotency = createIdempotency(db, secrets, now);
  const app = createApi({
    endpoints: [
      ...customerRoutes(new CustomerService({ ...shared, store: stores.customers })),
      ...applicationRoutes(applications),
      ...didRoutes(
        new DidService({ ...shared, store: stores.dids, applicationOwner, allowPrivate: !production }),
      ),
      ...trunkRoutes(new TrunkService({ ...shared, store: stores.trunks, allowPrivate: !production })),
      ...rateRoutes(
        new RateService({ ...shared, store: new RateStore(db), customer: (id) => stores.customers.get(id) }),
      ),
      ...ledgerRoutes(
        new LedgerService({
          ...shared,
          store: new LedgerStore(db),
          customer: (id) => stores.customers.get(id),
        }),
      ),
      ...endpoints,
      ...(more?.endpoints ?? []),
    ],
    authenticator,
    idempotency,
    readiness,
    limits,
    registry,
    logger,
    requestId: () => ids.next('req'),
    version: '0.0.0',
  });
  const server = createServer(app);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const document = (await (await fetch(`${url}/openapi.json`)).json()) as ApiDocument;

  async function unchecked(
    method: string,
    path: string,
    { key, body, raw, headers }: Send = {},
  ): Promise<ApiReply> {
    const response = await fetch(url + path, {
      method,
      headers: {
        ...(key !== undefined && { Authorization: `Bearer ${key}` }),
        ...((body !== undefined || raw !== undefined) && { 'Content-Type': 'application/json' }),
        ...headers,
      },
      body: body === undefined ? raw : JSON.stringify(body),
    });
    const text = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      body: text === '' ? undefined : JSON.parse(text),
    };
  }

  async function send(method: string, path: string, options: Send = {}): Promise<ApiReply> {
    const reply = await unchecked(method, path, options);
    checkReply(document, method, path.split('?')[0] ?? '', reply.status, reply.body);
    return reply;
  }

  return {
    url,
    db,
    ids,
    registry,
    stores,
    changes,
    document,
    authenticator,
    idempotency,
    clock,
    unchecked,
    send,
    /** As the operator. */
    admin: (method: string, path: string, body?: unknown): Promise<ApiReply> =>
      send(method, `/admin/v1${path}`, { key: OPERATOR, body }),
    /** A new customer with one application and its key. */
    async customer(name = 'Acme'): Promise<{ customerId: string; applicationId: string; key: string }> {
      const customer = await send('POST', '/admin/v1/customers', { key: OPERATOR, body: { name } });
      const customerId: string = customer.body.id;
      const application = await send('POST', `/admin/v1/customers/${customerId}/applications`, {
        key: OPERATOR,
        body: { name: 'First' },
      });
      return { customerId, applicationId: application.body.id, key: application.body.api_key };
    },
    async close(): Promise<void> {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await drop();
    },
  };
}

export type TestApi = Awaited<ReturnType<typeof startApi>>;

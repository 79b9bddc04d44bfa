import { createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Instance } from '../../cli/instance.ts';
import { checkEvent } from '../support/events.ts';
import type { HostPort } from '../../cli/phone/sip-message.ts';

/** The running instance that `./minivoice test e2e` gives. */
const status = JSON.parse(readFileSync(process.env.MINIVOICE_STATUS ?? '', 'utf8')) as {
  api: string;
  admin_token: string;
  sip: string;
  home: string;
  media: { kind: string };
  media_sip: string;
};
const [host = '', port] = status.sip.split(':');

/** Where calls are sent to. */
export const sip: HostPort = { host, port: Number(port) };
/** The address of the API. */
export const apiUrl = status.api;
export const instance = Instance.at(status.home);
/** Addresses that must never be seen from outside. */
export const inside = { media: status.media_sip };

export type Json = Record<string, unknown>;

export interface ApiReply {
  status: number;
  body: Json;
  headers: Headers;
}

/**
 * A request to the API with a key; the operator's when none is given.
 * @param base of another control process
 * @param more headers
 */
export async function api(
  method: string,
  path: string,
  body?: unknown,
  key = status.admin_token,
  base = status.api,
  more: Record<string, string> = {},
): Promise<ApiReply> {
  const response = await fetch(base + path, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...more,
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  return {
    status: response.status,
    body: text === '' ? {} : (JSON.parse(text) as Json),
    headers: response.headers,
  };
}

/** The same, and anything but success is an error of the test. */
export async function done(method: string, path: string, body?: unknown, key?: string): Promise<Json> {
  const reply = await api(method, path, body, key);
  if (reply.status > 299) throw new Error(`${method} ${path}: ${reply.status} ${JSON.stringify(reply.body)}`);
  return reply.body;
}

/** All that a list has, page by page. */
export async function listed(path: string, key?: string): Promise<Json[]> {
  const all: Json[] = [];
  for (let cursor = ''; ;) {
    const page = await done('GET', `${path}?limit=200${cursor}`, undefined, key);
    all.push(...(page.data as Json[]));
    if (page.next_cursor === undefined) return all;
    cursor = `&cursor=${encodeURIComponent(String(page.next_cursor))}`;
  }
}

/** A recording's audio. */
export async function audio(path: string, key: string): Promise<{ status: number; body: Buffer }> {
  const response = await fetch(status.api + path, { headers: { authorization: `Bearer ${key}` } });
  return { status: response.status, body: Buffer.from(await response.arrayBuffer()) };
}

/** Waits for a condition, looking again every 25 ms. @throws Error when the time is up. */
export async function until<T>(
  look: () => T | undefined | false | Promise<T | undefined | false>,
  what: string,
  timeoutMs = 15_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await sleep(25);
  }
}

/** The pid of a part of the instance. */
export async function pidOf(part: string): Promise<number> {
  const pid = (await instance.status())?.components.find(({ name }) => name === part)?.pid;
  if (typeof pid !== 'number') throw new Error(`${part} does not run`);
  return pid;
}

/** Kills a part as a crash would and waits until it is back and healthy. */
export async function crash(part: string): Promise<void> {
  const pid = await pidOf(part);
  process.kill(pid, 'SIGKILL');
  await healthy(part, pid);
}

export async function healthy(part: string, not = 0): Promise<void> {
  await until(
    async () =>
      (await instance.status())?.components.some(
        ({ name, pid, healthy: well }) => name === part && well && pid !== not,
      ),
    `${part} to be healthy again`,
    30_000,
  );
}

export async function ready(): Promise<void> {
  await until(
    async () => (await fetch(`${status.api}/readyz`).catch(() => undefined))?.status === 200,
    'the platform to be ready',
    30_000,
  );
}

interface Webhook {
  event: string;
  created_at: string;
  call: Json & { id: string };
  variables: Json;
  data: Json;
  headers: IncomingMessage['headers'];
  /** Whether the signature is right, computed here from the contract alone. */
  signed: boolean;
}

let numbers = 0;

/** A customer's server: gives actions, takes webhooks. Its answers are set by each test. */
export class CustomerServer {
  readonly webhooks: Webhook[] = [];
  readonly requests: { path: string; query: URLSearchParams; body: string }[] = [];
  /** What a path answers with: actions, or a function that answers itself. */
  readonly answers = new Map<
    string,
    unknown[] | ((request: IncomingMessage, response: ServerResponse) => void)
  >();
  readonly secret = 'a-secret-of-the-tests';
  readonly #server: Server;
  base = '';
  /** So many webhooks are answered with 500 and not kept. */
  refuseWebhooks = 0;
  /** What came that the documentation does not describe so. */
  #undocumented: unknown;

  private constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => this.#handle(request, Buffer.concat(chunks), response));
    });
  }

  static async open(): Promise<CustomerServer> {
    const server = new CustomerServer();
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    server.base = `http://127.0.0.1:${(server.#server.address() as AddressInfo).port}`;
    return server;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /** Webhooks of one call, in the order in which they came. */
  of(callId: string): Webhook[] {
    if (this.#undocumented) throw this.#undocumented;
    return this.webhooks.filter(({ call }) => call.id === callId);
  }

  async webhook(callId: string, event: string, timeoutMs = 15_000): Promise<Webhook> {
    return until(
      () => this.of(callId).find((hook) => hook.event === event),
      `the webhook ${event} of ${callId}; got ${this.of(callId)
        .map((hook) => hook.event)
        .join(', ')}`,
      timeoutMs,
    );
  }

  #handle(request: IncomingMessage, body: Buffer, response: ServerResponse): void {
    const url = new URL(request.url ?? '', this.base);
    if (url.pathname === '/webhooks') {
      if (this.refuseWebhooks-- > 0) return void response.writeHead(500).end();
      const payload = JSON.parse(body.toString('utf8')) as Omit<Webhook, 'headers' | 'signed'>;
      try {
        checkEvent(payload);
      } catch (error) {
        this.#undocumented ??= error;
      }
      this.webhooks.push({ ...payload, headers: request.headers, signed: this.#signed(request, body) });
      response.writeHead(204).end();
      return;
    }
    this.requests.push({ path: url.pathname, query: url.searchParams, body: body.toString('utf8') });
    const answer = this.answers.get(url.pathname);
    if (typeof answer === 'function') return answer(request, response);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ actions: answer ?? [] }));
  }

  #signed(request: IncomingMessage, body: Buffer): boolean {
    const expected = createHmac('sha256', this.secret)
      .update(`${String(request.headers['x-minivoice-timestamp'])}.`)
      .update(body)
      .digest('hex');
    const given = Buffer.from(String(request.headers['x-minivoice-signature']));
    return given.length === expected.length + 3 && timingSafeEqual(given, Buffer.from(`v1=${expected}`));
  }
}

export interface Tenant {
  customerId: string;
  applicationId: string;
  key: string;
  server: CustomerServer;
  /** A number that asks the given path of the customer's server. */
  number: string;
  didId: string;
}

/** Numbers that the tests call begin with one of these. */
const PREFIXES = ['+1', '+49'];
const PRICE_PER_MINUTE = '0.10';
let priced: Promise<unknown> | undefined;

/** Makes a price of the default table, in EUR; once for all tests of a run. */
export async function rateFor(prefix: string, pricePerMinute = PRICE_PER_MINUTE): Promise<void> {
  const reply = await api('POST', '/admin/v1/rates', { prefix, price_per_minute: pricePerMinute });
  if (reply.status !== 201 && (reply.body.error as Json | undefined)?.code !== 'rate_exists')
    throw new Error(JSON.stringify(reply.body));
}

/**
 * A customer with an application, its server and a number, whose answer_url is `/answer`. It may call where
 * the tests call, as often as they like, for 100 EUR.
 */
export async function tenant(
  application: Json = {},
  { credit = '100.00', ...fields }: Json & { credit?: string } = {},
): Promise<Tenant> {
  const server = await CustomerServer.open();
  await (priced ??= Promise.all(PREFIXES.map((prefix) => rateFor(prefix))));
  const customer = await done('POST', '/admin/v1/customers', {
    name: 'e2e',
    limits: { cps: 100, concurrent_calls: 100 },
    ...fields,
  });
  if (credit !== '0')
    await done('POST', `/admin/v1/customers/${String(customer.id)}/credits`, { amount: credit });
  const created = await done('POST', `/admin/v1/customers/${String(customer.id)}/applications`, {
    name: 'e2e',
    answer_url: `${server.base}/answer`,
    webhook_url: `${server.base}/webhooks`,
    webhook_secret: server.secret,
    ...application,
  });
  const number = freshNumber();
  const did = await done('POST', '/admin/v1/dids', {
    number_e164: number,
    customer_id: customer.id,
    application_id: created.id,
    route_mode: 'webhook',
  });
  return {
    customerId: String(customer.id),
    applicationId: String(created.id),
    key: String(created.api_key),
    server,
    number,
    didId: String(did.id),
  };
}

/** A number no other test has. */
export const freshNumber = (): string =>
  `+1555${String(process.pid % 1000).padStart(3, '0')}${String(++numbers).padStart(4, '0')}`;

/** Makes an address a carrier of the operator, in the USA; once for all tests of a run. */
export async function carrierAt(address: string): Promise<void> {
  const reply = await api('POST', '/admin/v1/trunks', {
    name: `carrier ${address}`,
    proxy: address,
    inbound_ip: address,
    country: 'US',
  });
  if (reply.status !== 201 && (reply.body.error as Json | undefined)?.code !== 'inbound_ip_exists')
    throw new Error(JSON.stringify(reply.body));
}

/** The one call to a number, as the API shows it. */
export async function callTo({
  key,
  number,
}: Pick<Tenant, 'key' | 'number'>): Promise<Json & { id: string; status: string }> {
  return until(async () => {
    const [call] = (await done('GET', `/v1/calls?to=${encodeURIComponent(number)}`, undefined, key))
      .data as Json[];
    return call as Json & { id: string; status: string };
  }, `a call to ${number}`);
}

/** The same once it has ended. */
export async function endedCallTo(
  of: Pick<Tenant, 'key' | 'number'>,
  timeoutMs?: number,
): Promise<Json & { id: string; status: string; hangup: Json; failure?: Json }> {
  return until(
    async () => {
      const call = await callTo(of);
      return ['completed', 'failed', 'canceled'].includes(call.status)
        ? (call as typeof call & { hangup: Json; failure?: Json })
        : undefined;
    },
    `the end of the call to ${of.number}`,
    timeoutMs,
  );
}

export async function timeline(
  callId: string,
  key: string,
): Promise<(Json & { at: string; kind: string })[]> {
  return (await done('GET', `/v1/calls/${callId}/events`, undefined, key)).data as (Json & {
    at: string;
    kind: string;
  })[];
}

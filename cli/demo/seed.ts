import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { writePrivate, type Home } from '../home.ts';
import type { Coordinates } from '../settings.ts';
import { Api, eventually } from './api.ts';

/**
 * What the demo needs to exist: a customer with an application, a number and some money, and the carrier that
 * delivers its calls.
 */
export interface Seed {
  customerId: string;
  applicationId: string;
  apiKey: string;
  webhookSecret: string;
}

/** Numbers set aside for fiction: of the carrier's subscriber, and of our customer. */
export const CALLER = '+441632960001';
export const NUMBER = '+441632960123';

/** What calls out cost, in EUR, and what the customer has to pay them with. */
const RATES = [
  { prefix: '+1', price_per_minute: '0.01' },
  { prefix: '+44', price_per_minute: '0.015' },
  { prefix: '+49', price_per_minute: '0.02' },
];
const CREDIT = '10.00';

const stored = (home: Home): string => path.join(home.root, 'demo.json');

export type Known = Partial<Seed> & { webhookSecret: string };

/** What an earlier demo has made, with a new secret where there was none. */
export async function readSeed(home: Home): Promise<Known> {
  const text = await readFile(stored(home), 'utf8').catch(() => '{}');
  const { webhookSecret = randomBytes(16).toString('hex'), ...rest } = JSON.parse(text) as Partial<Seed>;
  return { ...rest, webhookSecret };
}

/**
 * Makes through the API what is missing, and points the application at `url`. Returns when the edge knows the
 * number.
 */
export async function seed(home: Home, known: Known, coordinates: Coordinates, url: string): Promise<Seed> {
  const operator = new Api(coordinates.api, coordinates.admin_token);
  const urls = { answer_url: `${url}/answer`, webhook_url: `${url}/webhooks` };

  const existing =
    known.customerId &&
    (await operator.unless<{ id: string }>(['not_found'], 'GET', `/admin/v1/customers/${known.customerId}`));
  const customer =
    existing ||
    (await operator.call<{ id: string }>('POST', '/admin/v1/customers', { name: 'Demo customer' }));
  let { applicationId, apiKey } = known;
  const kept =
    applicationId &&
    apiKey &&
    (await new Api(coordinates.api, apiKey).unless(
      ['unauthorized', 'not_found'],
      'PATCH',
      `/v1/applications/${applicationId}`,
      { ...urls, webhook_secret: known.webhookSecret, status: 'active' },
    ));
  if (!kept || !applicationId || !apiKey) {
    const made = await operator.call<{ id: string; api_key: string }>(
      'POST',
      `/admin/v1/customers/${customer.id}/applications`,
      {
        name: 'Simple IVR',
        ...urls,
        webhook_secret: known.webhookSecret,
      },
    );
    applicationId = made.id;
    apiKey = made.api_key;
  }
  const seeded: Seed = { customerId: customer.id, applicationId, apiKey, webhookSecret: known.webhookSecret };
  await writePrivate(stored(home), JSON.stringify(seeded, null, 2));

  for (const rate of RATES) await operator.unless(['rate_exists'], 'POST', '/admin/v1/rates', rate);
  // The same reference again credits nothing.
  await operator.call('POST', `/admin/v1/customers/${customer.id}/credits`, {
    amount: CREDIT,
    reference: `demo of ${customer.id}`,
  });

  // The development profile's carrier calls from loopback; a trunk without a customer may deliver everybody's
  // numbers.
  await operator.unless(['gateway_name_exists', 'inbound_ip_exists'], 'POST', '/admin/v1/trunks', {
    name: 'Demo carrier',
    gateway_name: 'demo-carrier',
    proxy: '127.0.0.1',
    inbound_ip: '127.0.0.1',
  });
  const did = { customer_id: customer.id, application_id: applicationId, route_mode: 'webhook' };
  if (
    !(await operator.unless(['number_exists'], 'POST', '/admin/v1/dids', {
      number_e164: NUMBER,
      provider: 'demo',
      ...did,
    }))
  ) {
    const id = await findNumber(operator);
    if (id) await operator.call('PATCH', `/admin/v1/dids/${id}`, { ...did, status: 'active' });
  }
  await untilTheEdgeKnows(coordinates.rpc, customer.id);
  return seeded;
}

/** The id of the demo's number, wherever in the list it is. */
async function findNumber(operator: Api): Promise<string | undefined> {
  let cursor: string | undefined;
  do {
    const query = new URLSearchParams({ limit: '200', ...(cursor ? { cursor } : {}) });
    const list: { data: { id: string; number_e164: string }[]; next_cursor?: string } = await operator.call(
      'GET',
      `/admin/v1/dids?${query.toString()}`,
    );
    const found = list.data.find((did) => did.number_e164 === NUMBER);
    if (found) return found.id;
    cursor = list.next_cursor;
  } while (cursor);
  return undefined;
}

/**
 * A change reaches Kamailio's memory within a second; a newcomer's first call should not depend on how much
 * of it.
 */
async function untilTheEdgeKnows(rpc: string, customerId: string): Promise<void> {
  await eventually(
    async () => {
      const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'htable.get', params: ['dids', NUMBER] });
      const response = await fetch(rpc, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json' },
      });
      return (await response.text()).includes(customerId) || undefined;
    },
    10_000,
    "Kamailio was not told of the demo's number: see ./minivoice logs control.",
  );
}

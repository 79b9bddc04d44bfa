import type { z } from 'zod';
import type { OnChange } from '../lib/changes.ts';
import { ApiError } from '../lib/errors.ts';
import type { Ids } from '../lib/ids.ts';
import { patched } from '../lib/patch.ts';
import { DEFAULT_LIMITS, type Customer, type customerCreate, type customerPatch } from './schema.ts';
import type { CustomerStore } from './store.ts';

export interface CustomerDependencies {
  store: CustomerStore;
  ids: Ids;
  onChange: OnChange;
  now?: () => Date;
}

/** The companies whose calls run here, as the operator keeps them. */
export class CustomerService {
  readonly #store: CustomerStore;
  readonly #ids: Ids;
  readonly #onChange: OnChange;
  readonly #now: () => Date;

  constructor({ store, ids, onChange, now = () => new Date() }: CustomerDependencies) {
    this.#store = store;
    this.#ids = ids;
    this.#onChange = onChange;
    this.#now = now;
  }

  async create(body: z.output<typeof customerCreate>): Promise<Customer> {
    const now = this.#now();
    const customer: Customer = {
      id: this.#ids.next('cust'),
      name: body.name,
      status: body.status,
      currency: body.currency,
      limits: {
        cps: body.limits?.cps ?? DEFAULT_LIMITS.cps,
        concurrentCalls: body.limits?.concurrent_calls ?? DEFAULT_LIMITS.concurrentCalls,
      },
      spend: {
        daily: body.spend?.daily,
        monthly: body.spend?.monthly,
        maxPricePerMinute: body.spend?.max_price_per_minute,
        allowedPrefixes: body.spend?.allowed_prefixes,
        blockedPrefixes: body.spend?.blocked_prefixes,
      },
      createdAt: now,
      updatedAt: now,
    };
    await this.#store.insert(customer);
    await this.#onChange({ room: 'customers', id: customer.id });
    return customer;
  }

  list(limit: number, before?: string): Promise<Customer[]> {
    return this.#store.list(limit, before);
  }

  /** @throws ApiError `not_found` */
  async get(id: string): Promise<Customer> {
    return (await this.#store.get(id)) ?? notFound();
  }

  /** @throws ApiError `not_found` */
  async update(id: string, body: z.output<typeof customerPatch>): Promise<Customer> {
    const customer = await this.#store.update(id, (stored) => ({
      ...stored,
      name: body.name ?? stored.name,
      status: body.status ?? stored.status,
      limits: {
        cps: body.limits?.cps ?? stored.limits.cps,
        concurrentCalls: body.limits?.concurrent_calls ?? stored.limits.concurrentCalls,
      },
      spend: {
        daily: patched(body.spend?.daily, stored.spend.daily),
        monthly: patched(body.spend?.monthly, stored.spend.monthly),
        maxPricePerMinute: patched(body.spend?.max_price_per_minute, stored.spend.maxPricePerMinute),
        allowedPrefixes: patched(body.spend?.allowed_prefixes, stored.spend.allowedPrefixes),
        blockedPrefixes: patched(body.spend?.blocked_prefixes, stored.spend.blockedPrefixes),
      },
      updatedAt: this.#now(),
    }));
    if (!customer) return notFound();
    await this.#onChange({ room: 'customers', id });
    return customer;
  }
}

function notFound(): never {
  throw new ApiError('not_found', 'customer not found');
}

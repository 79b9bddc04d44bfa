import { ApiError } from '../lib/errors.ts';
import type { GuardedFetch } from '../lib/guarded-fetch.ts';
import type { Ids } from '../lib/ids.ts';
import { rfc3339 } from '../lib/time.ts';
import { deliver, type Endpoint } from './deliver.ts';
import type { Attempt, Delivery, DeliveryFilter, DeliveryStatus, KeptAttempt } from './delivery.ts';
import { SOON_MS, type DeliveryLogStore } from './log-store.ts';

export interface WebhookServiceOptions {
  store: DeliveryLogStore;
  /** Where an application's events go; undefined where it has no webhook. */
  endpointOf: (applicationId: string) => Endpoint | undefined;
  /** Takes an endpoint up again that has answered 410. */
  enable: (applicationId: string) => Promise<void>;
  /** Something is due now. */
  wake: () => void;
  fetch: GuardedFetch['fetch'];
  ids: Ids;
  now?: () => Date;
}

/** Whose deliveries may be seen: an application's own, or everybody's for the operator. */
export interface Scope {
  applicationId?: string;
}

export interface TestResult {
  deliveryId: string;
  eventId: string;
  body: string;
  attempt: Attempt;
}

/** What the API does with deliveries. Another application's does not exist: `delivery_not_found`. */
export class WebhookService {
  readonly #o: WebhookServiceOptions;
  readonly #now: () => Date;

  constructor(options: WebhookServiceOptions) {
    this.#o = options;
    this.#now = options.now ?? (() => new Date());
  }

  list(filter: DeliveryFilter, limit: number, before?: string): Promise<Delivery[]> {
    return this.#o.store.list(filter, limit, before);
  }

  /** @throws ApiError delivery_not_found */
  async get(id: string, scope: Scope): Promise<Delivery & { body: string; made: KeptAttempt[] }> {
    const [delivery, made] = await Promise.all([this.#o.store.find(id), this.#o.store.attemptsOf(id)]);
    if (!delivery || (scope.applicationId !== undefined && delivery.applicationId !== scope.applicationId))
      throw new ApiError('delivery_not_found');
    return { ...delivery, made };
  }

  /**
   * Sends an event again, now, whatever became of it: the same event id, and the whole schedule before it.
   * @throws ApiError delivery_not_found, webhook_not_configured, webhook_disabled
   */
  async redeliver(id: string, scope: Scope): Promise<Delivery> {
    const { applicationId } = await this.get(id, scope);
    this.#endpoint(applicationId);
    const now = this.#now();
    await this.#o.store.again(id, now, new Date(now.getTime() + SOON_MS));
    this.#o.wake();
    return this.get(id, scope);
  }

  /** @throws ApiError webhook_not_configured, webhook_disabled */
  async redeliverAll(
    applicationId: string,
    range: { since: Date; until: Date | undefined },
    statuses: readonly Exclude<DeliveryStatus, 'pending'>[],
  ): Promise<number> {
    this.#endpoint(applicationId);
    const now = this.#now();
    const count = await this.#o.store.allAgain(
      applicationId,
      { since: range.since, until: range.until ?? now },
      statuses,
      now,
    );
    this.#o.wake();
    return count;
  }

  /**
   * Sends a test event once and tells how that went. It is signed like any other, and kept among the
   * deliveries. A disabled endpoint can be tested, too.
   * @throws ApiError webhook_not_configured
   */
  async test(applicationId: string, customerId: string): Promise<TestResult> {
    const endpoint = this.#o.endpointOf(applicationId);
    if (!endpoint) throw new ApiError('webhook_not_configured');
    const at = this.#now();
    const [id, eventId] = [this.#o.ids.next('whd'), this.#o.ids.next('evt')];
    const body = JSON.stringify(testEvent(applicationId, customerId, eventId, at));
    const delivery = { event: TEST_EVENT, eventId, attempts: 0, body };
    const attempt = await deliver(delivery, endpoint, {
      fetch: this.#o.fetch,
      now: this.#now,
      signal: new AbortController().signal,
    });
    await this.#o.store.insertDone(
      { ...delivery, id, callId: undefined, seq: 0, customerId, applicationId, createdAt: at },
      attempt,
    );
    this.#o.wake();
    return { deliveryId: id, eventId, body, attempt };
  }

  /** @throws ApiError webhook_not_configured */
  async enable(applicationId: string): Promise<void> {
    if (!this.#o.endpointOf(applicationId)) throw new ApiError('webhook_not_configured');
    await this.#o.enable(applicationId);
  }

  #endpoint(applicationId: string): void {
    const endpoint = this.#o.endpointOf(applicationId);
    if (!endpoint) throw new ApiError('webhook_not_configured');
    if (endpoint.disabled) throw new ApiError('webhook_disabled');
  }
}

const TEST_EVENT = 'webhook.test';

/**
 * Shaped like an event of a call, so that a receiver which reads one can read it; the call is none that
 * exists.
 */
const testEvent = (
  applicationId: string,
  customerId: string,
  eventId: string,
  at: Date,
): Record<string, unknown> => ({
  event: TEST_EVENT,
  created_at: rfc3339(at),
  call: {
    id: `call_test_${eventId.slice('evt_'.length)}`,
    customer_id: customerId,
    application_id: applicationId,
    status: 'completed',
    direction: 'inbound',
    from: '+15551230001',
    to: '+15551230002',
    route_mode: 'webhook',
    routing_target: applicationId,
    metadata: {},
  },
  variables: {},
  data: { event_key: `call_test_${eventId.slice('evt_'.length)}:${TEST_EVENT}`, test: true },
});

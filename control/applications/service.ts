import { randomBytes } from 'node:crypto';
import type { z } from 'zod';
import { hashApiKey, newApiKey } from '../http/api-key.ts';
import { invalid } from '../http/endpoint.ts';
import type { OnChange } from '../lib/changes.ts';
import { ApiError } from '../lib/errors.ts';
import { checkUrl, FetchError } from '../lib/guarded-url.ts';
import type { Ids } from '../lib/ids.ts';
import type { Application, applicationCreate, applicationPatch } from './schema.ts';
import type { Health } from '../webhooks/health.ts';
import type { ApplicationStore } from './store.ts';

export interface ApplicationDependencies {
  store: ApplicationStore;
  customerExists(id: string): Promise<boolean>;
  ids: Ids;
  onChange: OnChange;
  /** Whether URLs may name loopback addresses: the development profile. */
  allowPrivate: boolean;
  /** How webhook endpoints have been doing, and that one is to be known anew, or is another one. */
  webhooks?: {
    health(applicationIds: readonly string[]): Promise<Map<string, Health>>;
    forgetHealth(applicationId: string): Promise<void>;
    startAnew(applicationId: string, now: Date): Promise<void>;
  };
  now?: () => Date;
}

const BOTH_SECRETS_SIGN_MS = 24 * 3600 * 1000;

/**
 * A customer's applications and their keys. `customerId` is whose they must be; another customer's is not
 * found.
 */
export class ApplicationService {
  readonly #deps: ApplicationDependencies;
  readonly #now: () => Date;

  constructor(deps: ApplicationDependencies) {
    this.#deps = deps;
    this.#now = deps.now ?? (() => new Date());
  }

  /**
   * @throws ApiError `not_found` for an unknown customer, `invalid_request` for a URL that cannot be asked
   */
  async create(
    customerId: string,
    body: z.output<typeof applicationCreate>,
  ): Promise<{ application: Application; apiKey: string }> {
    const { store, ids, customerExists, onChange } = this.#deps;
    if (!(await customerExists(customerId))) throw new ApiError('not_found', 'customer not found');
    this.#checkUrls(body);
    const id = ids.next('app');
    const apiKey = newApiKey();
    const now = this.#now();
    await store.insert(
      {
        id,
        customerId,
        name: body.name,
        answerUrl: body.answer_url,
        answerMethod: body.answer_method,
        fallbackUrl: body.fallback_url,
        webhookUrl: body.webhook_url,
        maxCps: body.max_cps,
        maxConcurrent: body.max_concurrent,
        status: 'active',
        createdAt: now,
        updatedAt: now,
      },
      body.webhook_secret,
      hashApiKey(apiKey),
    );
    await onChange({ room: 'applications', id });
    return { application: await this.get(customerId, id), apiKey };
  }

  /** @throws ApiError `not_found` for an unknown customer */
  async list(customerId: string, limit: number, before?: string): Promise<Application[]> {
    if (!(await this.#deps.customerExists(customerId))) throw new ApiError('not_found', 'customer not found');
    return this.#deps.store.list(customerId, limit, before);
  }

  /** @throws ApiError `not_found` */
  async get(customerId: string, id: string): Promise<Application> {
    const application = await this.#deps.store.get(id);
    if (application?.customerId !== customerId) throw new ApiError('not_found', 'application not found');
    return application;
  }

  /** How the webhook endpoints of these have been doing. */
  async health(applications: readonly Application[]): Promise<Map<string, Health>> {
    return (await this.#deps.webhooks?.health(applications.map(({ id }) => id))) ?? new Map<string, Health>();
  }

  /** Stops what is sent to an endpoint that has said it is gone. False where it is another one by now. */
  async disableWebhook(id: string, url: string, reason: string): Promise<boolean> {
    const { store, onChange } = this.#deps;
    if (await store.disableWebhook(id, url, reason)) {
      await onChange({ room: 'applications', id });
      return true;
    }
    const application = await store.get(id);
    return application?.webhookUrl === url && application.webhookDisabled !== undefined;
  }

  async enableWebhook(id: string): Promise<void> {
    await this.#deps.store.enableWebhook(id);
    await this.#deps.webhooks?.forgetHealth(id);
    await this.#deps.onChange({ room: 'applications', id });
  }

  /** @throws ApiError `not_found`, `invalid_request` for a URL that cannot be asked */
  async update(
    customerId: string,
    id: string,
    body: z.output<typeof applicationPatch>,
  ): Promise<Application> {
    const { store, onChange } = this.#deps;
    const before = await this.get(customerId, id);
    this.#checkUrls(body);
    await store.update(
      id,
      {
        name: body.name,
        status: body.status,
        answerMethod: body.answer_method,
        // Only what the body names is written, so that two changes at once do not undo each other.
        ...(body.answer_url !== undefined && { answerUrl: body.answer_url ?? undefined }),
        ...(body.fallback_url !== undefined && { fallbackUrl: body.fallback_url ?? undefined }),
        ...(body.webhook_url !== undefined && { webhookUrl: body.webhook_url ?? undefined }),
        ...(body.max_cps !== undefined && { maxCps: body.max_cps ?? undefined }),
        ...(body.max_concurrent !== undefined && { maxConcurrent: body.max_concurrent ?? undefined }),
      },
      body.webhook_secret,
    );
    if (body.webhook_url !== undefined) await this.#deps.webhooks?.forgetHealth(id);
    await onChange({ room: 'applications', id });
    if (body.webhook_url && body.webhook_url !== before.webhookUrl)
      await this.#deps.webhooks?.startAnew(id, this.#now());
    return this.get(customerId, id);
  }

  /** The operator's view of one. @throws ApiError `not_found` */
  async find(id: string): Promise<Application> {
    const application = await this.#deps.store.get(id);
    if (!application) throw new ApiError('not_found', 'application not found');
    return application;
  }

  /**
   * Gives the application a new key; the old one works for `graceSeconds` more.
   * @throws ApiError `not_found`
   */
  async rotateKey(
    customerId: string,
    id: string,
    graceSeconds: number,
  ): Promise<{ application: Application; apiKey: string }> {
    const { store, onChange } = this.#deps;
    const application = await this.get(customerId, id);
    const apiKey = newApiKey();
    await store.rotateKey(id, hashApiKey(apiKey), new Date(this.#now().getTime() + graceSeconds * 1000));
    await onChange({ room: 'applications', id });
    return { application, apiKey };
  }

  /**
   * Gives the application a new webhook secret; for 24 h the old one signs as well.
   * @param given a secret of the customer's making; generated where there is none, and only then returned
   * @throws ApiError `not_found`
   */
  async rotateWebhookSecret(
    customerId: string,
    id: string,
    given: string | undefined,
  ): Promise<{ application: Application; generated: string | undefined }> {
    const { store, onChange } = this.#deps;
    await this.get(customerId, id);
    const generated = given === undefined ? `whsec_${randomBytes(32).toString('base64url')}` : undefined;
    await store.rotateWebhookSecret(
      id,
      given ?? generated ?? '',
      new Date(this.#now().getTime() + BOTH_SECRETS_SIGN_MS),
    );
    await onChange({ room: 'applications', id });
    return { application: await this.get(customerId, id), generated };
  }

  #checkUrls(body: {
    answer_url?: string | null;
    fallback_url?: string | null;
    webhook_url?: string | null;
  }): void {
    for (const field of ['answer_url', 'fallback_url', 'webhook_url'] as const) {
      const url = body[field];
      if (typeof url !== 'string') continue;
      try {
        checkUrl(url, { allowPrivate: this.#deps.allowPrivate });
      } catch (error) {
        throw error instanceof FetchError ? invalid(field, `cannot be used: ${error.message}`) : error;
      }
    }
  }
}

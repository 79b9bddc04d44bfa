import type { z } from 'zod';
import { invalid, parse } from '../http/endpoint.ts';
import type { OnChange } from '../lib/changes.ts';
import { duplicateKey } from '../lib/duplicate-key.ts';
import { isE164 } from '../lib/e164.ts';
import { ApiError } from '../lib/errors.ts';
import type { Ids } from '../lib/ids.ts';
import { patched } from '../lib/patch.ts';
import { refusePrivateTargets, targetFor } from './routing.ts';
import { didCreate, type Did, type didAdminPatch, type didPatch } from './schema.ts';
import type { DidStore } from './store.ts';

export interface DidDependencies {
  store: DidStore;
  customerExists(id: string): Promise<boolean>;
  /** The customer an application belongs to. */
  applicationOwner(id: string): Promise<string | undefined>;
  ids: Ids;
  onChange: OnChange;
  /** Whether customers may route to private addresses: the development profile. The operator always may. */
  allowPrivate: boolean;
  now?: () => Date;
}

export type BulkResult = { did: Did } | { error: ApiError };

const AT_ONCE = 16;

/** Phone numbers, and what an inbound call to each of them gets. */
export class DidService {
  readonly #deps: DidDependencies;
  readonly #now: () => Date;

  constructor(deps: DidDependencies) {
    this.#deps = deps;
    this.#now = deps.now ?? (() => new Date());
  }

  /**
   * @throws ApiError `number_exists`, `invalid_request` when customer, application and routing do not belong
   *   together
   */
  async create(body: z.output<typeof didCreate>): Promise<Did> {
    const did = await this.#newDid(body);
    try {
      await this.#deps.store.insert(did);
    } catch (error) {
      throw duplicateKey(error) === undefined ? error : new ApiError('number_exists');
    }
    await this.#deps.onChange({ room: 'dids', id: did.id });
    return did;
  }

  /** Creates what can be created; one bad item stops no other. Results are in the order of the items. */
  async createMany(items: readonly unknown[]): Promise<BulkResult[]> {
    const results: BulkResult[] = [];
    for (const item of items) {
      try {
        results.push({ did: await this.#newDid(parse(didCreate, item)) });
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        results.push({ error });
      }
    }
    const created = await this.#deps.store.insertFree(
      results.flatMap((result) => ('did' in result ? [result.did] : [])),
    );
    const ids = [...created];
    for (let i = 0; i < ids.length; i += AT_ONCE) {
      await Promise.all(ids.slice(i, i + AT_ONCE).map((id) => this.#deps.onChange({ room: 'dids', id })));
    }
    return results.map((result) =>
      'error' in result || created.has(result.did.id) ? result : { error: new ApiError('number_exists') },
    );
  }

  list(filter: { customerId?: string }, limit: number, before?: string): Promise<Did[]> {
    return this.#deps.store.list(filter, limit, before);
  }

  /**
   * @param customerId whose it must be; undefined for the operator
   * @throws ApiError `not_found`
   */
  async get(id: string, customerId?: string): Promise<Did> {
    return visible(await this.#deps.store.get(id), customerId);
  }

  /** @throws ApiError `not_found` */
  async getByNumber(number: string, customerId?: string): Promise<Did> {
    return visible(isE164(number) ? await this.#deps.store.getByNumber(number) : undefined, customerId);
  }

  /**
   * What its owner may change of a number.
   * @throws ApiError `not_found`, `invalid_request`
   */
  async updateAsOwner(id: string, customerId: string, body: z.output<typeof didPatch>): Promise<Did> {
    if (!this.#deps.allowPrivate) refusePrivateTargets(body.route_target);
    return this.#update(id, customerId, body);
  }

  /** @throws ApiError `not_found`, `invalid_request` */
  async update(id: string, body: z.output<typeof didAdminPatch>): Promise<Did> {
    if (body.customer_id !== undefined) await this.#requireCustomer(body.customer_id);
    return this.#update(id, undefined, body);
  }

  /** @throws ApiError `not_found` */
  async delete(id: string): Promise<void> {
    if (!(await this.#deps.store.delete(id))) notFound();
    await this.#deps.onChange({ room: 'dids', id });
  }

  async #newDid(body: z.output<typeof didCreate>): Promise<Did> {
    await this.#requireCustomer(body.customer_id);
    const owner =
      body.application_id === undefined ? undefined : await this.#deps.applicationOwner(body.application_id);
    const now = this.#now();
    return checked(
      {
        id: this.#deps.ids.next('did'),
        customerId: body.customer_id,
        applicationId: body.application_id,
        number: body.number_e164,
        provider: body.provider,
        status: body.status,
        routeMode: body.route_mode,
        routeTarget: targetFor(body.route_mode, body.route_target),
        createdAt: now,
        updatedAt: now,
      },
      owner,
    );
  }

  async #update(
    id: string,
    customerId: string | undefined,
    body: z.output<typeof didAdminPatch>,
  ): Promise<Did> {
    const givenOwner =
      typeof body.application_id === 'string'
        ? await this.#deps.applicationOwner(body.application_id)
        : undefined;
    const changed = await this.#deps.store.update(id, (stored) => {
      visible(stored, customerId);
      const routeMode = body.route_mode ?? stored.routeMode;
      return checked(
        {
          ...stored,
          customerId: body.customer_id ?? stored.customerId,
          applicationId: patched(body.application_id, stored.applicationId),
          provider: patched(body.provider, stored.provider),
          status: body.status ?? stored.status,
          routeMode,
          // The target of one mode means nothing in another: it goes when the mode changes.
          routeTarget:
            body.route_target === undefined && routeMode === stored.routeMode
              ? stored.routeTarget
              : targetFor(routeMode, body.route_target),
          updatedAt: this.#now(),
        },
        body.application_id === undefined ? stored.customerId : givenOwner,
      );
    });
    if (!changed) return notFound();
    await this.#deps.onChange({ room: 'dids', id });
    return changed;
  }

  async #requireCustomer(id: string): Promise<void> {
    if (!(await this.#deps.customerExists(id))) throw invalid('customer_id', 'is not a known customer');
  }
}

/** @param applicationOwner the customer of the number's application, where it has one */
function checked(did: Did, applicationOwner: string | undefined): Did {
  if (did.routeMode === 'webhook' && did.applicationId === undefined)
    throw invalid('application_id', 'is required in route mode webhook');
  if (did.applicationId !== undefined && applicationOwner !== did.customerId)
    throw invalid('application_id', 'is not an application of this customer');
  return did;
}

function visible(did: Did | undefined, customerId: string | undefined): Did {
  return did && (customerId === undefined || did.customerId === customerId) ? did : notFound();
}

function notFound(): never {
  throw new ApiError('not_found', 'DID not found');
}

import type { z } from 'zod';
import type { Customer } from '../../customers/schema.ts';
import { invalid } from '../../http/endpoint.ts';
import type { OnChange } from '../../lib/changes.ts';
import { duplicateKey } from '../../lib/duplicate-key.ts';
import { ApiError } from '../../lib/errors.ts';
import type { Ids } from '../../lib/ids.ts';
import { parseMicros } from '../../lib/money.ts';
import { patched } from '../../lib/patch.ts';
import { isForeign, planImport, readRates, toTerms, type Owner } from './import.ts';
import type { Rate } from './rate.ts';
import { ALL_RATES } from './rates.ts';
import type { ImportReport, rateCreate, ratePatch } from './schema.ts';
import type { RateFilter, RateStore } from './store.ts';

interface Dependencies {
  store: RateStore;
  customer(id: string): Promise<Pick<Customer, 'currency'> | undefined>;
  ids: Ids;
  onChange: OnChange;
  now?: () => Date;
}

const DEFAULT_CURRENCY = 'EUR';

/** What calls cost: the default table, and customers' own rates. */
export class RateService {
  readonly #deps: Dependencies;
  readonly #now: () => Date;

  constructor(deps: Dependencies) {
    this.#deps = deps;
    this.#now = deps.now ?? (() => new Date());
  }

  /** @throws ApiError `invalid_request`, `rate_exists` */
  async create({ customer_id: customerId, ...terms }: z.output<typeof rateCreate>): Promise<Rate> {
    const { store, ids, onChange } = this.#deps;
    const owner = await this.#owner(customerId);
    if (isForeign(terms.currency, owner))
      throw invalid('currency', `must be ${owner.currency}, the currency of the customer`);
    const now = this.#now();
    const rate: Rate = {
      id: ids.next('rate'),
      customerId,
      ...toTerms(terms, owner.currency),
      createdAt: now,
      updatedAt: now,
    };
    await store.insert(rate).catch(explainDuplicate);
    await onChange({ room: 'rates', id: rate.id });
    return rate;
  }

  list(filter: RateFilter, limit: number, before?: string): Promise<Rate[]> {
    return this.#deps.store.list(filter, limit, before);
  }

  /** @throws ApiError `not_found`, `rate_exists` */
  async update(id: string, body: z.output<typeof ratePatch>): Promise<Rate> {
    const changed = await this.#deps.store
      .update(id, (stored) => ({
        ...stored,
        direction: body.direction ?? stored.direction,
        prefix: body.prefix ?? stored.prefix,
        priceMicros:
          body.price_per_minute === undefined ? stored.priceMicros : parseMicros(body.price_per_minute),
        feeMicros: body.connection_fee === undefined ? stored.feeMicros : parseMicros(body.connection_fee),
        minimumSeconds: body.minimum_seconds ?? stored.minimumSeconds,
        incrementSeconds: body.increment_seconds ?? stored.incrementSeconds,
        validFrom: patched(
          typeof body.valid_from === 'string' ? new Date(body.valid_from) : body.valid_from,
          stored.validFrom,
        ),
        isActive: body.is_active ?? stored.isActive,
        updatedAt: this.#now(),
      }))
      .catch(explainDuplicate);
    if (!changed) return notFound();
    await this.#deps.onChange({ room: 'rates', id });
    return changed;
  }

  /** @throws ApiError `not_found` */
  async delete(id: string): Promise<void> {
    if (!(await this.#deps.store.delete(id))) notFound();
    await this.#deps.onChange({ room: 'rates', id });
  }

  /**
   * Brings the rates of a CSV text into the default table or a customer's own rates, all or nothing.
   * @throws ApiError `invalid_request` that names the line and the field of everything that is wrong
   */
  async import(
    text: string,
    { customerId, dryRun }: { customerId?: string; dryRun: boolean },
  ): Promise<ImportReport> {
    const { store, ids, onChange } = this.#deps;
    const owner = await this.#owner(customerId);
    const read = await readRates(text, owner);
    const prefixes = [...new Set(read.map(({ terms }) => terms.prefix))];
    const report = await store.rewrite(customerId ?? '', prefixes, async (stored) => {
      const { write, report } = await planImport(read, stored, owner, {
        id: () => ids.next('rate'),
        now: this.#now(),
      });
      return { write: dryRun ? [] : write, result: report };
    });
    if (!dryRun && report.lines.length > 0) await onChange({ room: 'rates', id: ALL_RATES });
    return { dry_run: dryRun, ...report };
  }

  async #owner(customerId: string | undefined): Promise<Owner> {
    if (customerId === undefined) return { customerId, currency: DEFAULT_CURRENCY };
    const customer = await this.#deps.customer(customerId);
    if (!customer) throw invalid('customer_id', 'is not a known customer');
    return { customerId, currency: customer.currency };
  }
}

function notFound(): never {
  throw new ApiError('not_found', 'rate not found');
}

function explainDuplicate(error: unknown): never {
  if (duplicateKey(error)?.includes('rates_key')) throw new ApiError('rate_exists');
  throw error;
}

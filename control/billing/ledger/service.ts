import type { Customer } from '../../customers/schema.ts';
import { invalid } from '../../http/endpoint.ts';
import { ApiError } from '../../lib/errors.ts';
import type { Ids } from '../../lib/ids.ts';
import { outOfRange } from '../../lib/out-of-range.ts';
import type { Balance, Transfer } from './account.ts';
import { Short } from './posting.ts';
import type { LedgerStore, Totals } from './store.ts';

interface Dependencies {
  store: LedgerStore;
  customer(id: string): Promise<Pick<Customer, 'id' | 'currency' | 'spend'> | undefined>;
  ids: Ids;
  now?: () => Date;
}

export interface Credit {
  amountMicros: bigint;
  reference?: string;
  reason?: string;
}

/** A customer's money as it stands, beside what it may spend. */
export interface Statement extends Balance {
  customer: Pick<Customer, 'id' | 'currency' | 'spend'>;
}

/** What is paid in, what there is, and what has been spent. */
export class LedgerService {
  readonly #deps: Dependencies;
  readonly #now: () => Date;

  constructor(deps: Dependencies) {
    this.#deps = deps;
    this.#now = deps.now ?? (() => new Date());
  }

  /**
   * Pays in, or takes back where the amount is below zero. The same reference twice credits once.
   * @throws ApiError not_found, invalid_request, insufficient_balance
   */
  async credit(customerId: string, { amountMicros, reference, reason }: Credit): Promise<Transfer> {
    const { store, ids } = this.#deps;
    const { currency } = await this.#customer(customerId);
    if (amountMicros === 0n) throw invalid('amount', 'must not be zero');
    const back = amountMicros < 0n;
    if (back && reason === undefined) throw invalid('reason', 'is required when the amount is negative');
    const id = ids.next('txn');
    try {
      const transfer = await store.credit({
        id,
        customerId,
        createdAt: this.#now(),
        kind: back ? 'adjustment' : 'top_up',
        debit: back ? 'available' : 'top_up',
        credit: back ? 'top_up' : 'available',
        amountMicros: back ? -amountMicros : amountMicros,
        currency,
        reference: reference ?? id,
        reason,
      });
      if (signed(transfer) !== amountMicros)
        throw invalid('reference', 'was used before, with another amount');
      return transfer;
    } catch (error) {
      if (error instanceof Short)
        throw new ApiError('insufficient_balance', 'the available balance is lower than that');
      if (outOfRange(error)) throw invalid('amount', 'would take the balance beyond 9223372036854.775807');
      throw error;
    }
  }

  /** Newest first. @throws ApiError not_found */
  async transfers(
    customerId: string,
    filter: { callId?: string },
    limit: number,
    before?: string,
  ): Promise<Transfer[]> {
    await this.#customer(customerId);
    return this.#deps.store.transfers({ customerId, ...filter }, limit, before);
  }

  /** @throws ApiError not_found */
  async statement(customerId: string): Promise<Statement> {
    const customer = await this.#customer(customerId);
    return { customer, ...(await this.#deps.store.balance(customerId, this.#now())) };
  }

  /**
   * Settled totals of an application's calls that ended in the window; without one, this calendar month in
   * UTC.
   */
  async usage(
    caller: { applicationId: string; customerId: string },
    window: { from?: Date; to?: Date },
  ): Promise<Totals & { from: Date; to: Date; currency: string }> {
    const { currency } = await this.#customer(caller.customerId);
    const from = window.from ?? monthOf(window.to ? new Date(window.to.getTime() - 1) : this.#now());
    const to = window.to ?? monthOf(from, 1);
    if (to <= from) throw invalid('to', 'must be after from');
    return { from, to, currency, ...(await this.#deps.store.totals(caller.applicationId, from, to)) };
  }

  async #customer(id: string): Promise<Pick<Customer, 'id' | 'currency' | 'spend'>> {
    const customer = await this.#deps.customer(id);
    if (!customer) throw new ApiError('not_found', 'customer not found');
    return customer;
  }
}

/** What a transfer did to the available money. */
const signed = ({ debit, amountMicros }: Transfer): bigint =>
  debit === 'available' ? -amountMicros : amountMicros;

/** The first instant of a time's month, or of a month some months later, in UTC. */
const monthOf = (at: Date, later = 0): Date =>
  new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + later, 1));

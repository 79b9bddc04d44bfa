import type { Knex } from 'knex';
import { patient, type Database } from '../../lib/database.ts';
import { duplicateKey } from '../../lib/duplicate-key.ts';
import { rowsOf, withRetries } from '../sql.ts';
import { ACCOUNTS, dayOf, type Account, type Balance, type Transfer, type TransferKind } from './account.ts';
import { post } from './posting.ts';

interface TransferRow {
  id: string;
  customer_id: string;
  created_at: Date;
  kind: TransferKind;
  debit: Account;
  credit: Account;
  amount_micros: string | number;
  currency: string;
  call_id: string | null;
  leg: number | null;
  reference: string;
  reason: string | null;
}

interface AccountRow {
  kind: Account;
  balance_micros: string | number;
  spent_day: string;
  spent_day_micros: string | number;
  spent_month_micros: string | number;
}

export interface Totals {
  calls: number;
  billsecSeconds: number;
  costMicros: bigint;
}

const toTransfer = (row: TransferRow): Transfer => ({
  id: row.id,
  customerId: row.customer_id,
  createdAt: row.created_at,
  kind: row.kind,
  debit: row.debit,
  credit: row.credit,
  amountMicros: BigInt(row.amount_micros),
  currency: row.currency,
  callId: row.call_id ?? undefined,
  leg: row.leg ?? undefined,
  reference: row.reference,
  reason: row.reason ?? undefined,
});

// The begun second counts, as in the calls' own billsec_seconds. A call whose legs are not all settled is not
// in the totals yet.
const TOTALS = `SELECT COUNT(*) AS calls, COALESCE(SUM(GREATEST(0, CEIL(TIMESTAMPDIFF(MICROSECOND, answered_at, ended_at) / 1000000))), 0) AS billsec,
    CAST(COALESCE(SUM(cost_micros), 0) AS CHAR) AS cost
  FROM calls LEFT JOIN (SELECT DISTINCT call_id FROM holds WHERE status = 'open') unsettled ON unsettled.call_id = calls.id
  WHERE application_id = ? AND ended_at >= ? AND ended_at < ? AND answered_at IS NOT NULL AND unsettled.call_id IS NULL`;

/** The SQL of accounts and transfers, and of what calls have cost. */
export class LedgerStore {
  readonly #db: Database;
  readonly #lists: Database;

  /** @param lists connections of their own for what reads much */
  constructor(db: Database, lists: Database = db) {
    this.#db = db;
    this.#lists = lists;
  }

  /**
   * Writes one transfer between a customer's available money and its top-ups, unless its reference has been
   * used.
   * @returns the transfer that has this reference now
   * @throws Short when more is to be taken than is available
   */
  async credit(transfer: Transfer): Promise<Transfer> {
    const { customerId, currency } = transfer;
    const values = ACCOUNTS.flatMap((kind) => [customerId, kind, currency]);
    await this.#db.raw(
      `INSERT IGNORE INTO accounts (customer_id, kind, currency) VALUES ${ACCOUNTS.map(() => '(?,?,?)').join(',')}`,
      values,
    );
    try {
      await withRetries(() =>
        this.#db.transaction((trx: Knex.Transaction) => post(trx, customerId, [transfer])),
      );
      return transfer;
    } catch (error) {
      const earlier = duplicateKey(error)?.includes('transfers_reference')
        ? await this.#db<TransferRow>('transfers')
            .where({ customer_id: customerId, reference: transfer.reference })
            .first()
        : undefined;
      if (!earlier) throw error;
      return toTransfer(earlier as TransferRow);
    }
  }

  /** @param now says which day and month the spending is of */
  async balance(customerId: string, now: Date): Promise<Balance> {
    const rows = await rowsOf<AccountRow>(
      this.#db,
      'SELECT kind, balance_micros, spent_day, spent_day_micros, spent_month_micros FROM accounts WHERE customer_id = ?',
      [customerId],
    );
    const of = (kind: Account): AccountRow | undefined => rows.find((row) => row.kind === kind);
    const available = of('available');
    const today = dayOf(now);
    return {
      availableMicros: BigInt(available?.balance_micros ?? 0),
      heldMicros: BigInt(of('held')?.balance_micros ?? 0),
      spentTodayMicros: available && available.spent_day >= today ? BigInt(available.spent_day_micros) : 0n,
      spentThisMonthMicros:
        available && available.spent_day.slice(0, 7) >= today.slice(0, 7)
          ? BigInt(available.spent_month_micros)
          : 0n,
    };
  }

  /** Newest first; `before` is the id the page starts after. */
  async transfers(
    filter: { customerId: string; callId?: string },
    limit: number,
    before?: string,
  ): Promise<Transfer[]> {
    const query = this.#lists<TransferRow>('transfers')
      .where({ customer_id: filter.customerId })
      .orderBy('id', 'desc')
      .limit(limit);
    if (filter.callId !== undefined) void query.where({ call_id: filter.callId });
    if (before !== undefined) void query.where('id', '<', before);
    return (await patient<TransferRow[]>(query)).map(toTransfer);
  }

  /** What an application's answered calls that ended in a half-open window have cost. */
  async totals(applicationId: string, from: Date, to: Date): Promise<Totals> {
    const [[row]] = await patient<[[{ calls: number; billsec: string | number; cost: string } | undefined]]>(
      this.#lists.raw(TOTALS, [applicationId, from, to]),
    );
    return {
      calls: Number(row?.calls ?? 0),
      billsecSeconds: Number(row?.billsec ?? 0),
      costMicros: BigInt(row?.cost ?? 0),
    };
  }
}

/**
 * The accounts of a customer. What it has paid in comes from `top_up`, which goes below zero by that much;
 * what calls may still cost is moved from `available` to `held`, and what they have cost goes on to
 * `revenue`. The four are always zero together, so that no row is shared by customers.
 */
export const ACCOUNTS = ['available', 'held', 'revenue', 'top_up'] as const;
export type Account = (typeof ACCOUNTS)[number];

export type TransferKind = 'top_up' | 'adjustment' | 'hold' | 'extend' | 'settle' | 'release';

/** Written once, never changed. */
export interface Transfer {
  readonly id: string;
  readonly customerId: string;
  readonly createdAt: Date;
  readonly kind: TransferKind;
  /** The account it is taken from. */
  readonly debit: Account;
  /** The account it goes to. */
  readonly credit: Account;
  /** More than zero. */
  readonly amountMicros: bigint;
  readonly currency: string;
  readonly callId?: string;
  readonly leg?: number;
  /** Unique per customer: the same transfer is never written twice. */
  readonly reference: string;
  readonly reason?: string;
}

export interface Balance {
  availableMicros: bigint;
  heldMicros: bigint;
  /** Taken by outbound calls, held and charged, this UTC day and month. */
  spentTodayMicros: bigint;
  spentThisMonthMicros: bigint;
}

/** How much outbound calls may take, held and charged, in one UTC day and month; undefined is no cap. */
export interface Caps {
  dailyMicros: bigint | undefined;
  monthlyMicros: bigint | undefined;
}

/** What stands against a movement of money. */
export type Shortage = 'insufficient_balance' | 'daily' | 'monthly';

/** The UTC day of a time, `2026-05-29`. */
export const dayOf = (at: Date): string => at.toISOString().slice(0, 10);

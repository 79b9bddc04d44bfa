import type { Knex } from 'knex';
import { together, type Statement } from '../../lib/together.ts';
import { rowsOf } from '../sql.ts';
import { ACCOUNTS, type Account, type Caps, type Shortage, type Transfer } from './account.ts';

/**
 * What outbound calls take counts against the caps of their customer. Without caps it is counted all the
 * same.
 */
export type Spending =
  | { day: string; take: bigint; caps?: Caps }
  /** Given back to the day and the month it was counted in, if those are still the current ones. */
  | { day: string; giveBack: { dayMicros: bigint; monthMicros: bigint } };

/** Why nothing was written: thrown inside a transaction, which it rolls back. */
export class Short extends Error {
  readonly shortage: Shortage;
  /** What could have been taken. */
  readonly roomMicros: bigint;

  constructor(shortage: Shortage, roomMicros: bigint) {
    super(shortage);
    this.shortage = shortage;
    this.roomMicros = roomMicros;
  }
}

interface Available {
  balance_micros: string | number;
  spent_day: string;
  spent_day_micros: string | number;
  spent_month_micros: string | number;
}

/**
 * Writes transfers of one customer and moves the balances, inside the caller's transaction and as its last
 * step: the account rows are where all calls of a customer meet, so they are locked last, in one statement,
 * in the order of their key, and given back by the commit that follows. The limit is in the statement itself:
 * an account that would go below zero, or a cap that would be passed, matches no row.
 * @param first what is written before them, in the same round trip
 * @throws Short when nothing could be moved; the transaction must then be rolled back
 */
export async function post(
  trx: Knex.Transaction,
  customerId: string,
  transfers: readonly Transfer[],
  spending?: Spending,
  first: readonly Statement[] = [],
): Promise<void> {
  if (transfers.length === 0) return void (await together(trx, first));
  const inserts: Statement = [
    `INSERT INTO transfers (id, customer_id, created_at, kind, debit, credit, amount_micros, currency, call_id, leg, reference, reason) VALUES ${transfers.map(() => '(?,?,?,?,?,?,?,?,?,?,?,?)').join(',')}`,
    transfers.flatMap((t) => [
      t.id,
      t.customerId,
      t.createdAt,
      t.kind,
      t.debit,
      t.credit,
      t.amountMicros.toString(),
      t.currency,
      t.callId ?? null,
      t.leg ?? null,
      t.reference,
      t.reason ?? null,
    ]),
  ];
  const changes = ACCOUNTS.map((account) => ({ account, micros: changeOf(account, transfers) })).filter(
    ({ account, micros }) => micros !== 0n || (account === 'available' && spending),
  );
  const accounts = changes.map(({ account }) => account);
  // Amounts stand in the statement as digits: a bound one would be a string, and arithmetic with strings is
  // floating.
  const change = `CASE kind ${changes.map(({ account, micros }) => `WHEN '${account}' THEN ${micros}`).join(' ')} END`;
  const moves: Statement = [
    `UPDATE accounts SET balance_micros = balance_micros + ${change}${spending ? counting(spending) : ''}
     WHERE customer_id = ? AND kind IN (?) AND (kind NOT IN ('available', 'held') OR balance_micros + ${change} >= 0)${spending ? within(spending) : ''}`,
    [customerId, accounts],
  ];
  const matched = (await together(trx, [...first, inserts, moves])).at(-1);
  if (matched !== accounts.length) throw await shortage(trx, customerId, transfers, spending);
}

const changeOf = (account: Account, transfers: readonly Transfer[]): bigint =>
  transfers.reduce(
    (sum, t) =>
      sum + (t.credit === account ? t.amountMicros : 0n) - (t.debit === account ? t.amountMicros : 0n),
    0n,
  );

// Days are compared as text. A process whose clock is behind counts in the later day that another one has
// begun.
const onDay = (day: string): string => `IF(spent_day >= '${day}', spent_day_micros, 0)`;
const inMonth = (day: string): string =>
  `IF(LEFT(spent_day, 7) >= '${day.slice(0, 7)}', spent_month_micros, 0)`;

function counting(spending: Spending): string {
  const { day } = spending;
  const only = (column: string, value: string): string =>
    `, ${column} = IF(kind = 'available', ${value}, ${column})`;
  if ('giveBack' in spending) {
    const { dayMicros, monthMicros } = spending.giveBack;
    return (
      only('spent_day_micros', `spent_day_micros - IF(spent_day = '${day}', ${dayMicros}, 0)`) +
      only(
        'spent_month_micros',
        `spent_month_micros - IF(LEFT(spent_day, 7) = '${day.slice(0, 7)}', ${monthMicros}, 0)`,
      )
    );
  }
  // Assignments take effect from left to right, so the day itself comes last.
  return (
    only('spent_day_micros', `${onDay(day)} + ${spending.take}`) +
    only('spent_month_micros', `${inMonth(day)} + ${spending.take}`) +
    only('spent_day', `GREATEST(spent_day, '${day}')`)
  );
}

function within(spending: Spending): string {
  if (!('caps' in spending) || !spending.caps) return '';
  const {
    day,
    take,
    caps: { dailyMicros, monthlyMicros },
  } = spending;
  const rules = [
    ...(dailyMicros === undefined ? [] : [`${onDay(day)} + ${take} <= ${dailyMicros}`]),
    ...(monthlyMicros === undefined ? [] : [`${inMonth(day)} + ${take} <= ${monthlyMicros}`]),
  ];
  return rules.length === 0 ? '' : ` AND (kind <> 'available' OR (${rules.join(' AND ')}))`;
}

/** What stood against it. The failed statement has locked the row, so nobody has changed it since. */
async function shortage(
  trx: Knex.Transaction,
  customerId: string,
  transfers: readonly Transfer[],
  spending: Spending | undefined,
): Promise<Error> {
  const [row] = await rowsOf<Available>(
    trx,
    `SELECT balance_micros, spent_day, spent_day_micros, spent_month_micros FROM accounts WHERE customer_id = ? AND kind = 'available' FOR UPDATE`,
    [customerId],
  );
  if (!row) return new Short('insufficient_balance', 0n);
  const needed = -changeOf('available', transfers);
  const balance = BigInt(row.balance_micros);
  const rooms: { shortage: Shortage; room: bigint }[] = [{ shortage: 'insufficient_balance', room: balance }];
  if (spending && 'caps' in spending && spending.caps) {
    const { day, caps } = spending;
    const today = row.spent_day >= day ? BigInt(row.spent_day_micros) : 0n;
    const thisMonth = row.spent_day.slice(0, 7) >= day.slice(0, 7) ? BigInt(row.spent_month_micros) : 0n;
    if (caps.dailyMicros !== undefined) rooms.push({ shortage: 'daily', room: caps.dailyMicros - today });
    if (caps.monthlyMicros !== undefined)
      rooms.push({ shortage: 'monthly', room: caps.monthlyMicros - thisMonth });
  }
  // Spend control is asked before the balance (contract §7).
  const failed = rooms.filter(({ room }) => room < needed);
  const named = failed.find(({ shortage }) => shortage !== 'insufficient_balance') ?? failed[0];
  if (!named) return new Error(`the accounts of ${customerId} do not hold what was to be moved`);
  const room = rooms.reduce((least, one) => (one.room < least ? one.room : least), balance);
  return new Short(named.shortage, room > 0n ? room : 0n);
}

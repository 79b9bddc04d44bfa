import type { Knex } from 'knex';
import type { Database } from '../../lib/database.ts';
import type { Ids } from '../../lib/ids.ts';
import { wholeSeconds } from '../../lib/time.ts';
import type { Statement } from '../../lib/together.ts';
import { chargeOf } from '../charge.ts';
import { dayOf, type Account, type Transfer, type TransferKind } from '../ledger/account.ts';
import { post, Short, type Spending } from '../ledger/posting.ts';
import { matchedBy, rowsOf, withRetries } from '../sql.ts';
import {
  KEPT_MS,
  nameOf,
  type Cost,
  type Extension,
  type Hold,
  type LegKey,
  type LegTimes,
  type NewHold,
  type Orphan,
  type Outcome,
} from './hold.ts';

interface Row {
  call_id: string;
  leg: number;
  customer_id: string;
  direction: Hold['direction'];
  currency: string;
  price_micros: string | number;
  fee_micros: string | number;
  minimum_seconds: number;
  increment_seconds: number;
  held_micros: string | number;
  covered_seconds: number;
  covered_until: Date | null;
  counted_day: string;
  counted_day_micros: string | number;
  counted_month_micros: string | number;
  status: 'open' | 'resolved';
  answered_at: Date | null;
  ended_at: Date | null;
}

interface OrphanRow {
  call_id: string;
  leg: number;
  answered_at: Date | null;
  covered_until: Date | null;
  created_at: Date;
  call_stored: string | null;
  call_answered_at: Date | null;
  call_ended_at: Date | null;
}

const INSERT = `INSERT INTO holds (call_id, leg, customer_id, application_id, direction, number, rate_id, price_micros, fee_micros, minimum_seconds, increment_seconds,
  currency, held_micros, covered_seconds, covered_until, counted_day, counted_day_micros, counted_month_micros, status, created_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,'open',?)`;

const RESOLVE = `UPDATE holds SET status = 'resolved', answered_at = ?, ended_at = ?, resolved_at = ?, billsec = ?, charged_micros = ?, unpaid_micros = ? WHERE call_id = ? AND leg = ?`;

const ORPHANS = `SELECT h.call_id, h.leg, h.answered_at, h.covered_until, h.created_at, c.id AS call_stored, c.answered_at AS call_answered_at, c.ended_at AS call_ended_at
  FROM holds h LEFT JOIN calls c ON c.id = h.call_id
  WHERE h.status = 'open' AND (c.ended_at < :ended OR (c.id IS NULL AND h.created_at < :unknown) OR (c.id IS NOT NULL AND c.ended_at IS NULL AND h.covered_until < :uncovered))
  ORDER BY h.created_at LIMIT 500`;

const UNSTORED = `SELECT h.call_id AS callId, h.leg FROM holds h LEFT JOIN calls c ON c.id = h.call_id
  WHERE h.status = 'open' AND h.created_at < ? AND h.leg = 0 AND h.direction = 'outbound' AND SUBSTRING(h.call_id, -3, 1) = ? AND c.id IS NULL`;

/**
 * The SQL of holds. Every write is one transaction that locks the hold's row, then what the call's room
 * writes, then, last and for as short as can be, the accounts of the customer: always in this order, so that
 * no two wait for each other.
 */
export class HoldStore {
  readonly #db: Database;
  readonly #ids: Ids;

  constructor(db: Database, ids: Ids) {
    this.#db = db;
    this.#ids = ids;
  }

  async open(hold: NewHold): Promise<Outcome> {
    const { callId, leg, rate, amountMicros, at } = hold;
    const counted = hold.direction === 'outbound' ? amountMicros : 0n;
    return this.#write<never>(async (trx) => {
      const insert: Statement = [
        INSERT,
        [
          callId,
          leg,
          hold.customerId,
          hold.applicationId ?? null,
          hold.direction,
          hold.number.slice(0, 64),
          rate.id,
          rate.priceMicros.toString(),
          rate.feeMicros.toString(),
          rate.minimumSeconds,
          rate.incrementSeconds,
          rate.currency,
          amountMicros.toString(),
          hold.coveredSeconds,
          new Date(at.getTime() + KEPT_MS),
          dayOf(at),
          counted.toString(),
          counted.toString(),
          at,
        ],
      ];
      await post(
        trx,
        hold.customerId,
        this.#transfers({ ...hold, currency: rate.currency }, at, [
          ['hold', 'hold', 'available', 'held', amountMicros],
        ]),
        counted > 0n ? { day: dayOf(at), take: counted, caps: hold.caps } : undefined,
        [insert],
      );
      return undefined;
    });
  }

  /** Holds more for a running leg; 'resolved' when its hold is not open, or not where it was. */
  async extend({
    hold,
    fromSeconds,
    toSeconds,
    coveredUntil,
    amountMicros,
    caps,
    at,
  }: Extension): Promise<Outcome | 'resolved'> {
    const counted = hold.direction === 'outbound' ? amountMicros : 0n;
    const day = dayOf(at);
    return this.#write(async (trx) => {
      const matched = await matchedBy(
        trx,
        `UPDATE holds SET held_micros = held_micros + ${amountMicros}, covered_seconds = ?, covered_until = ?,
           counted_day_micros = IF(counted_day = ?, counted_day_micros, 0) + ${counted},
           counted_month_micros = IF(LEFT(counted_day, 7) = ?, counted_month_micros, 0) + ${counted}, counted_day = ?
         WHERE call_id = ? AND leg = ? AND status = 'open' AND covered_seconds = ?`,
        [toSeconds, coveredUntil, day, day.slice(0, 7), day, hold.callId, hold.leg, fromSeconds],
      );
      if (matched === 0) return 'resolved';
      await post(
        trx,
        hold.customerId,
        this.#transfers(hold, at, [['extend', `extend/${toSeconds}`, 'available', 'held', amountMicros]]),
        counted > 0n ? { day, take: counted, caps } : undefined,
      );
      return undefined;
    });
  }

  /**
   * Says that the process is there which looks after these legs. Those whose hold is resolved stay as they
   * are.
   */
  async keep(legs: readonly LegKey[], until: Date): Promise<void> {
    await this.#db.raw(
      `UPDATE holds SET covered_until = ? WHERE status = 'open' AND (${legs.map(() => '(call_id = ? AND leg = ?)').join(' OR ')})`,
      [until, ...legs.flatMap(({ callId, leg }) => [callId, leg])],
    );
  }

  /**
   * Notes when legs were answered, and until when each is paid for (or looked after, where time costs
   * nothing). Those whose hold is resolved stay as they are.
   */
  async answered(legs: readonly (LegKey & { answeredAt: Date; coveredUntil: Date })[]): Promise<void> {
    if (legs.length === 0) return;
    const which = `CASE CONCAT(call_id, '/', leg) ${legs.map(() => 'WHEN ? THEN ?').join(' ')} END`;
    await this.#db.raw(
      `UPDATE holds SET answered_at = ${which}, covered_until = ${which} WHERE status = 'open' AND (${legs.map(() => '(call_id = ? AND leg = ?)').join(' OR ')})`,
      [
        ...legs.flatMap((leg) => [nameOf(leg), leg.answeredAt]),
        ...legs.flatMap((leg) => [nameOf(leg), leg.coveredUntil]),
        ...legs.flatMap(({ callId, leg }) => [callId, leg]),
      ],
    );
  }

  /**
   * Charges what was used, gives the rest back, and ends the hold: once. Where a leg has lasted longer than
   * was held for, the rest is taken from what is available, as far as that goes.
   * @param settled writes the cost where the call is kept, in the same transaction; what it throws undoes all
   * @param known there is such a hold for certain
   * @returns the cost, or undefined where there is no such hold, or it has been resolved before
   */
  async resolve(
    key: LegKey,
    times: LegTimes,
    at: Date,
    { atMostHeld, known }: { atMostHeld: boolean; known: boolean },
    settled: (trx: Knex.Transaction, cost: Cost) => Promise<void>,
  ): Promise<Cost | undefined> {
    // Looked for without a lock: where there is none, a locking look closes the gap in which the next holds
    // go.
    if (
      !known &&
      (
        await rowsOf<Row>(this.#db, 'SELECT status FROM holds WHERE call_id = ? AND leg = ?', [
          key.callId,
          key.leg,
        ])
      )[0]?.status !== 'open'
    )
      return undefined;
    return withRetries(() =>
      this.#db.transaction(async (trx) => {
        const [row] = await rowsOf<Row>(trx, 'SELECT * FROM holds WHERE call_id = ? AND leg = ? FOR UPDATE', [
          key.callId,
          key.leg,
        ]);
        if (row?.status !== 'open') return undefined;
        const hold = toHold(row);
        const answeredAt = times.neverAnswered ? undefined : (times.answeredAt ?? hold.answeredAt);
        const billsec = wholeSeconds(answeredAt, times.endedAt);
        const due = answeredAt ? chargeOf(hold.tariff, billsec) : 0n;
        const beyond =
          due > hold.heldMicros && !atMostHeld ? await this.#takeable(trx, hold, due - hold.heldMicros) : 0n;
        const charged = due > hold.heldMicros ? hold.heldMicros + beyond : due;
        const cost: Cost = {
          amountMicros: charged,
          currency: hold.currency,
          billsecSeconds: billsec,
          unpaidMicros: due - charged,
        };
        await settled(trx, cost);
        const resolved: Statement = [
          RESOLVE,
          [
            answeredAt ?? null,
            times.endedAt,
            at,
            billsec,
            charged.toString(),
            (due - charged).toString(),
            key.callId,
            key.leg,
          ],
        ];
        const unused = hold.heldMicros - (charged - beyond);
        await post(
          trx,
          hold.customerId,
          this.#transfers(hold, at, [
            ['settle', 'settle', 'held', 'revenue', charged - beyond],
            ['settle', 'settle/beyond', 'available', 'revenue', beyond],
            ['release', 'release', 'held', 'available', unused],
          ]),
          spendingOf(row, unused, beyond, at),
          [resolved],
        );
        return cost;
      }),
    );
  }

  /** Those of these calls that have a hold which is not resolved. */
  async needs(callIds: readonly string[]): Promise<string[]> {
    const rows = await this.#db<Row>('holds')
      .distinct('call_id')
      .whereIn('call_id', callIds)
      .where({ status: 'open' });
    return rows.map(({ call_id }) => call_id);
  }

  /** Removes the holds of calls that are removed. Their transfers stay: the ledger is for ever. */
  async forget(trx: Knex.Transaction, callIds: readonly string[]): Promise<void> {
    await trx('holds').whereIn('call_id', callIds).delete();
  }

  /** The holds of a call, resolved ones included. */
  async ofCall(callId: string): Promise<Hold[]> {
    return (await this.#db<Row>('holds').where({ call_id: callId }).orderBy('leg')).map(toHold);
  }

  /**
   * Open holds that are left: the call ended before `ended` and nobody has settled it, there was no such call
   * when `unknown` had come, or its process has neither extended nor kept it although that was due at
   * `uncovered`.
   */
  async orphans(before: { ended: Date; unknown: Date; uncovered: Date }): Promise<Orphan[]> {
    const rows = await rowsOf<OrphanRow>(this.#db, ORPHANS, before);
    return rows.map((row) => {
      const key = { callId: row.call_id, leg: row.leg };
      const answeredAt = (key.leg === 0 ? row.call_answered_at : null) ?? row.answered_at ?? undefined;
      if (row.call_ended_at && key.leg === 0)
        return {
          ...key,
          why: 'call ended',
          times: { answeredAt, endedAt: row.call_ended_at },
          atMostHeld: false,
        };
      // When a second leg ended is in no row of the call: it is paid for until the call's end, or until where
      // it was paid for already.
      if (row.call_ended_at)
        return {
          ...key,
          why: 'call ended',
          times: { answeredAt, endedAt: row.call_ended_at },
          atMostHeld: true,
        };
      const endedAt = row.covered_until ?? row.answered_at ?? row.created_at;
      return {
        ...key,
        why: row.call_stored === null ? 'no call' : 'not extended',
        times: { answeredAt, endedAt },
        atMostHeld: true,
      };
    });
  }

  /**
   * Open holds of outbound calls that a control process has made before this and whose call it has not
   * stored.
   */
  unstored(instance: number, before: Date): Promise<LegKey[]> {
    return rowsOf<LegKey>(this.#db, UNSTORED, [before, String(instance)]);
  }

  /**
   * How much of an amount is available, with the row locked; and before it that of the call, which `settled`
   * writes while other legs of it may be settled.
   */
  async #takeable(trx: Knex.Transaction, { callId, customerId }: Hold, micros: bigint): Promise<bigint> {
    await trx.raw('SELECT id FROM calls WHERE id = ? FOR UPDATE', [callId]);
    const [row] = await rowsOf<{ balance_micros: string | number }>(
      trx,
      `SELECT balance_micros FROM accounts WHERE customer_id = ? AND kind = 'available' FOR UPDATE`,
      [customerId],
    );
    const balance = BigInt(row?.balance_micros ?? 0);
    return balance < micros ? balance : micros;
  }

  #transfers(
    hold: LegKey & { customerId: string; currency: string },
    at: Date,
    moves: readonly (readonly [TransferKind, string, Account, Account, bigint])[],
  ): Transfer[] {
    return moves
      .filter(([, , , , micros]) => micros > 0n)
      .map(([kind, what, debit, credit, amountMicros]) => ({
        id: this.#ids.next('txn'),
        customerId: hold.customerId,
        createdAt: at,
        kind,
        debit,
        credit,
        amountMicros,
        currency: hold.currency,
        callId: hold.callId,
        leg: hold.leg,
        reference: `${nameOf(hold)}/${what}`,
      }));
  }

  async #write<T extends string>(
    work: (trx: Knex.Transaction) => Promise<T | undefined>,
  ): Promise<Outcome | T> {
    try {
      return (await withRetries(() => this.#db.transaction(work))) ?? 'done';
    } catch (error) {
      if (error instanceof Short) return { shortage: error.shortage, roomMicros: error.roomMicros };
      throw error;
    }
  }
}

const toHold = (row: Row): Hold => ({
  callId: row.call_id,
  leg: row.leg,
  customerId: row.customer_id,
  direction: row.direction,
  currency: row.currency,
  tariff: {
    priceMicros: BigInt(row.price_micros),
    feeMicros: BigInt(row.fee_micros),
    minimumSeconds: row.minimum_seconds,
    incrementSeconds: row.increment_seconds,
  },
  heldMicros: BigInt(row.held_micros),
  coveredSeconds: row.covered_seconds,
  answeredAt: row.answered_at ?? undefined,
  until: (row.status === 'resolved' ? row.ended_at : row.covered_until) ?? undefined,
  resolved: row.status === 'resolved',
});

/** What settling changes of what the customer has spent: the unused part is what was added last. */
function spendingOf(row: Row, unused: bigint, beyond: bigint, at: Date): Spending | undefined {
  if (row.direction !== 'outbound') return undefined;
  if (beyond > 0n) return { day: dayOf(at), take: beyond };
  if (unused === 0n) return undefined;
  const least = (a: bigint, b: bigint): bigint => (a < b ? a : b);
  return {
    day: row.counted_day,
    giveBack: {
      dayMicros: least(unused, BigInt(row.counted_day_micros)),
      monthMicros: least(unused, BigInt(row.counted_month_micros)),
    },
  };
}

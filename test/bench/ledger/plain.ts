import { createPool, type Pool, type PoolConnection, type RowDataPacket } from 'mysql2/promise';

/**
 * What a hold and its settlement are to the database, without anything that thinks: tables of the same
 * columns, the same statements in the same transactions.
 */
export class PlainTransactions {
  readonly #pool: Pool;

  constructor(url: string, connections: number) {
    this.#pool = createPool({ uri: url, connectionLimit: connections });
  }

  async prepare(customers: readonly string[]): Promise<void> {
    for (const table of ['holds', 'transfers', 'accounts', 'calls', 'call_timeline']) {
      await this.#pool.query(`DROP TABLE IF EXISTS plain_${table}`);
      await this.#pool.query(`CREATE TABLE plain_${table} LIKE ${table}`);
    }
    await this.#pool.query(
      'INSERT INTO plain_accounts (customer_id, kind, currency, balance_micros) VALUES ?',
      [
        customers.flatMap((id) =>
          ['available', 'held', 'revenue', 'top_up'].map((kind) => [id, kind, 'EUR', 1_000_000_000_000]),
        ),
      ],
    );
  }

  async storeCalls(ids: readonly string[]): Promise<void> {
    await this.#pool.query(`INSERT INTO plain_calls SELECT * FROM calls WHERE id IN (?)`, [ids]);
  }

  hold(callId: string, customer: string): Promise<void> {
    const at = new Date();
    return this.#transaction(async (connection) => {
      await connection.query(
        `INSERT INTO plain_holds (call_id, leg, customer_id, application_id, direction, number, rate_id, price_micros, fee_micros, minimum_seconds, increment_seconds,
           currency, held_micros, covered_seconds, counted_day, counted_day_micros, counted_month_micros, status, created_at) VALUES (?,0,?,'app_1','outbound','+4915112345678','rate_1',600000,0,0,1,'EUR',600000,60,'2026-05-29',600000,600000,'open',?)`,
        [callId, customer, at],
      );
      await connection.query(
        `INSERT INTO plain_transfers (id, customer_id, created_at, kind, debit, credit, amount_micros, currency, call_id, leg, reference) VALUES (?,?,?,'hold','available','held',600000,'EUR',?,0,?)`,
        [`${callId}h`, customer, at, callId, `${callId}/hold`],
      );
      await connection.query(
        `UPDATE plain_accounts SET balance_micros = balance_micros + IF(kind = 'held', 600000, -600000) WHERE customer_id = ? AND kind IN ('available', 'held')`,
        [customer],
      );
    });
  }

  async settle(callId: string, customer: string): Promise<void> {
    const at = new Date();
    await this.#pool.query('SELECT status FROM plain_holds WHERE call_id = ? AND leg = 0', [callId]);
    return this.#transaction(async (connection) => {
      await connection.query<RowDataPacket[]>(
        'SELECT * FROM plain_holds WHERE call_id = ? AND leg = 0 FOR UPDATE',
        [callId],
      );
      await connection.query(
        `UPDATE plain_calls SET cost_micros = COALESCE(cost_micros, 0) + 300000, cost_currency = 'EUR' WHERE id = ?`,
        [callId],
      );
      await connection.query(
        'INSERT INTO plain_call_timeline (call_id, n, at, kind, detail) VALUES (?,1,?,?,?)',
        [callId, at, 'billing.settled', '{"leg":0,"amount":"0.30","currency":"EUR","billsec_seconds":30}'],
      );
      await connection.query(
        `UPDATE plain_holds SET status = 'resolved', answered_at = ?, ended_at = ?, resolved_at = ?, billsec = 30, charged_micros = 300000, unpaid_micros = 0 WHERE call_id = ? AND leg = 0`,
        [at, at, at, callId],
      );
      await connection.query(
        `INSERT INTO plain_transfers (id, customer_id, created_at, kind, debit, credit, amount_micros, currency, call_id, leg, reference) VALUES (?,?,?,'settle','held','revenue',300000,'EUR',?,0,?),(?,?,?,'release','held','available',300000,'EUR',?,0,?)`,
        [
          `${callId}s`,
          customer,
          at,
          callId,
          `${callId}/settle`,
          `${callId}r`,
          customer,
          at,
          callId,
          `${callId}/release`,
        ],
      );
      await connection.query(
        `UPDATE plain_accounts SET balance_micros = balance_micros + IF(kind = 'held', -600000, 300000) WHERE customer_id = ? AND kind IN ('available', 'held', 'revenue')`,
        [customer],
      );
    });
  }

  close(): Promise<void> {
    return this.#pool.end();
  }

  async #transaction(work: (connection: PoolConnection) => Promise<void>): Promise<void> {
    const connection = await this.#pool.getConnection();
    try {
      await connection.query('BEGIN');
      await work(connection);
      await connection.query('COMMIT');
    } finally {
      connection.release();
    }
  }
}

import type { Knex } from 'knex';

const at = (table: Knex.CreateTableBuilder, name: string) => table.specificType(name, 'datetime(6)');
const ascii = (table: Knex.CreateTableBuilder, name: string, length: number) =>
  table.specificType(name, `varchar(${length}) character set ascii collate ascii_bin`);

// Money is in micro-units (1/1,000,000 of the currency). No foreign keys here: they would lock rows of the
// referenced table at every insert, and an account's row is where all calls of a customer meet.
export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('rates', (t) => {
    ascii(t, 'id', 48).primary();
    ascii(t, 'customer_id', 48).notNullable().defaultTo(''); // empty: the default table
    ascii(t, 'direction', 8).notNullable(); // outbound | inbound
    ascii(t, 'prefix', 16).notNullable(); // with its plus sign
    t.bigInteger('price_micros').notNullable(); // per minute
    t.bigInteger('fee_micros').notNullable();
    t.integer('minimum_seconds').unsigned().notNullable();
    t.integer('increment_seconds').unsigned().notNullable();
    ascii(t, 'currency', 3).notNullable();
    at(t, 'valid_from').notNullable(); // 1970-01-01: always
    t.boolean('is_active').notNullable();
    at(t, 'created_at').notNullable();
    at(t, 'updated_at').notNullable().index();
    t.unique(['customer_id', 'direction', 'prefix', 'currency', 'valid_from'], { indexName: 'rates_key' });
  });
  await knex.schema.createTable('accounts', (t) => {
    ascii(t, 'customer_id', 48).notNullable();
    ascii(t, 'kind', 16).notNullable(); // available | held | revenue | top_up; together they are always zero
    ascii(t, 'currency', 3).notNullable();
    t.bigInteger('balance_micros').notNullable().defaultTo(0);
    // Of `available` only: what outbound calls have taken, held and charged, on the last day it was taken and
    // in that day's month (UTC).
    ascii(t, 'spent_day', 10).notNullable().defaultTo('1970-01-01');
    t.bigInteger('spent_day_micros').notNullable().defaultTo(0);
    t.bigInteger('spent_month_micros').notNullable().defaultTo(0);
    t.primary(['customer_id', 'kind']);
  });
  await knex.raw(
    `ALTER TABLE accounts ADD CONSTRAINT accounts_not_overdrawn CHECK (kind NOT IN ('available', 'held') OR balance_micros >= 0)`,
  );
  await knex.schema.createTable('transfers', (t) => {
    ascii(t, 'id', 48).primary();
    ascii(t, 'customer_id', 48).notNullable();
    at(t, 'created_at').notNullable();
    ascii(t, 'kind', 16).notNullable(); // top_up | adjustment | hold | extend | settle | release
    ascii(t, 'debit', 16).notNullable(); // the account it is taken from
    ascii(t, 'credit', 16).notNullable(); // the account it goes to
    t.bigInteger('amount_micros').notNullable();
    ascii(t, 'currency', 3).notNullable();
    ascii(t, 'call_id', 48);
    t.smallint('leg').unsigned();
    // what makes writing it twice impossible
    t.specificType('reference', 'varchar(200) character set utf8mb4 collate utf8mb4_bin').notNullable();
    t.string('reason', 500);
    t.unique(['customer_id', 'reference'], { indexName: 'transfers_reference' });
    t.index(['customer_id', 'id']);
    t.index(['call_id']);
  });
  await knex.raw(
    'ALTER TABLE transfers ADD CONSTRAINT transfers_positive CHECK (amount_micros > 0 AND debit <> credit)',
  );
  await knex.schema.createTable('holds', (t) => {
    ascii(t, 'call_id', 48).notNullable();
    t.smallint('leg').unsigned().notNullable(); // 0 is the call itself, 1 … its second legs
    ascii(t, 'customer_id', 48).notNullable();
    ascii(t, 'application_id', 48);
    ascii(t, 'direction', 8).notNullable();
    t.string('number', 64).notNullable();
    ascii(t, 'rate_id', 48).notNullable(); // and the rate as it was when the hold was made
    t.bigInteger('price_micros').notNullable();
    t.bigInteger('fee_micros').notNullable();
    t.integer('minimum_seconds').unsigned().notNullable();
    t.integer('increment_seconds').unsigned().notNullable();
    ascii(t, 'currency', 3).notNullable();
    t.bigInteger('held_micros').notNullable();
    t.integer('covered_seconds').unsigned().notNullable(); // how long a call `held_micros` pays for
    at(t, 'covered_until'); // once answered; null where the rate has no price by time
    // What of it is counted in the day and the month of the last addition; given back to them alone.
    ascii(t, 'counted_day', 10).notNullable();
    t.bigInteger('counted_day_micros').notNullable();
    t.bigInteger('counted_month_micros').notNullable();
    ascii(t, 'status', 8).notNullable(); // open | resolved
    at(t, 'created_at').notNullable();
    at(t, 'answered_at');
    at(t, 'ended_at');
    at(t, 'resolved_at');
    t.integer('billsec').unsigned();
    t.bigInteger('charged_micros');
    t.bigInteger('unpaid_micros'); // what the call has cost beyond what the customer had left
    t.primary(['call_id', 'leg']);
    t.index(['status', 'created_at']);
  });
  await knex.raw(
    'ALTER TABLE holds ADD CONSTRAINT holds_not_negative CHECK (held_micros >= 0 AND charged_micros >= 0)',
  );
  // Usage is asked for by the time calls ended.
  await knex.schema.alterTable('calls', (t) => t.index(['application_id', 'ended_at']));
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('calls', (t) => t.dropIndex(['application_id', 'ended_at']));
  for (const table of ['holds', 'transfers', 'accounts', 'rates']) await knex.schema.dropTableIfExists(table);
}

import type { Knex } from 'knex';

const at = (table: Knex.CreateTableBuilder, name: string) => table.specificType(name, 'datetime(6)');
const ascii = (table: Knex.CreateTableBuilder, name: string, length: number) =>
  table.specificType(name, `varchar(${length}) character set ascii collate ascii_bin`);

export async function up(knex: Knex): Promise<void> {
  // `position` is where the live stream stands: given as rows are written, so that it follows the order of
  // commits but for the few milliseconds in which a transaction is under way. With the application in its
  // index the stream is tailed from that index alone; the second one serves a subscriber who catches up.
  await knex.raw(`ALTER TABLE webhook_deliveries
    ADD COLUMN position BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    ADD COLUMN scheduled_from INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'attempts made when it was last asked for by hand: the schedule begins there',
    ADD INDEX webhook_deliveries_tail (position, application_id),
    ADD INDEX webhook_deliveries_stream (application_id, position),
    ADD INDEX webhook_deliveries_event (event_id)`);
  // 410: nothing is sent any more until the address is changed or the endpoint is enabled again.
  await knex.schema.alterTable('applications', (t) => {
    at(t, 'webhook_disabled_at');
    t.string('webhook_disabled_reason', 200);
  });
  // How an application's endpoint has been doing, brought up to date with every batch of attempts.
  await knex.schema.createTable('webhook_endpoints', (t) => {
    ascii(t, 'application_id', 48).primary();
    t.integer('consecutive_failures').unsigned().notNullable();
    at(t, 'last_success_at');
    at(t, 'last_failure_at');
    t.string('last_error', 500);
  });
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTableIfExists('webhook_endpoints');
  await knex.schema.alterTable('applications', (t) => {
    t.dropColumns('webhook_disabled_at', 'webhook_disabled_reason');
  });
  await knex.raw(`ALTER TABLE webhook_deliveries DROP INDEX webhook_deliveries_tail, DROP INDEX webhook_deliveries_stream, DROP INDEX webhook_deliveries_event,
    DROP COLUMN position, DROP COLUMN scheduled_from`);
}

import type { Knex } from 'knex';

/**
 * Lists by number, by status and by event, and usage, from indexes alone. Each ends in the id, which is the
 * order of lists. Numbers come first, so that the same index serves one application's list and the
 * operator's.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`ALTER TABLE calls
    ADD INDEX calls_from (from_number, application_id, id),
    ADD INDEX calls_to (to_number, application_id, id),
    ADD INDEX calls_status (application_id, status, id),
    ADD INDEX calls_usage (application_id, ended_at, answered_at, cost_micros),
    DROP INDEX calls_application_id_ended_at_index`);
  await knex.raw(`ALTER TABLE webhook_deliveries
    ADD INDEX webhook_deliveries_event_id (event, application_id, id)`);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE webhook_deliveries DROP INDEX webhook_deliveries_event_id');
  await knex.raw(`ALTER TABLE calls ADD INDEX calls_application_id_ended_at_index (application_id, ended_at),
    DROP INDEX calls_from, DROP INDEX calls_to, DROP INDEX calls_status, DROP INDEX calls_usage`);
}

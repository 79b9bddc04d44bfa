import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  // What was written lately is read every few seconds, by each control process.
  await knex.schema.alterTable('dids', (t) => t.index(['updated_at']));
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('dids', (t) => t.dropIndex(['updated_at']));
}

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.schema.alterTable('calls', (t) => {
    t.text('actions', 'mediumtext'); // JSON, given in place of an answer_url
    t.integer('max_duration_seconds').unsigned(); // after its answer; null: no limit
  });
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('calls', (t) => {
    t.dropColumns('actions', 'max_duration_seconds');
  });
}

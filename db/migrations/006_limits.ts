import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  // What one application may use up of what its customer may; null: no limit of its own.
  await knex.schema.alterTable('applications', (t) => {
    t.integer('max_cps').unsigned();
    t.integer('max_concurrent').unsigned();
  });
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('applications', (t) => {
    t.dropColumns('max_cps', 'max_concurrent');
  });
}

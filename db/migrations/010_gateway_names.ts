import type { Knex } from 'knex';

// A name is taken within its owner, the operator being one: nobody learns from a refusal what others call
// their carriers.
export async function up(knex: Knex): Promise<void> {
  await knex.schema.alterTable('trunks', (t) => {
    t.dropUnique(['gateway_name']);
    t.unique(['owner', 'gateway_name'], { indexName: 'trunks_owner_gateway_name_unique' });
  });
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('trunks', (t) => {
    t.dropUnique(['owner', 'gateway_name'], 'trunks_owner_gateway_name_unique');
    t.unique(['gateway_name']);
  });
}

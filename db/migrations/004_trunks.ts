import type { Knex } from 'knex';

// A carrier may serve several customers of ours from one address: it is unique for each owner, the operator
// being one.
export async function up(knex: Knex): Promise<void> {
  await knex.schema.alterTable('trunks', (t) => {
    t.boolean('retry_on_404').notNullable().defaultTo(false);
    t.boolean('probe').notNullable().defaultTo(true);
    t.dropUnique(['inbound_ip']);
  });
  await knex.raw(
    "ALTER TABLE trunks ADD COLUMN owner VARCHAR(48) CHARACTER SET ascii COLLATE ascii_bin GENERATED ALWAYS AS (COALESCE(customer_id, '*')) VIRTUAL",
  );
  await knex.schema.alterTable('trunks', (t) => {
    t.unique(['owner', 'inbound_ip'], { indexName: 'trunks_owner_inbound_ip_unique' });
    t.index(['inbound_ip']);
  });
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('trunks', (t) => {
    t.dropUnique(['owner', 'inbound_ip'], 'trunks_owner_inbound_ip_unique');
    t.dropIndex(['inbound_ip']);
    t.dropColumn('owner');
  });
  await knex.schema.alterTable('trunks', (t) => {
    t.dropColumn('retry_on_404');
    t.dropColumn('probe');
    t.unique(['inbound_ip']);
  });
}

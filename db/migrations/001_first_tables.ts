import type { Knex } from 'knex';

// Times are UTC with microseconds: they come from ids and media nodes, which are that exact.
const at = (table: Knex.CreateTableBuilder, name: string) => table.specificType(name, 'datetime(6)');
const id = (table: Knex.CreateTableBuilder, name: string) =>
  table.specificType(name, 'varchar(48) character set ascii collate ascii_bin');

export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('customers', (t) => {
    id(t, 'id').primary();
    t.string('name', 200).notNullable();
    t.string('status', 16).notNullable(); // active | suspended
    t.string('currency', 3).notNullable();
    t.json('limits').notNullable(); // {cps, concurrent_calls}
    // {daily?, monthly?, max_price_per_minute?, allowed_prefixes?, blocked_prefixes?}
    t.json('spend').notNullable();
    at(t, 'created_at').notNullable();
    at(t, 'updated_at').notNullable();
  });
  await knex.schema.createTable('applications', (t) => {
    id(t, 'id').primary();
    id(t, 'customer_id').notNullable().references('customers.id');
    t.string('name', 200).notNullable();
    t.string('answer_url', 2048);
    t.string('answer_method', 4).notNullable();
    t.string('fallback_url', 2048);
    t.string('webhook_url', 2048);
    t.text('webhook_secret'); // encrypted, see lib/secrets.ts
    t.text('previous_webhook_secret'); // still signs until the time below
    at(t, 'previous_webhook_secret_until');
    t.string('status', 16).notNullable(); // active | disabled
    at(t, 'created_at').notNullable();
    at(t, 'updated_at').notNullable();
  });
  await knex.schema.createTable('api_keys', (t) => {
    t.specificType('key_hash', 'char(64) character set ascii collate ascii_bin').primary(); // hex SHA-256
    id(t, 'application_id').notNullable().references('applications.id');
    at(t, 'created_at').notNullable();
    at(t, 'expires_at'); // set by a rotation
  });
  await knex.schema.createTable('trunks', (t) => {
    id(t, 'id').primary();
    id(t, 'customer_id').references('customers.id'); // null: a carrier of the operator
    t.string('name', 200).notNullable();
    t.string('gateway_name', 100).notNullable().unique();
    t.string('proxy', 255).notNullable();
    t.integer('port').unsigned();
    t.string('transport', 4).notNullable(); // udp | tcp | tls
    t.string('username', 255);
    t.text('password'); // encrypted
    t.string('realm', 255);
    t.string('from_domain', 255);
    t.string('inbound_ip', 45).unique();
    t.string('country', 2); // ISO 3166-1; national numbers of this trunk are read by it
    t.boolean('register').notNullable();
    t.integer('priority').notNullable();
    t.integer('weight').notNullable();
    t.string('number_format', 16).notNullable(); // e164 | plus_less | national
    t.string('caller_id', 16).notNullable(); // passthrough | did | fixed
    t.string('caller_id_number', 16);
    t.integer('max_cps').unsigned();
    t.integer('max_concurrent').unsigned();
    t.boolean('is_active').notNullable();
    t.string('status', 8).notNullable(); // up | down | unknown
    at(t, 'created_at').notNullable();
    at(t, 'updated_at').notNullable();
  });
  await knex.schema.createTable('dids', (t) => {
    id(t, 'id').primary();
    id(t, 'customer_id').notNullable().references('customers.id');
    id(t, 'application_id').references('applications.id');
    t.string('number_e164', 16).notNullable().unique();
    t.string('provider', 100);
    t.string('status', 16).notNullable(); // active | disabled
    t.string('route_mode', 16).notNullable(); // webhook | sip | reject
    t.json('route_target'); // {sip_uri} | {sip_code}
    at(t, 'created_at').notNullable();
    at(t, 'updated_at').notNullable();
  });
  await knex.schema.createTable('calls', (t) => {
    id(t, 'id').primary();
    id(t, 'customer_id').notNullable();
    id(t, 'application_id');
    t.string('provider_call_id', 64);
    t.string('direction', 8).notNullable();
    t.string('from_number', 255).notNullable();
    t.string('to_number', 255).notNullable();
    t.string('status', 16).notNullable();
    t.string('route_mode', 16).notNullable();
    t.string('routing_target', 2048).notNullable();
    t.string('answer_url', 2048);
    t.json('metadata').notNullable();
    t.json('variables').notNullable();
    at(t, 'created_at').notNullable();
    at(t, 'dialing_at');
    at(t, 'ringing_at');
    at(t, 'answered_at');
    at(t, 'ended_at');
    t.bigInteger('cost_micros');
    t.string('cost_currency', 3);
    t.string('hangup_by', 16);
    t.string('hangup_cause', 64);
    t.integer('hangup_sip_code').unsigned();
    t.string('failure_code', 64);
    t.string('failure_message', 500);
    id(t, 'trunk_id');
    t.string('media_node', 255);
    t.string('sip_call_id', 255);
    t.json('event_counts').notNullable(); // {"call.gathered": 2}: how often each event was emitted; their sum is the last sequence number
    // Lists are read newest first, per application or over all; ids grow with time, so the id is the order.
    t.index(['application_id', 'id']);
    t.index(['customer_id', 'id']);
    t.index(['status', 'id']);
  });
  await knex.schema.createTable('call_timeline', (t) => {
    id(t, 'call_id').notNullable();
    // grows with time and is unique within the call, so that a batch can be written twice
    t.bigInteger('n').notNullable();
    at(t, 'at').notNullable();
    t.string('kind', 64).notNullable();
    t.specificType('detail', 'mediumtext').notNullable(); // JSON
    t.primary(['call_id', 'n']);
  });
  await knex.schema.createTable('webhook_deliveries', (t) => {
    id(t, 'id').primary();
    id(t, 'event_id').notNullable(); // the same on every attempt, and for a redelivery
    t.string('event', 64).notNullable();
    id(t, 'call_id');
    t.integer('seq').unsigned().notNullable(); // per call; first attempts go out in this order
    id(t, 'customer_id').notNullable();
    id(t, 'application_id').notNullable();
    t.specificType('body', 'mediumtext').notNullable(); // the exact bytes that are signed and sent
    t.string('status', 16).notNullable(); // pending | delivered | exhausted | disabled
    t.integer('attempts').unsigned().notNullable(); // finished ones
    at(t, 'next_attempt_at'); // null once settled. While an attempt runs it is the end of the worker's lease: past it the row is anybody's again
    at(t, 'created_at').notNullable();
    at(t, 'delivered_at');
    // The worker asks which applications have something due, then for the oldest of each; the second index
    // serves the order within a call.
    t.index(['status', 'application_id', 'next_attempt_at'], 'webhook_deliveries_due');
    t.index(['call_id', 'attempts', 'seq'], 'webhook_deliveries_order');
    t.index(['application_id', 'id']);
  });
  await knex.schema.createTable('webhook_attempts', (t) => {
    id(t, 'delivery_id').notNullable();
    id(t, 'call_id').index();
    t.integer('attempt').unsigned().notNullable();
    at(t, 'at').notNullable();
    t.string('url', 2048).notNullable();
    t.json('request_headers').notNullable();
    t.integer('status').unsigned(); // HTTP status; null where there was no reply
    t.text('reply'); // its first 4 KiB
    t.string('error', 500);
    t.integer('took_ms').unsigned().notNullable();
    t.primary(['delivery_id', 'attempt']);
  });
  await knex.schema.createTable('idempotency_keys', (t) => {
    t.string('scope', 64).notNullable(); // application id, or "operator"
    t.specificType('key_hash', 'char(64) character set ascii collate ascii_bin').notNullable();
    t.specificType('body_hash', 'char(64) character set ascii collate ascii_bin').notNullable();
    t.integer('status').unsigned(); // null while the first request runs
    t.specificType('reply', 'mediumtext');
    at(t, 'created_at').notNullable();
    t.primary(['scope', 'key_hash']);
    t.index(['created_at']);
  });
}

export async function down(knex: Knex): Promise<void> {
  for (const table of [
    'idempotency_keys',
    'webhook_attempts',
    'webhook_deliveries',
    'call_timeline',
    'calls',
    'dids',
    'trunks',
    'api_keys',
    'applications',
    'customers',
  ]) {
    await knex.schema.dropTableIfExists(table);
  }
}

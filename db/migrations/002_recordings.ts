import type { Knex } from 'knex';

const at = (table: Knex.CreateTableBuilder, name: string) => table.specificType(name, 'datetime(6)');
const ascii = (table: Knex.CreateTableBuilder, name: string, length: number) =>
  table.specificType(name, `varchar(${length}) character set ascii collate ascii_bin`);

export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('recordings', (t) => {
    ascii(t, 'id', 48).primary(); // rec_<call id>, rec_<call id>_2 …
    // no foreign key: a call reaches the database after its channel has begun
    ascii(t, 'call_id', 48).notNullable();
    t.integer('n').unsigned().notNullable(); // which one of its call, from 1
    ascii(t, 'customer_id', 48).notNullable();
    ascii(t, 'application_id', 48);
    t.integer('instance').unsigned().notNullable(); // the control process the call belongs to, and with it this row's work
    t.string('provider_call_id', 64).notNullable();
    t.string('media_node', 255).notNullable();
    t.string('status', 16).notNullable(); // started | completed | failed
    t.string('storage_type', 16).notNullable(); // local | s3
    ascii(t, 'file_key', 255).notNullable(); // its name in the storage
    t.integer('duration_seconds').unsigned().notNullable();
    t.bigInteger('size_bytes').unsigned().notNullable();
    ascii(t, 'sha256', 64); // of the file in hex; set once the file is whole and has been looked at
    at(t, 'recording_at'); // the media node has said that it records
    at(t, 'stopped_at'); // the media node writes no more: the file can be finished
    at(t, 'next_attempt_at'); // when to try again to finish it
    t.integer('attempts').unsigned().notNullable();
    t.string('failure', 500);
    at(t, 'deleted_at'); // the audio is gone; the row stays so that its id is never given again
    at(t, 'created_at').notNullable();
    at(t, 'updated_at').notNullable();
    t.unique(['call_id', 'n']);
    // What is left to do at start-up, and what is due.
    t.index(['instance', 'status', 'next_attempt_at'], 'recordings_due');
  });
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTableIfExists('recordings');
}

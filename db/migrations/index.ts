import type { Knex } from 'knex';
import * as first from './001_first_tables.ts';
import * as recordings from './002_recordings.ts';
import * as billing from './003_billing.ts';
import * as trunks from './004_trunks.ts';
import * as webhooks from './005_webhooks.ts';
import * as limits from './006_limits.ts';
import * as outbound from './007_outbound.ts';
import * as lists from './008_lists.ts';
import * as recordedCalls from './009_recorded_calls.ts';
import * as gatewayNames from './010_gateway_names.ts';
import * as farEnds from './011_far_ends.ts';
import * as recentlyWritten from './012_recently_written.ts';

// Listed by hand, so that the same order holds for sources and for the compiled build. Landed ones never
// change.
const migrations: Record<string, Knex.Migration> = {
  '001_first_tables': first,
  '002_recordings': recordings,
  '003_billing': billing,
  '004_trunks': trunks,
  '005_webhooks': webhooks,
  '006_limits': limits,
  '007_outbound': outbound,
  '008_lists': lists,
  '009_recorded_calls': recordedCalls,
  '010_gateway_names': gatewayNames,
  '011_far_ends': farEnds,
  '012_recently_written': recentlyWritten,
};

export const migrationSource: Knex.MigrationSource<string> = {
  getMigrations: () => Promise.resolve(Object.keys(migrations)),
  getMigrationName: (name) => name,
  getMigration: (name) => {
    const migration = migrations[name];
    if (!migration) throw new Error(`unknown migration ${name}`);
    return Promise.resolve(migration);
  },
};

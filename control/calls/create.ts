import type { Database } from '../lib/database.ts';
import type { Ids } from '../lib/ids.ts';
import type { Logger } from '../lib/logger.ts';
import { enqueue } from '../webhooks/outbox.ts';
import { Calls } from './calls.ts';
import { Journal } from './journal.ts';
import { Lifecycle } from './lifecycle.ts';
import { CallStore } from './store.ts';

interface Needs {
  db: Database;
  /** Connections for lists; those of `db` without them. */
  lists?: Database;
  ids: Ids;
  /** Whether events of this application are to be sent anywhere. */
  hasWebhook: (applicationId: string) => boolean;
  /** Called after a commit that held events, with whether any of them is due at a webhook. */
  wake?: (due: boolean) => void;
  logger: Logger;
  now?: () => Date;
}

export interface CallsRoom {
  store: CallStore;
  journal: Journal;
  calls: Calls;
}

/** Builds the calls room: what is written of calls, in which order, and the calls in progress. */
export function createCalls({ db, lists, ids, hasWebhook, wake, logger, now }: Needs): CallsRoom {
  const store = new CallStore(db, lists);
  const journal = new Journal({ store, enqueue, wake: wake ?? (() => undefined), logger });
  const lifecycle = new Lifecycle(logger);
  return { store, journal, calls: new Calls({ ids, journal, lifecycle, hasWebhook, ...(now && { now }) }) };
}

// A control process with nothing but a delivery worker, made to be killed: WORKER_DATABASE_URL,
// WORKER_ENDPOINT, WORKER_LEASE_MS.
import { connectDatabase } from '../../../control/lib/database.ts';
import { createGuardedFetch } from '../../../control/lib/guarded-fetch.ts';
import { createLogger } from '../../../control/lib/logger.ts';
import { WebhookStore } from '../../../control/webhooks/store.ts';
import { DeliveryWorker } from '../../../control/webhooks/worker.ts';

const {
  WORKER_DATABASE_URL: database = '',
  WORKER_ENDPOINT: url = '',
  WORKER_LEASE_MS: lease = '',
} = process.env;
new DeliveryWorker({
  store: new WebhookStore(connectDatabase(database)),
  fetch: createGuardedFetch({ allowPrivate: true }).fetch,
  endpointOf: () => ({ url, secrets: [] }),
  disable: () => Promise.resolve(true),
  logger: createLogger('silent'),
  leaseMs: Number(lease),
  pollMs: 50,
}).start();

// A control process with nothing but a delivery worker: `BENCH_DATABASE_URL`, `BENCH_RECEIVER`. Its parent says when something was committed.
import { connectDatabase } from '../../../control/lib/database.ts';
import { createGuardedFetch } from '../../../control/lib/guarded-fetch.ts';
import { createLogger } from '../../../control/lib/logger.ts';
import { WebhookStore } from '../../../control/webhooks/store.ts';
import { DeliveryWorker } from '../../../control/webhooks/worker.ts';

const { BENCH_DATABASE_URL: database = '', BENCH_RECEIVER: receiver = '', BENCH_LEASE_MS: lease } = process.env;
const worker = new DeliveryWorker({
  store: new WebhookStore(connectDatabase(database)),
  fetch: createGuardedFetch({ allowPrivate: true }).fetch,
  endpointOf: (id) => ({ url: `${receiver}/${id.slice(4)}`, secrets: ['a-secret-of-the-benchmark'] }),
  disable: () => Promise.resolve(),
  logger: createLogger('error'),
  ...(lease !== undefined && { leaseMs: Number(lease) }),
});
worker.start();
process.on('message', () => worker.wake());
process.on('disconnect', () => process.exit()).on('SIGTERM', () => process.exit());
process.send?.('ready');

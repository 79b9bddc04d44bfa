// A control process with nothing but a delivery worker: `BENCH_DATABASE_URL`, `BENCH_RECEIVER`. Its parent
// says when something was committed. With `BENCH_CLOCK` its clock has run that much faster since
// `BENCH_EPOCH`, and so does the schedule.
import { connectDatabase } from '../../../control/lib/database.ts';
import { createGuardedFetch } from '../../../control/lib/guarded-fetch.ts';
import { createLogger } from '../../../control/lib/logger.ts';
import { WebhookStore } from '../../../control/webhooks/store.ts';
import { DeliveryWorker } from '../../../control/webhooks/worker.ts';
import { fasterClock } from './clock.ts';

const {
  BENCH_DATABASE_URL: database = '',
  BENCH_RECEIVER: receiver = '',
  BENCH_LEASE_MS: lease,
  BENCH_CLOCK: speed = '1',
  BENCH_EPOCH: epoch = '0',
} = process.env;
const worker = new DeliveryWorker({
  store: new WebhookStore(connectDatabase(database)),
  fetch: createGuardedFetch({ allowPrivate: true }).fetch,
  endpointOf: (id) => ({ url: `${receiver}/${id.slice(4)}`, secrets: ['a-secret-of-the-benchmark'] }),
  disable: () => Promise.resolve(true),
  logger: createLogger('error'),
  now: () => fasterClock(Number(epoch), Number(speed)),
  ...(lease !== undefined && { leaseMs: Number(lease), pollMs: 100 }),
});
worker.start();
process.on('message', () => worker.wake());
process.on('disconnect', () => process.exit()).on('SIGTERM', () => process.exit());
process.send?.('ready');

import { Redis } from 'ioredis';
import { Limits, type Place } from '../../../control/limits/limits.ts';
import { createLogger } from '../../../control/lib/logger.ts';

export function connect(): Redis {
  const url = process.env['MINIVOICE_TEST_REDIS_URL'];
  if (!url)
    throw new Error('MINIVOICE_TEST_REDIS_URL must name a database of a Redis server that may be flushed');
  return new Redis(url, { maxRetriesPerRequest: 1 });
}

/** Time that stands still until it is moved, in place of Redis' own. */
export class Clock {
  ms = 1_800_000_000_000;
  readonly us = (): number => this.ms * 1000;
}

/** Limits of one control process. Its beats are given by the test: the timer is set for never. */
export function limitsOf(
  redis: Redis,
  instance: number,
  clock?: Clock,
  times: ConstructorParameters<typeof Limits>[0]['times'] = {},
): Limits {
  return new Limits({
    redis,
    instance,
    logger: createLogger('fatal'),
    times: { beatMs: 2 ** 30, ...times },
    ...(clock && { clock: clock.us }),
  });
}

/** What a leg asks for, with limits far away where none are given. */
export const place = (callId: string, of: Partial<Place> = {}): Place => ({
  callId,
  leg: 0,
  customer: { id: 'cust_1', cps: 1000, concurrentCalls: 1000 },
  application: { id: 'app_1' },
  trunks: [],
  ...of,
});

import { z } from 'zod';
import { ApiError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { endpoint, type Endpoint } from './endpoint.ts';

/** One thing the system needs to take calls. */
export interface ReadinessCheck {
  name: string;
  /** What is missing in a few words that give nothing away to strangers, or undefined when all is well. */
  check(): Promise<string | undefined>;
}

const LONGEST_MS = 2000;

export const healthRoutes = (checks: readonly ReadinessCheck[], logger: Logger): Endpoint[] => [
  endpoint({
    method: 'get',
    path: '/healthz',
    auth: 'none',
    tag: 'Health',
    summary: 'Whether the process is alive',
    status: 200,
    reply: z.strictObject({ status: z.literal('ok') }),
    handle: async () => ({ status: 'ok' as const }),
  }),
  endpoint({
    method: 'get',
    path: '/readyz',
    auth: 'none',
    tag: 'Health',
    summary: 'Whether calls can be taken, or what is missing',
    status: 200,
    reply: z.strictObject({ status: z.literal('ready'), checks: z.array(z.string()) }),
    errors: ['service_unavailable'],
    handle: async () => {
      const results = await Promise.all(
        checks.map(async ({ name, check }) => ({ path: name, message: await bounded(name, check, logger) })),
      );
      const details = results.flatMap(({ path, message }) =>
        message === undefined ? [] : [{ path, message }],
      );
      if (details.length === 0) return { status: 'ready' as const, checks: results.map(({ path }) => path) };
      const missing = details.map(({ path, message }) => `${path}: ${message}`).join('; ');
      throw new ApiError('service_unavailable', `not ready: ${missing}`, { details, retryAfter: 5 });
    },
  }),
];

/** A check that hangs or throws is a check that fails. */
async function bounded(
  name: string,
  check: () => Promise<string | undefined>,
  logger: Logger,
): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined;
  try {
    return await Promise.race([
      check(),
      new Promise<string>((resolve) => {
        timer = setTimeout(() => resolve(`no answer within ${LONGEST_MS} ms`), LONGEST_MS);
      }),
    ]);
  } catch (err) {
    logger.warn({ err, check: name }, 'readiness check failed');
    return 'the check failed';
  } finally {
    clearTimeout(timer);
  }
}

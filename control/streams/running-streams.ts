import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Logger } from '../lib/logger.ts';

const Running = z.array(
  z.object({
    sid: z.string(),
    url: z.string(),
    track: z.enum(['inbound', 'outbound', 'both']),
    startedAt: z.coerce.date(),
  }),
);

/** A stream as another life of this process needs it to go on with it. */
export type RunningStream = z.infer<typeof Running>[number];

/** Longer than any call. */
const SECONDS = 24 * 3600;

/** Which streams a call has, in Redis. */
export class RunningStreams {
  readonly #redis: Redis;
  readonly #logger: Logger;

  constructor(redis: Redis, logger: Logger) {
    this.#redis = redis;
    this.#logger = logger;
  }

  save(callId: string, streams: readonly RunningStream[]): void {
    const key = `streams:${callId}`;
    const saved =
      streams.length > 0
        ? this.#redis.set(key, JSON.stringify(streams), 'EX', SECONDS)
        : this.#redis.del(key);
    saved.catch((error: unknown) =>
      this.#logger.debug({ err: error, call: callId }, 'the streams of a call could not be saved'),
    );
  }

  /** None when Redis has none, or is away. */
  async load(callId: string): Promise<RunningStream[]> {
    const text = await this.#redis.get(`streams:${callId}`).catch(() => null);
    if (text === null) return [];
    const result = Running.safeParse(JSON.parse(text));
    return result.success ? result.data : [];
  }
}

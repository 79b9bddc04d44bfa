import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Logger } from '../lib/logger.ts';

const State = z.object({
  /** The payload being run, as parsed, and which action of it runs. */
  steps: z.array(z.object({ action: z.string(), fields: z.unknown() })),
  index: z.number(),
  /** How many redirects led here. */
  depth: z.number(),
  /** Which audio of the running action has begun: -1 none yet, 0 the first time it is played, and so on. */
  begun: z.number(),
  /** When the second leg of the running action has answered, in Unix ms. */
  legAnsweredAt: z.number().optional(),
  /** Keys of the running or last gather. */
  digits: z.string(),
  /** What the last gather ended with: told with every later request for instructions. */
  gathered: z.object({ digits: z.string(), status: z.string(), timedOut: z.boolean() }).optional(),
});

/** Where a flow stands: all that another control process needs to go on with it. */
export type FlowState = z.infer<typeof State>;

export const newState = (): FlowState => ({ steps: [], index: 0, depth: 0, begun: -1, digits: '' });

/** Longer than any call: what is left behind by a call nobody could end goes by itself. */
const SECONDS = 24 * 3600;

/**
 * Flow states in Redis: they can be rebuilt by asking the answer_url again, so losing one loses a caller's
 * place and no more.
 */
export class FlowStates {
  readonly #redis: Redis;
  readonly #logger: Logger;

  constructor(redis: Redis, logger: Logger) {
    this.#redis = redis;
    this.#logger = logger;
  }

  save(callId: string, state: FlowState): void {
    this.#redis.set(`flow:${callId}`, JSON.stringify(state), 'EX', SECONDS).catch((error: unknown) => {
      this.#logger.debug({ err: error, call: callId }, 'the place in a flow could not be saved');
    });
  }

  /** Undefined when Redis does not have it, or is away. */
  async load(callId: string): Promise<FlowState | undefined> {
    const text = await this.#redis.get(`flow:${callId}`).catch(() => null);
    if (text === null) return undefined;
    const result = State.safeParse(JSON.parse(text));
    return result.success ? result.data : undefined;
  }

  forget(callId: string): void {
    this.#redis.del(`flow:${callId}`).catch(() => undefined);
  }
}

import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { ApiError, ERRORS, type ErrorCode } from './errors.ts';
import type { Logger } from './logger.ts';

const requestsTo = (instance: number): string => `minivoice:requests:${instance}`;
/** Whoever deletes this key decides: who carries the request out does so, or who has asked withdraws it. */
const claimOf = (id: string): string => `minivoice:claim:${id}`;

const Request = z.object({
  id: z.string(),
  replyTo: z.string(),
  kind: z.string(),
  body: z.unknown().optional(),
});
const Reply = z.object({
  id: z.string(),
  value: z.unknown().optional(),
  error: z
    .object({
      code: z.enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]),
      message: z.string(),
      details: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
      retryAfter: z.number().optional(),
    })
    .optional(),
});

interface Options {
  /** This control process's number: requests to it are answered here. */
  instance: number;
  redis: Redis;
  /** A connection of its own, which others may listen on too: a subscribed one can do nothing else. */
  subscriber: Redis;
  logger: Logger;
}

interface Waiting {
  resolve: (value: unknown) => void;
  reject: (error: ApiError) => void;
}

const PATIENCE_MS = 2000;
const WITHDRAWN_WITHIN_MS = 200;
/** A claim is there when it is withdrawn, and gone soon after where even that fails. */
const CLAIM_OUTLIVES_MS = 1000;
const AWAY_RETRY_SECONDS = 2;

/**
 * Control processes ask each other by Redis' publish and subscribe. A request is carried out once or not at
 * all: who carries it out claims it first, and cannot any more once who has asked has given up. Everything in
 * it must be JSON.
 */
export class Peers {
  readonly #options: Options;
  /** Where replies to this life of the process go. */
  readonly #replies = `minivoice:replies:${randomUUID()}`;
  readonly #handlers = new Map<string, (body: unknown) => Promise<unknown>>();
  readonly #waiting = new Map<string, Waiting>();
  #listening = false;

  constructor(options: Options) {
    this.#options = options;
  }

  /** Requests of this process that wait for a reply, for a gauge. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Whether this process hears what others ask and answer. */
  get listening(): boolean {
    return this.#listening;
  }

  /**
   * Says how requests of one kind are carried out here. What it throws reaches who has asked, if it is an
   * ApiError.
   */
  answer(kind: string, handler: (body: unknown) => Promise<unknown>): void {
    this.#handlers.set(kind, handler);
  }

  start(): void {
    const { subscriber, instance } = this.#options;
    subscriber.on('message', this.#hear);
    subscriber.on('close', this.#deaf);
    subscriber.on('ready', this.#subscribe);
    if (subscriber.status === 'ready') this.#subscribe();
    this.#options.logger.debug({ instance }, 'other control processes may ask this one');
  }

  /** Takes no more requests. */
  stop(): void {
    const { subscriber, instance } = this.#options;
    subscriber.off('ready', this.#subscribe);
    subscriber.unsubscribe(requestsTo(instance)).catch(() => undefined);
  }

  /**
   * Has another control process do something.
   * @throws ApiError what it threw there; `service_unavailable` when it is away, has not answered within
   *   `timeoutMs`, or Redis is away. The message says whether it may have been done all the same.
   */
  async ask(instance: number, kind: string, body: unknown, timeoutMs = PATIENCE_MS): Promise<unknown> {
    if (!this.#listening) throw unavailable('the control processes cannot reach each other right now');
    const id = randomUUID();
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise((resolve, reject) => {
        this.#waiting.set(id, { resolve, reject });
        timer = setTimeout(() => void this.#withdraw(id, instance).then(reject), timeoutMs);
        this.#publish(instance, { id, replyTo: this.#replies, kind, body }, timeoutMs).then(
          (listeners) => {
            if (listeners === 0)
              reject(unavailable(`control process ${instance}, which has this in its care, is away`));
          },
          (error: unknown) => {
            this.#options.logger.warn(
              { err: error, instance, kind },
              'another control process could not be asked',
            );
            reject(unavailable('the control processes cannot reach each other right now'));
          },
        );
      });
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(id);
    }
  }

  /** @returns how many processes listen for it */
  async #publish(instance: number, request: z.infer<typeof Request>, timeoutMs: number): Promise<number> {
    const results = await this.#options.redis
      .multi()
      .set(claimOf(request.id), '', 'PX', timeoutMs + CLAIM_OUTLIVES_MS)
      .publish(requestsTo(instance), JSON.stringify(request))
      .exec();
    const [error, listeners] = results?.[1] ?? [];
    if (error) throw error;
    return Number(listeners ?? 0);
  }

  /** The time is up: what nobody has begun, nobody shall. */
  async #withdraw(id: string, instance: number): Promise<ApiError> {
    const bound = new Promise<number>((resolve) => {
      setTimeout(() => resolve(0), WITHDRAWN_WITHIN_MS).unref();
    });
    const withdrawn =
      (await Promise.race([this.#options.redis.del(claimOf(id)).catch(() => 0), bound])) === 1;
    return unavailable(
      `control process ${instance}, which has this in its care, did not answer in time${withdrawn ? '' : '; it may be done all the same'}`,
    );
  }

  readonly #subscribe = (): void => {
    const { subscriber, instance, logger } = this.#options;
    subscriber.subscribe(requestsTo(instance), this.#replies).then(
      () => {
        this.#listening = true;
      },
      (error: unknown) =>
        logger.warn({ err: error }, 'other control processes cannot ask this one, nor it them'),
    );
  };

  readonly #deaf = (): void => {
    this.#listening = false;
  };

  readonly #hear = (channel: string, text: string): void => {
    if (channel === this.#replies) this.#settle(text);
    else if (channel === requestsTo(this.#options.instance)) void this.#carryOut(text);
  };

  #settle(text: string): void {
    const reply = parsed(Reply, text);
    const waiting = reply && this.#waiting.get(reply.id);
    if (!waiting) return; // It came too late.
    if (reply.error) waiting.reject(new ApiError(reply.error.code, reply.error.message, reply.error));
    else waiting.resolve(reply.value);
  }

  async #carryOut(text: string): Promise<void> {
    const { redis, logger } = this.#options;
    const request = parsed(Request, text);
    const handler = request && this.#handlers.get(request.kind);
    if (!handler) return;
    try {
      // Another life of this process has it, or who has asked has gone.
      if ((await redis.del(claimOf(request.id))) !== 1) return;
      const reply = await handler(request.body).then(
        (value) => ({ value }),
        (error: unknown) => ({ error: this.#errorOf(error, request.kind) }),
      );
      await redis.publish(request.replyTo, JSON.stringify({ id: request.id, ...reply }));
    } catch (error) {
      logger.warn(
        { err: error, kind: request.kind },
        'a request of another control process could not be answered',
      );
    }
  }

  #errorOf(error: unknown, kind: string): NonNullable<z.infer<typeof Reply>['error']> {
    if (error instanceof ApiError)
      return {
        code: error.code,
        message: error.message,
        details: error.details,
        retryAfter: error.retryAfter,
      };
    this.#options.logger.error({ err: error, kind }, 'a request of another control process has failed');
    return { code: 'internal_error', message: ERRORS.internal_error[1] };
  }
}

const unavailable = (message: string): ApiError =>
  new ApiError('service_unavailable', message, { retryAfter: AWAY_RETRY_SECONDS });

/** Anybody may write to Redis who can reach it. */
function parsed<T extends z.ZodType>(schema: T, text: string): z.output<T> | undefined {
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

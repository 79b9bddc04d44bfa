import type { Redis } from 'ioredis';
import type { Logger } from '../lib/logger.ts';

const CHANNEL = 'minivoice:events';

export interface CommitSignalOptions {
  redis: Redis;
  /** A connection that is used for subscriptions alone. */
  subscriber: Redis;
  /** Events were committed, here or elsewhere. */
  onCommit: () => void;
  logger: Logger;
}

/**
 * Tells every control process at once that events were committed. What they are is read from the database, so
 * nothing is lost with Redis but time: without a signal everybody looks once a second.
 */
export class CommitSignal {
  readonly #o: CommitSignalOptions;

  constructor(options: CommitSignalOptions) {
    this.#o = options;
  }

  start(): void {
    const { subscriber, onCommit, logger } = this.#o;
    subscriber.on('message', (channel: string) => {
      if (channel === CHANNEL) onCommit();
    });
    const subscribe = (): void => {
      subscriber
        .subscribe(CHANNEL)
        .catch((error: unknown) =>
          logger.warn({ err: error }, 'events of other control processes come to live streams once a second'),
        );
    };
    // Again on every connection: the first one may come long after our start.
    subscriber.on('ready', subscribe);
    if (subscriber.status === 'ready') subscribe();
  }

  /** To be called after every commit that held events. */
  committed(): void {
    const { redis, onCommit } = this.#o;
    onCommit();
    if (redis.status === 'ready') redis.publish(CHANNEL, '').catch(() => undefined);
  }
}

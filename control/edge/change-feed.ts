import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Change } from '../lib/changes.ts';
import type { Logger } from '../lib/logger.ts';
import { within } from '../lib/within.ts';
import type { Directory } from '../directory/directory.ts';
import type { EdgeSync } from './edge-sync.ts';

const CHANNEL = 'minivoice:changes';
/**
 * The reply to an API write waits so long for a Kamailio that does not answer; the heartbeat brings it the
 * change later.
 */
const PATIENCE_MS = 800;
const News = z.object({
  from: z.string(),
  room: z.enum(['customers', 'applications', 'dids', 'trunks', 'rates']),
  id: z.string(),
});

/**
 * What was written lately is read so often, with a part of everything, so that a change whose news was lost
 * heals.
 */
const RELOAD_MS = 10_000;
/**
 * A start waits so long for Redis: where it is away, changes of others are looked for as soon as it is back.
 */
const SUBSCRIBE_MS = 1000;

interface Options {
  directory: Directory;
  syncs: readonly EdgeSync[];
  /** What else remembers: the API keys. */
  forget: (change: Change) => void;
  /** The prices in memory; `reload` reads them only if they have changed. */
  rates: { refresh(id: string): Promise<void>; reload(): Promise<void> };
  redis: Redis;
  /** A connection of its own, which others may listen on too: a subscribed one can do nothing else. */
  subscriber: Redis;
  /** Tells this process's own news from others'. */
  self: string;
  logger: Logger;
  reloadMs?: number;
}

/**
 * Carries a change made through any API to the directory, to every Kamailio and, by Redis, to every other
 * control process.
 */
export class ChangeFeed {
  readonly #options: Options;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #catchingUp: Promise<void> | undefined;

  constructor(options: Options) {
    this.#options = options;
  }

  /**
   * From here on changes of other control processes arrive: before the directory is loaded, so that none
   * falls between.
   */
  async listen(): Promise<void> {
    const { subscriber, self, logger } = this.#options;
    subscriber.on('message', (channel: string, text: string) => {
      const news = channel === CHANNEL ? readNews(text) : undefined;
      if (news && news.from !== self) void this.#apply(news);
    });
    const subscribe = async (): Promise<void> => {
      try {
        await subscriber.subscribe(CHANNEL);
        // Whatever was told while nobody listened.
        if (this.#options.directory.loaded) await this.#catchUp();
      } catch (error) {
        logger.warn({ err: error }, 'changes of other control processes arrive by the periodic reload alone');
      }
    };
    // Again on every connection: the first one may come long after our start.
    const first = new Promise<void>((resolve) =>
      subscriber.on('ready', () => void subscribe().then(resolve)),
    );
    await within(SUBSCRIBE_MS, subscriber.status === 'ready' ? subscribe() : first).catch(() => undefined);
  }

  start(): void {
    this.#timer = setTimeout(() => {
      void this.#catchUp().finally(() => {
        if (!this.#stopped) this.start();
      });
    }, this.#options.reloadMs ?? RELOAD_MS);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** Never throws; one at a time. */
  #catchUp(): Promise<void> {
    const { directory, rates, logger } = this.#options;
    this.#catchingUp ??= Promise.all([directory.catchUp(), rates.reload()])
      .then(
        () => undefined,
        (error: unknown) => {
          logger.warn({ err: error }, 'the directory could not be read anew');
        },
      )
      .finally(() => (this.#catchingUp = undefined));
    return this.#catchingUp;
  }

  /**
   * Makes a committed change effective. Never throws: the write has happened, and the reload heals what fails
   * here.
   */
  async announce(change: Change): Promise<void> {
    this.#options.redis
      .publish(CHANNEL, JSON.stringify({ from: this.#options.self, ...change }))
      .catch((error: unknown) => {
        this.#options.logger.warn(
          { err: error, ...change },
          'a change could not be told to the other control processes',
        );
      });
    await within(PATIENCE_MS, this.#apply(change)).catch(() => undefined);
  }

  async #apply(change: Change): Promise<void> {
    this.#options.forget(change);
    try {
      if (change.room === 'rates') return await this.#options.rates.refresh(change.id);
      const touched = await this.#options.directory.refresh(change);
      await Promise.all(this.#options.syncs.map((sync) => sync.push(touched)));
    } catch (error) {
      this.#options.logger.warn(
        { err: error, ...change },
        'a change is not effective yet; the next reload repairs that',
      );
    }
  }
}

function readNews(text: string): z.infer<typeof News> | undefined {
  try {
    return News.parse(JSON.parse(text));
  } catch {
    return undefined; // Anybody may write to Redis who can reach it.
  }
}

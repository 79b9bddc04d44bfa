import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Change } from '../lib/changes.ts';
import type { Logger } from '../lib/logger.ts';
import type { Directory } from './directory.ts';
import type { EdgeSync } from './edge-sync.ts';

const CHANNEL = 'minivoice:changes';
/** The reply to an API write waits so long for a Kamailio that does not answer; the heartbeat brings it the change later. */
const PATIENCE_MS = 800;
const News = z.object({ from: z.string(), room: z.enum(['customers', 'applications', 'dids', 'trunks', 'rates']), id: z.string() });

/** Everything is read anew so often, so that a change whose news was lost heals. */
const RELOAD_MS = 30_000;

interface Options {
  directory: Directory;
  syncs: readonly EdgeSync[];
  /** What else remembers: the API keys. */
  forget: () => void;
  /** The prices in memory; `reload` reads them only if they have changed. */
  rates: { refresh(id: string): Promise<void>; reload(): Promise<void> };
  redis: Redis;
  /** A connection of its own, which others may listen on too: a subscribed one can do nothing else. */
  subscriber: Redis;
  /** Tells this process's own news from others'. */
  self: string;
  logger: Logger;
}

/** Carries a change made through any API to the directory, to every Kamailio and, by Redis, to every other control process. */
export class ChangeFeed {
  readonly #options: Options;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: Options) {
    this.#options = options;
  }

  start(): void {
    const { subscriber, self, logger } = this.#options;
    subscriber.on('message', (channel: string, text: string) => {
      const news = channel === CHANNEL ? readNews(text) : undefined;
      if (news && news.from !== self) void this.#apply(news);
    });
    const subscribe = (): void => {
      subscriber.subscribe(CHANNEL).catch((error: unknown) => logger.warn({ err: error }, 'changes of other control processes arrive by the periodic reload alone'));
    };
    // Again on every connection: the first one may come long after our start.
    subscriber.on('ready', subscribe);
    if (subscriber.status === 'ready') subscribe();
    const tick = (): void => {
      this.#timer = setTimeout(() => {
        const numbers = this.#options.directory.load().then(() => Promise.all(this.#options.syncs.map((sync) => sync.push())));
        void Promise.all([numbers, this.#options.rates.reload()]).catch((error: unknown) => {
          logger.warn({ err: error }, 'the directory could not be read anew');
        }).finally(tick);
      }, RELOAD_MS);
    };
    tick();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  /** Makes a committed change effective. Never throws: the write has happened, and the reload heals what fails here. */
  async announce(change: Change): Promise<void> {
    this.#options.redis.publish(CHANNEL, JSON.stringify({ from: this.#options.self, ...change })).catch((error: unknown) => {
      this.#options.logger.warn({ err: error, ...change }, 'a change could not be told to the other control processes');
    });
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([this.#apply(change), new Promise((resolve) => { timer = setTimeout(resolve, PATIENCE_MS); })]);
    clearTimeout(timer);
  }

  async #apply(change: Change): Promise<void> {
    if (change.room === 'customers' || change.room === 'applications') this.#options.forget();
    try {
      if (change.room === 'rates') return await this.#options.rates.refresh(change.id);
      const numbers = await this.#options.directory.refresh(change);
      await Promise.all(this.#options.syncs.map((sync) => sync.push(numbers)));
    } catch (error) {
      this.#options.logger.warn({ err: error, ...change }, 'a change is not effective yet; the next reload repairs that');
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

import type { WebSocket } from 'ws';
import type { Logger } from '../lib/logger.ts';
import type { StreamStore } from './stream-store.ts';
import type { Tail, Watch } from './tail.ts';

export interface SubscriberOptions {
  ws: WebSocket;
  applicationId: string;
  /** After which it wants events. */
  position: number;
  watch: Watch;
  tail: Pick<Tail, 'horizon'>;
  store: Pick<StreamStore, 'page'>;
  slowMs: number;
  logger: Logger;
}

/** Close codes of our own; what went wrong is in the reason. */
export const CLOSE = { unauthorized: 4001, slow: 4008, talkative: 4029 } as const;

/** A subscriber has nothing to say. So many messages and pings are forgiven between two pings of ours. */
const MOST_MESSAGES = 100;
/** Events read at once: what is in memory for one subscriber has this bound. */
const PAGE = 50;
/** How long one that was told to go has to read that, behind all it has not read yet, in ms. */
const FAREWELL_MS = 10_000;

/**
 * One connected WebSocket: reads its application's events from the database and sends them, a page at a time.
 */
export class Subscriber {
  readonly #o: SubscriberOptions;
  #position: number;
  #closed = false;
  #alive = true;
  #messages = 0;

  constructor(options: SubscriberOptions) {
    this.#o = options;
    this.#position = options.position;
    const { ws, watch } = options;
    ws.on('pong', () => (this.#alive = true));
    for (const kind of ['message', 'ping']) ws.on(kind, () => this.#heard());
    ws.on('error', () => ws.terminate());
    ws.once('close', () => {
      this.#closed = true;
      watch.end();
    });
  }

  /** Sends until the connection ends. Never rejects. */
  async run(): Promise<void> {
    const { watch, tail, store, applicationId, logger } = this.#o;
    let failures = 0;
    while (!this.#closed) {
      const upTo = tail.horizon;
      try {
        const events =
          upTo > this.#position ? await store.page(applicationId, this.#position, upTo, PAGE) : [];
        failures = 0;
        if (events.length > 0 && !(await this.#send(events))) {
          this.end(CLOSE.slow, 'too slow: resume with since');
          return;
        }
        // A page that is not full is the last one up to here.
        this.#position =
          events.length < PAGE ? Math.max(this.#position, upTo) : (events.at(-1)?.position ?? this.#position);
        if (events.length < PAGE) await watch.more(this.#position);
      } catch (error) {
        if (failures++ === 0)
          logger.warn(
            { err: error, application: applicationId },
            'events of a live stream cannot be read; trying again',
          );
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
    }
  }

  /** Asks for a sign of life; one that gave none since the last time is cut. Returns whether it is there. */
  ping(): boolean {
    const { ws } = this.#o;
    if (!this.#alive) {
      ws.terminate();
      return false;
    }
    this.#alive = false;
    this.#messages = 0;
    if (ws.readyState === ws.OPEN) ws.ping();
    return true;
  }

  end(code: number, reason: string, farewellMs = FAREWELL_MS): void {
    const { ws, watch } = this.#o;
    this.#closed = true;
    watch.end();
    ws.close(code, reason);
    setTimeout(() => ws.terminate(), farewellMs).unref();
  }

  #heard(): void {
    this.#alive = true;
    if (++this.#messages !== MOST_MESSAGES + 1) return;
    this.end(CLOSE.talkative, `more than ${MOST_MESSAGES} messages between two pings`, 1000);
  }

  /** Resolves when the network has taken it all: false when that takes too long. */
  async #send(events: readonly { eventId: string; body: string }[]): Promise<boolean> {
    const { ws, slowMs } = this.#o;
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), slowMs);
      const last = events.length - 1;
      events.forEach(({ eventId, body }, index) => {
        // The envelope is the text that is signed for webhooks; the id goes in front of its first field.
        ws.send(
          `{"event_id":${JSON.stringify(eventId)},${body.slice(1)}`,
          index < last
            ? undefined
            : () => {
                clearTimeout(timer);
                resolve(true);
              },
        );
      });
    });
  }
}

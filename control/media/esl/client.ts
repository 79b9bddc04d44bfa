import type { Logger } from '../../lib/logger.ts';
import { EslConnection, type EslConnectionOptions } from './connection.ts';
import { EslError, type EslFailure } from './errors.ts';

export interface EslTimings {
  /** Wait before the first attempt to connect again, in ms; doubled by every failure, with jitter. */
  firstRetryMs: number;
  /** The longest such wait. */
  maxRetryMs: number;
  /** Wait when the node has refused us: nothing gets better by hurrying. */
  deniedRetryMs: number;
  openMs: number;
  commandMs: number;
  keepAliveMs: number;
}

export const ESL_TIMINGS: EslTimings = {
  firstRetryMs: 100,
  maxRetryMs: 5000,
  deniedRetryMs: 30_000,
  openMs: 3000,
  commandMs: 5000,
  keepAliveMs: 5000,
};

export interface EslClientOptions extends Pick<
  EslConnectionOptions,
  'host' | 'port' | 'password' | 'events' | 'unheard' | 'onEvent' | 'maxPending'
> {
  timings: EslTimings;
  logger: Logger;
  /** Called with every new connection, subscribed and ready. */
  onUp: (connection: EslConnection) => void;
  /** Called when a connection that was up has ended. */
  onDown: (reason: EslError) => void;
  /** 0 to 1, for the jitter. */
  random?: () => number;
}

/**
 * Keeps one connection to one node, and makes a new one whenever it ends. What was said on the old one is not
 * said again.
 */
export class EslClient {
  readonly #options: EslClientOptions;
  #connection: EslConnection | undefined;
  #retry: NodeJS.Timeout | undefined;
  #failures = 0;
  /** When the connection was made. */
  #since = 0;
  #running = false;
  /** The failure that was last told, so that a node that stays away fills no log. */
  #told: string | undefined;

  constructor(options: EslClientOptions) {
    this.#options = options;
  }

  get pending(): number {
    return this.#connection?.pending ?? 0;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    void this.#connect();
  }

  stop(): void {
    this.#running = false;
    clearTimeout(this.#retry);
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.close();
  }

  async #connect(): Promise<void> {
    const { host, port, password, events, unheard, onEvent, maxPending, timings, logger } = this.#options;
    try {
      const connection = await EslConnection.open({
        host,
        port,
        password,
        events,
        unheard,
        onEvent,
        maxPending,
        openMs: timings.openMs,
        commandMs: timings.commandMs,
        keepAliveMs: timings.keepAliveMs,
        onClose: (reason) => this.#ended(connection, reason),
      });
      if (!this.#running) return connection.close();
      this.#connection = connection;
      this.#since = performance.now();
      this.#told = undefined;
      logger.info('connected to the media node');
      this.#options.onUp(connection);
    } catch (error) {
      this.#again(error instanceof EslError ? error : new EslError('lost', String(error)));
    }
  }

  #ended(connection: EslConnection, reason: EslError): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    // One that comes and goes at once is no better than one that stays away.
    if (performance.now() - this.#since > this.#options.timings.maxRetryMs) this.#failures = 0;
    this.#options.onDown(reason);
    this.#again(reason);
  }

  #again(reason: EslError): void {
    if (!this.#running) return;
    const { timings, logger, random = Math.random } = this.#options;
    if (this.#told !== reason.kind) {
      this.#told = reason.kind;
      if (reason.kind === 'denied')
        logger.error(
          { reason: reason.message },
          'the media node does not let us in: check FREESWITCH_ESL_PASSWORD and its access list',
        );
      else
        logger.warn({ reason: reason.message }, 'no connection to the media node; trying until there is one');
    }
    this.#retry = setTimeout(
      () => void this.#connect(),
      retryDelay(reason.kind, this.#failures++, timings, random()),
    );
  }
}

/**
 * How long to wait before the next attempt, in ms: doubled by every failure, and between half of that and all
 * of it, so that many processes do not knock at once.
 */
export function retryDelay(kind: EslFailure, failures: number, timings: EslTimings, random: number): number {
  const longest =
    kind === 'denied'
      ? timings.deniedRetryMs
      : Math.min(timings.maxRetryMs, timings.firstRetryMs * 2 ** Math.min(failures, 16));
  return longest * (0.5 + random / 2);
}

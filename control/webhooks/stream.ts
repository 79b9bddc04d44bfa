import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import { refuseInactive, type Authenticator } from '../http/auth.ts';
import { parse, type CustomerCaller } from '../http/endpoint.ts';
import { errorReply } from '../http/errors.ts';
import type { RequestLimits } from '../http/request-limits.ts';
import { declineUpgrade } from '../http/upgrades.ts';
import { ApiError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { STREAM_PATH, streamQuery } from './stream-routes.ts';
import type { StreamStore } from './stream-store.ts';
import { CLOSE, Subscriber } from './subscriber.ts';
import type { Tail } from './tail.ts';

export interface EventStreamOptions {
  store: Pick<StreamStore, 'newest' | 'positionOf' | 'newestOf' | 'page'>;
  tail: Tail;
  authenticator: Pick<Authenticator, 'authenticate'>;
  limits: RequestLimits;
  requestId: () => string;
  logger: Logger;
  /** Between two pings; who has not answered one by the next is cut. In ms. */
  heartbeatMs?: number;
  /** How long a subscriber may take to read what it was sent, in ms. */
  slowMs?: number;
  perApplication?: number;
  inAll?: number;
}

/** What a subscriber has no reason to send. */
const LARGEST_MESSAGE = 4096;

/**
 * `GET /v1/events` as a WebSocket: an application's events as they are committed, by whatever process, each
 * in a text frame that is the webhook's envelope with `event_id` before it. The database is the buffer: a
 * subscriber reads on when it has taken what it was sent.
 */
export class EventStream {
  readonly #o: EventStreamOptions;
  readonly #sockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: LARGEST_MESSAGE,
  });
  readonly #subscribers = new Map<Subscriber, { applicationId: string; authorization: string | undefined }>();
  readonly #positions = new WeakMap<IncomingMessage, string>();
  #heartbeat: NodeJS.Timeout | undefined;
  #stopping = false;

  constructor(options: EventStreamOptions) {
    this.#o = options;
    this.#sockets.on('headers', (headers, request) => {
      const eventId = this.#positions.get(request);
      if (eventId !== undefined) headers.push(`X-MiniVoice-Event-Id: ${eventId}`);
    });
  }

  /** Connected subscribers. */
  get size(): number {
    return this.#subscribers.size;
  }

  attach(server: Server): void {
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      if (pathOf(request) !== STREAM_PATH || request.headers.upgrade?.toLowerCase() !== 'websocket')
        return declineUpgrade(server, request, socket, head);
      socket.on('error', () => socket.destroy());
      this.#accept(request, socket, head).catch((error: unknown) => this.#refuse(socket, error));
    });
    this.#heartbeat = setInterval(() => void this.#beat(), this.#o.heartbeatMs ?? 20_000);
  }

  /** Tells every subscriber to come back to another process. */
  stop(): void {
    this.#stopping = true;
    clearInterval(this.#heartbeat);
    for (const subscriber of this.#subscribers.keys())
      subscriber.end(1001, 'this process ends; come back with since', 1000);
  }

  async #accept(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const { store, tail, authenticator, limits } = this.#o;
    const address = limits.addressOf(request);
    limits.address(address);
    const authorization = request.headers.authorization;
    const caller = (await authenticator.authenticate('customer', authorization, address)) as CustomerCaller;
    limits.key(caller.applicationId);
    refuseInactive({ method: 'get' }, caller);
    const { applicationId } = caller;
    const { since } = parse(
      streamQuery,
      Object.fromEntries(new URL(request.url ?? '', 'http://localhost').searchParams),
    );
    this.#refuseTooMany(applicationId);
    // Watched before the end is read, so that nothing is committed unseen in between.
    const watch = await tail.watch(applicationId);
    let from: number | undefined;
    try {
      from =
        since === undefined
          ? await store.newest()
          : since === 'earliest'
            ? 0
            : await store.positionOf(applicationId, since);
      if (from === undefined)
        throw new ApiError('not_found', 'the event of `since` is not known, or not kept any more');
      const last = since === undefined ? await store.newestOf(applicationId, from) : since;
      if (last !== undefined && last !== 'earliest') this.#positions.set(request, last);
      this.#refuseTooMany(applicationId);
    } catch (error) {
      watch.end();
      throw error;
    }
    const position = from;
    socket.once('close', watch.end); // also when the handshake comes to nothing
    this.#sockets.handleUpgrade(request, socket, head, (ws: WebSocket) => {
      const subscriber = new Subscriber({
        ws,
        applicationId,
        position,
        watch,
        tail,
        store,
        slowMs: this.#o.slowMs ?? 10_000,
        logger: this.#o.logger,
      });
      this.#subscribers.set(subscriber, { applicationId, authorization });
      void subscriber.run().finally(() => this.#subscribers.delete(subscriber));
    });
  }

  /** @throws ApiError rate_limited, service_unavailable */
  #refuseTooMany(applicationId: string): void {
    if (this.#stopping || this.#subscribers.size >= (this.#o.inAll ?? 1000))
      throw new ApiError('service_unavailable', undefined, { retryAfter: 1 });
    const own = [...this.#subscribers.values()].filter((one) => one.applicationId === applicationId).length;
    const most = this.#o.perApplication ?? 20;
    if (own >= most)
      throw new ApiError('rate_limited', `at most ${most} live streams of one application`, {
        retryAfter: 60,
      });
  }

  #refuse(socket: Duplex, error: unknown): void {
    const requestId = this.#o.requestId();
    const { status, body, headers } = errorReply(error, requestId, this.#o.logger);
    const text = JSON.stringify(body);
    const lines = [
      `HTTP/1.1 ${status} Refused`,
      'Connection: close',
      'Content-Type: application/json; charset=utf-8',
      `Content-Length: ${Buffer.byteLength(text)}`,
      `X-Request-Id: ${requestId}`,
      ...Object.entries(headers ?? {}).map(([name, value]) => `${name}: ${value}`),
    ];
    socket.once('finish', () => socket.destroy());
    socket.end(`${lines.join('\r\n')}\r\n\r\n${text}`);
  }

  async #beat(): Promise<void> {
    await Promise.all(
      [...this.#subscribers].map(async ([subscriber, { authorization }]) => {
        if (!subscriber.ping()) return;
        try {
          refuseInactive(
            { method: 'get' },
            await this.#o.authenticator.authenticate('customer', authorization),
          );
        } catch (error) {
          // A key that was taken away ends what it has begun; a database that is away does not.
          if (!(error instanceof ApiError)) return;
          if (error.code === 'unauthorized')
            subscriber.end(CLOSE.unauthorized, 'the API key is not valid any more');
          if (error.code === 'application_disabled') subscriber.end(CLOSE.unauthorized, error.message);
        }
      }),
    );
  }
}

const pathOf = (request: IncomingMessage): string => (request.url ?? '').split('?', 1)[0] ?? '';

import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type z, ZodError } from 'zod';
import { CALL_HEADERS } from '../lib/call-headers.ts';
import type { Logger } from '../lib/logger.ts';
import { DialogNotice, RouteRequest, type Decisions } from './decisions.ts';
import { TriesNotice } from './tries.ts';

const MAX_BYTES = 64 * 1024;
const REFUSED_LOG_MS = 60_000;
/** As node writes it. */
const EDGE_TOKEN = CALL_HEADERS.edgeToken.toLowerCase();

/** What this process tells of itself, for Prometheus. */
type Metrics = { contentType: string; metrics(): Promise<string> };

interface EdgeListenerOptions {
  decisions: Decisions;
  /** Which Kamailio must know. */
  token: string;
  /** Called with the seconds that a decision took. */
  observe: (seconds: number) => void;
  /** Told of trunks that did not take a call. */
  tried: (notice: z.output<typeof TriesNotice>) => void;
  metrics: Metrics;
  logger: Logger;
}

/**
 * The HTTP listener of the inside: Kamailio's `POST /route` for a decision and `POST /dialog` for what
 * happened to calls (an array of notices), and `GET /metrics`, which is nothing for customers to read. Bare
 * node:http, since express costs four times as much on this path, and apart from the public API.
 */
export class EdgeListener {
  readonly #server: Server;
  readonly #decisions: Decisions;
  readonly #token: Buffer;
  readonly #logger: Logger;
  readonly #observe: (seconds: number) => void;
  readonly #metrics: Metrics;
  readonly #tried: (notice: z.output<typeof TriesNotice>) => void;
  /** Requests without our token since that was last logged, and when it may be again. */
  #refused = { count: 0, logAgainAt: 0 };

  constructor({ decisions, token, logger, observe, metrics, tried }: EdgeListenerOptions) {
    this.#decisions = decisions;
    this.#token = digest(token);
    this.#logger = logger;
    this.#observe = observe;
    this.#metrics = metrics;
    this.#tried = tried;
    this.#server = createServer(
      { keepAlive: true, keepAliveTimeout: 60_000, requestTimeout: 5000 },
      (request, response) => this.#handle(request, response),
    );
  }

  listen(port: number, host: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => resolve());
    });
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeIdleConnections();
      setTimeout(() => this.#server.closeAllConnections(), 1000).unref();
    });
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    if (request.method === 'GET' && request.url === '/metrics') return void this.#measure(response);
    const began = performance.now();
    const token = request.headers[EDGE_TOKEN];
    if (
      request.method !== 'POST' ||
      typeof token !== 'string' ||
      !timingSafeEqual(digest(token), this.#token)
    ) {
      request.resume();
      this.#tellRefused(request);
      return send(response, 403, '{}');
    }
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= MAX_BYTES) chunks.push(chunk);
    });
    request.on('end', () => {
      if (size > MAX_BYTES) return send(response, 413, '{}');
      const body = (chunks.length === 1 ? chunks[0] : Buffer.concat(chunks))?.toString('utf8') ?? '';
      const failed = (error: unknown): void => {
        this.#logger.error({ err: error, path: request.url }, 'a request of kamailio could not be answered');
        send(response, error instanceof SyntaxError || error instanceof ZodError ? 400 : 500, '{}');
      };
      const done = (): void => {
        if (request.url === '/route') this.#observe((performance.now() - began) / 1000);
      };
      try {
        const answer = this.#answer(request.url ?? '', body);
        if (answer instanceof Promise)
          return void answer.then((reply) => send(response, ...reply), failed).then(done);
        send(response, ...answer);
      } catch (error) {
        failed(error);
      }
      done();
    });
    request.on('error', () => response.destroy());
  }

  async #measure(response: ServerResponse): Promise<void> {
    try {
      const text = await this.#metrics.metrics();
      response.writeHead(200, { 'content-type': this.#metrics.contentType }).end(text);
    } catch (error) {
      this.#logger.error({ err: error }, 'the metrics could not be made');
      send(response, 500, '{}');
    }
  }

  #answer(path: string, body: string): Reply | Promise<Reply> {
    if (path === '/route') {
      const decision = this.#decisions.decide(RouteRequest.parse(JSON.parse(body)));
      return decision instanceof Promise
        ? decision.then((made) => [200, JSON.stringify(made)])
        : [200, JSON.stringify(decision)];
    }
    if (path !== '/dialog') return [404, '{}'];
    const notices: unknown = JSON.parse(body);
    for (const notice of Array.isArray(notices) ? notices : [notices]) this.#hear(notice);
    return [200, '{}'];
  }

  /** One notice that cannot be read must not keep those behind it, which are about other calls. */
  #hear(notice: unknown): void {
    try {
      const tried = TriesNotice.safeParse(notice);
      if (tried.success) return this.#tried(tried.data);
      const told = DialogNotice.parse(notice);
      if (told.tries && told.call)
        this.#tried({ event: 'tried', call: told.call, tries: told.tries, last: 0 });
      this.#decisions.notice(told);
    } catch (error) {
      this.#logger.error({ err: error, notice }, 'a notice of Kamailio could not be acted on');
    }
  }

  /** One line a minute, however many there are: a Kamailio with another token refuses every call. */
  #tellRefused({ socket }: IncomingMessage): void {
    this.#refused.count++;
    if (Date.now() < this.#refused.logAgainAt) return;
    this.#logger.warn(
      { from: socket.remoteAddress, requests: this.#refused.count },
      'a request for a decision was refused: it has another EDGE_TOKEN than the control plane, and its calls get 503',
    );
    this.#refused = { count: 0, logAgainAt: Date.now() + REFUSED_LOG_MS };
  }
}

type Reply = [status: number, body: string];

// Hashed, so that both sides of the comparison have the same length.
const digest = (token: string): Buffer => createHash('sha256').update(token).digest();

function send(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
}

import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Logger } from '../lib/logger.ts';
import { DialogNotice, RouteRequest, type Decisions } from './decisions.ts';

const MAX_BYTES = 64 * 1024;

/**
 * The HTTP listener Kamailio talks to: `POST /route` for a decision, `POST /dialog` for what happened to a call. Bare
 * node:http, since express costs four times as much on this path, and apart from the public API.
 */
export class EdgeListener {
  readonly #server: Server;
  readonly #decisions: Decisions;
  readonly #token: Buffer;
  readonly #logger: Logger;
  readonly #observe: (seconds: number) => void;

  constructor({ decisions, token, logger, observe }: { decisions: Decisions; token: string; logger: Logger; observe: (seconds: number) => void }) {
    this.#decisions = decisions;
    this.#token = digest(token);
    this.#logger = logger;
    this.#observe = observe;
    this.#server = createServer({ keepAlive: true, keepAliveTimeout: 60_000, requestTimeout: 5000 }, (request, response) => this.#handle(request, response));
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
    const began = performance.now();
    const token = request.headers['x-mv-edge-token'];
    if (request.method !== 'POST' || typeof token !== 'string' || !timingSafeEqual(digest(token), this.#token)) {
      request.resume();
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
        send(response, error instanceof SyntaxError ? 400 : 500, '{}');
      };
      const done = (): void => {
        if (request.url === '/route') this.#observe((performance.now() - began) / 1000);
      };
      try {
        const answer = this.#answer(request.url ?? '', body);
        if (answer instanceof Promise) return void answer.then((reply) => send(response, ...reply), failed).then(done);
        send(response, ...answer);
      } catch (error) {
        failed(error);
      }
      done();
    });
    request.on('error', () => response.destroy());
  }

  #answer(path: string, body: string): Reply | Promise<Reply> {
    if (path === '/route') {
      const decision = this.#decisions.decide(RouteRequest.parse(JSON.parse(body)));
      return decision instanceof Promise ? decision.then((made) => [200, JSON.stringify(made)]) : [200, JSON.stringify(decision)];
    }
    if (path !== '/dialog') return [404, '{}'];
    this.#decisions.notice(DialogNotice.parse(JSON.parse(body)));
    return [200, '{}'];
  }
}

type Reply = [status: number, body: string];

// Hashed, so that both sides of the comparison have the same length.
const digest = (token: string): Buffer => createHash('sha256').update(token).digest();

function send(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

import http, { type IncomingHttpHeaders } from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import { createAgents, createResolve, Refusal, type Agents, type Guard, type Resolve } from './guarded-agent.ts';
import { checkUrl, FetchError, type FetchErrorKind } from './guarded-url.ts';

export { isPublicAddress } from './addresses.ts';
export type { Resolve } from './guarded-agent.ts';
export { checkUrl, FetchError, type FetchErrorKind } from './guarded-url.ts';

export interface FetchRequest {
  method?: 'GET' | 'POST';
  headers?: Record<string, string>;
  /** The exact bytes to send; only with POST. */
  body?: string | Buffer;
  /** For everything together, redirects and body included, in ms. Default 5000. */
  timeoutMs?: number;
  /** Default 256 KiB. A longer reply is an error of kind `too_large`, unless `truncate`. */
  maxBodyBytes?: number;
  /** Take the first `maxBodyBytes` of a longer reply instead of failing. */
  truncate?: boolean;
  /** Redirects followed, each checked anew. Default 0: a 3xx is a reply like any other. */
  maxRedirects?: number;
  /** The receiver can tell a repeated POST: it is sent again when a kept connection turns out to have been closed. */
  idempotent?: boolean;
  signal?: AbortSignal;
}

export interface FetchReply {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
  /** Whether the body was cut at `maxBodyBytes`. */
  truncated: boolean;
  /** Where the reply came from, after redirects. */
  url: string;
  redirects: number;
  /** The address it came from. */
  address: string;
  tookMs: number;
}

export interface GuardedFetch {
  /** @throws FetchError for everything but an HTTP reply. Any status is a reply. */
  fetch(url: string, request?: FetchRequest): Promise<FetchReply>;
  /** Ends kept connections, and with them whatever still runs on them. */
  close(): void;
}

export interface GuardedFetchOptions extends Partial<Omit<Guard, 'allowPrivate'>> {
  /** The development profile: loopback may be reached. No other private address ever may. */
  allowPrivate: boolean;
  resolve?: Resolve;
  userAgent?: string;
}

/**
 * HTTP requests to customers' URLs that reach public addresses and nothing else (OWASP SSRF prevention): every
 * address a name resolves to is checked, and only these are connected to. No cookies, no proxies, no compression
 * (identity is asked for), no credentials in URLs.
 */
export function createGuardedFetch(options: GuardedFetchOptions): GuardedFetch {
  const guard: Guard = {
    allowPrivate: options.allowPrivate,
    resolve: options.resolve ?? createResolve(),
    connectTimeoutMs: options.connectTimeoutMs ?? 2000,
    maxSocketsPerHost: options.maxSocketsPerHost ?? 256,
    ca: options.ca,
  };
  const agents = createAgents(guard);
  const userAgent = options.userAgent ?? 'MiniVoice';
  return {
    fetch: (url, request = {}) => new Exchange(agents, guard, { 'user-agent': userAgent, ...lowerCased(request.headers) }, request).run(url),
    close: () => agents.destroy(),
  };
}

const lowerCased = (headers: Record<string, string> = {}): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));

const REDIRECTS = new Set([301, 302, 303, 307, 308]);

interface Hop {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
  truncated: boolean;
  address: string;
}

/** One request with its redirects, on one clock. */
class Exchange {
  readonly #agents: Agents;
  readonly #guard: Guard;
  readonly #request: FetchRequest;
  readonly #began = performance.now();
  readonly #timeoutMs: number;
  readonly #maxBodyBytes: number;
  #method: 'GET' | 'POST';
  #headers: Record<string, string>;
  #body: string | Buffer | undefined;
  #connected = false;

  constructor(agents: Agents, guard: Guard, headers: Record<string, string>, request: FetchRequest) {
    this.#agents = agents;
    this.#guard = guard;
    this.#request = request;
    this.#timeoutMs = request.timeoutMs ?? 5000;
    this.#maxBodyBytes = request.maxBodyBytes ?? 256 * 1024;
    this.#method = request.method ?? 'GET';
    this.#headers = headers;
    this.#body = request.body;
  }

  async run(url: string): Promise<FetchReply> {
    let current = this.#check(url);
    for (let redirects = 0; ; redirects++) {
      const hop = await this.#hop(current);
      const location = hop.headers.location;
      if (!this.#request.maxRedirects || !REDIRECTS.has(hop.status) || location === undefined) {
        return { ...hop, url: current.href, redirects, tookMs: this.#tookMs() };
      }
      if (redirects === this.#request.maxRedirects) throw this.#error('too_many_redirects', `more than ${redirects} redirects, the last one to ${location}`, current.href);
      if (!URL.canParse(location, current.href)) throw this.#error('invalid_url', 'redirected to something that is not a valid URL', current.href);
      const next = this.#check(new URL(location, current).href);
      this.#redirect(hop.status, current, next);
      current = next;
    }
  }

  #tookMs(): number {
    return Math.round(performance.now() - this.#began);
  }

  #error(kind: FetchErrorKind, message: string, url: string): FetchError {
    return new FetchError(kind, message, { url, connected: this.#connected, tookMs: this.#tookMs() });
  }

  #check(url: string): URL {
    try {
      return checkUrl(url, this.#guard);
    } catch (error) {
      throw error instanceof FetchError ? this.#error(error.kind, error.message, url) : error;
    }
  }

  /** The rules of fetch: 303 always asks with GET, 301 and 302 do after a POST; what was meant for one origin stays there. */
  #redirect(status: number, from: URL, to: URL): void {
    if (this.#method === 'POST' && status !== 307 && status !== 308) {
      this.#method = 'GET';
      this.#body = undefined;
      this.#drop('content-type', 'content-length', 'content-encoding', 'content-language');
    }
    if (from.origin !== to.origin) this.#drop('authorization', 'cookie');
  }

  #drop(...names: string[]): void {
    this.#headers = Object.fromEntries(Object.entries(this.#headers).filter(([name]) => !names.includes(name)));
  }

  async #hop(url: URL): Promise<Hop> {
    try {
      return await this.#once(url);
    } catch (error) {
      if (error instanceof StaleConnection && (this.#method === 'GET' || this.#request.idempotent)) return this.#once(url);
      throw error;
    }
  }

  /** One request and its reply. Whatever ends it first settles it, and nothing of it goes on after that. */
  #once(url: URL): Promise<Hop> {
    return new Promise((resolve, reject) => {
      let reused = false;
      const at = { connected: false, secured: url.protocol === 'http:' };
      let replied = false;
      let ended = false;
      let settled = false;
      const { signal } = this.#request;
      const fail = (kind: FetchErrorKind, message: string) => settle(() => reject(this.#error(kind, message, url.href)));
      const abort = () => fail('aborted', 'the request was given up');
      const remaining = this.#timeoutMs - (performance.now() - this.#began);
      if (signal?.aborted) return reject(this.#error('aborted', 'the request was given up', url.href));
      if (remaining <= 0) return reject(this.#error('timeout', `no complete reply within ${this.#timeoutMs} ms`, url.href));

      const settle = (done: () => void) => {
        settled = true;
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
        done();
        if (!ended) outgoing?.destroy(); // a reply read to its end leaves its connection for the next request
      };
      const timer = setTimeout(() => fail('timeout', `no complete reply within ${this.#timeoutMs} ms`), remaining);
      signal?.addEventListener('abort', abort);
      const broken = (error: unknown) => {
        if (settled) return;
        const [kind, message] = explain(error, at);
        const failure = this.#error(kind, message, url.href);
        settle(() => reject(kind === 'reset' && reused && !replied ? new StaleConnection(failure) : failure));
      };

      let outgoing: http.ClientRequest | undefined;
      try {
        const secure = url.protocol === 'https:';
        outgoing = (secure ? https : http).request(url, {
          method: this.#method, headers: { ...this.#headers, 'accept-encoding': 'identity' }, agent: secure ? this.#agents.https : this.#agents.http,
        });
      } catch (error) {
        broken(error); // a header that cannot be sent
        return;
      }
      const request = outgoing;
      request.once('socket', (socket: Socket) => {
        reused = request.reusedSocket;
        const connected = () => (at.connected = this.#connected = true);
        if (reused) at.secured = connected();
        else socket.once('connect', connected).once('secureConnect', () => (at.secured = true));
      });
      request.on('error', broken);
      request.once('close', () => broken(new Error('the connection ended')));
      request.once('response', (response) => {
        replied = true;
        const address = response.socket.remoteAddress ?? '';
        const chunks: Buffer[] = [];
        let size = 0;
        const finish = (truncated: boolean) => settle(() => resolve({
          status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks, Math.min(size, this.#maxBodyBytes)), truncated, address,
        }));
        response.on('error', broken);
        response.on('data', (chunk: Buffer) => {
          chunks.push(chunk);
          size += chunk.length;
          if (size <= this.#maxBodyBytes) return;
          if (this.#request.truncate) finish(true);
          else fail('too_large', `the reply is larger than ${this.#maxBodyBytes} bytes`);
        });
        response.on('end', () => {
          ended = true;
          finish(false);
        });
      });
      request.end(this.#body);
    });
  }
}

/** A kept connection that the server had closed: nothing came back, and the request may be sent again by who knows it is safe. */
class StaleConnection extends FetchError {
  constructor(error: FetchError) {
    super(error.kind, error.message, error);
  }
}

/** What node says of a failure, in words for the developer whose server it is. */
function explain(error: unknown, state: { connected: boolean; secured: boolean }): [FetchErrorKind, string] {
  let cause = error;
  while (cause instanceof Error && !(cause instanceof Refusal) && cause.cause instanceof Error) cause = cause.cause;
  if (cause instanceof Refusal) return [cause.kind, cause.message];
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const text = code || (cause instanceof Error ? cause.message : 'unknown failure');
  if (code === 'HPE_HEADER_OVERFLOW') return ['too_large', 'the headers of the reply are too large'];
  if (code.startsWith('HPE_')) return ['bad_response', `the reply is not valid HTTP (${text})`];
  if (!state.connected) return [code === 'ETIMEDOUT' ? 'connect_timeout' : 'connect', `could not connect (${text})`];
  if (!state.secured) return ['tls', `no TLS connection (${code === 'EPROTO' || !(cause instanceof Error) ? text : cause.message})`];
  return ['reset', `the connection was closed before the reply was complete (${text})`];
}

import http, { type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import { createAgents, createResolve, type Agents, type Guard, type Resolve } from './guarded-agent.ts';
import { explain, StaleConnection } from './guarded-failure.ts';
import {
  checkUrl,
  FetchError,
  LONGEST_SENT,
  targetOf,
  type FetchErrorKind,
  type Target,
} from './guarded-url.ts';
import { unpacked, UnreadableBody } from './reply-body.ts';

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
  /** Default 256 KiB. A longer reply is an error of kind `too_large`, unless `partial`. */
  maxBodyBytes?: number;
  /**
   * The status is what counts: of the body the first `maxBodyBytes` are taken that come within so many ms
   * after it, whatever becomes of the rest.
   */
  partial?: { withinMs: number };
  /**
   * Headers that sign a request: called for each one that is made, redirected ones too, with its body, or the
   * raw query where it has none. No host but the first one is sent any.
   */
  sign?: (signed: string | Buffer) => Record<string, string>;
  /** Redirects followed, each checked anew. Default 0: a 3xx is a reply like any other. */
  maxRedirects?: number;
  /**
   * The receiver can tell a repeated POST: it is sent again when a kept connection turns out to have been
   * closed.
   */
  idempotent?: boolean;
  signal?: AbortSignal;
}

export interface FetchReply {
  status: number;
  headers: IncomingHttpHeaders;
  /** Unpacked, where it came as gzip. */
  body: Buffer;
  /**
   * Why the body is not what was meant, and as it came instead: a content coding that is not known, or
   * broken.
   */
  unreadable: UnreadableBody | undefined;
  /** Whether there was more of the body. */
  truncated: boolean;
  /** Where the reply came from, after redirects. */
  url: string;
  redirects: number;
  /** The address it came from. */
  address: string;
  tookMs: number;
}

/** For one connection to one host, in ms. */
export const CONNECT_TIMEOUT_MS = 2000;

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
 * HTTP requests to customers' URLs that reach public addresses and nothing else (OWASP SSRF prevention):
 * every address a name resolves to is checked, and only these are connected to. No cookies, no proxies, no
 * compression asked for, no credentials in URLs. Replies are read as leniently as other clients read them.
 */
export function createGuardedFetch(options: GuardedFetchOptions): GuardedFetch {
  const guard: Guard = {
    allowPrivate: options.allowPrivate,
    resolve: options.resolve ?? createResolve(),
    connectTimeoutMs: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    maxSocketsPerHost: options.maxSocketsPerHost ?? 256,
    ca: options.ca,
  };
  const agents = createAgents(guard);
  const userAgent = options.userAgent ?? 'MiniVoice';
  return {
    fetch: (url, request = {}) =>
      new Exchange(agents, guard, { 'user-agent': userAgent, ...lowerCased(request.headers) }, request).run(
        url,
      ),
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
    let current = targetOf(this.#check(url), url);
    const { hostname } = current.url;
    for (let redirects = 0; ; redirects++) {
      const hop = await this.#hop(current, current.url.hostname === hostname);
      const location = locationOf(hop.headers);
      if (!this.#request.maxRedirects || !REDIRECTS.has(hop.status) || location === undefined) {
        return { ...hop, ...(await this.#unpack(hop)), url: current.href, redirects, tookMs: this.#tookMs() };
      }
      if (redirects === this.#request.maxRedirects)
        throw this.#error(
          'too_many_redirects',
          `more than ${redirects} redirects, the last one to ${location}`,
          current.href,
        );
      if (!URL.canParse(location, current.url.href))
        throw this.#error('invalid_url', 'redirected to something that is not a valid URL', current.href);
      const next = targetOf(this.#check(new URL(location, current.url).href), location);
      this.#redirect(hop.status, current.url, next.url);
      current = next;
    }
  }

  async #unpack({ headers, body }: Hop): Promise<Pick<FetchReply, 'body' | 'unreadable'>> {
    try {
      return {
        body: await unpacked(body, headers['content-encoding'], this.#maxBodyBytes),
        unreadable: undefined,
      };
    } catch (error) {
      if (error instanceof UnreadableBody) return { body, unreadable: error };
      throw error;
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
      return checkUrl(url, { allowPrivate: this.#guard.allowPrivate, longest: LONGEST_SENT });
    } catch (error) {
      throw error instanceof FetchError ? this.#error(error.kind, error.message, url) : error;
    }
  }

  /**
   * The rules of fetch: 303 always asks with GET, 301 and 302 do after a POST; what was meant for one origin
   * stays there.
   */
  #redirect(status: number, from: URL, to: URL): void {
    if (this.#method === 'POST' && status !== 307 && status !== 308) {
      this.#method = 'GET';
      this.#body = undefined;
      this.#drop('content-type', 'content-length', 'content-encoding', 'content-language');
    }
    if (from.origin !== to.origin) this.#drop('authorization', 'cookie');
  }

  #drop(...names: string[]): void {
    this.#headers = Object.fromEntries(
      Object.entries(this.#headers).filter(([name]) => !names.includes(name)),
    );
  }

  /** @param own it goes to the host that was meant, which may see a signature */
  async #hop(target: Target, own: boolean): Promise<Hop> {
    try {
      return await this.#once(target, own);
    } catch (error) {
      const repeatable = this.#method === 'GET' || this.#request.idempotent === true;
      if (error instanceof StaleConnection && repeatable) return this.#once(target, own);
      throw error;
    }
  }

  /** One request and its reply. Whatever ends it first settles it, and nothing of it goes on after that. */
  #once(target: Target, own: boolean): Promise<Hop> {
    return new Promise((resolve, reject) => {
      let reused = false;
      const { url, href } = target;
      const at = { connected: false, secured: url.protocol === 'http:' };
      let reply: { response: IncomingMessage; bytes: number; take: (truncated: boolean) => void } | undefined;
      let ended = false;
      let settled = false;
      let timer: NodeJS.Timeout | undefined;
      let patience: NodeJS.Timeout | undefined;
      let outgoing: http.ClientRequest | undefined;
      const { signal, partial, sign } = this.#request;
      const settle = (done: () => void) => {
        if (settled) return;
        settled = true;
        clearTimeout(timer);
        clearTimeout(patience);
        signal?.removeEventListener('abort', abort);
        done();
        if (!ended) outgoing?.destroy(); // a reply read to its end leaves its connection for the next request
      };
      const fail = (kind: FetchErrorKind, message: string) =>
        partial && reply ? reply.take(true) : settle(() => reject(this.#error(kind, message, href)));
      const abort = () => fail('aborted', 'the request was given up');
      const remaining = this.#timeoutMs - (performance.now() - this.#began);
      const late = () => fail('timeout', lateness(this.#timeoutMs, reply));
      if (signal?.aborted) return abort();
      if (remaining <= 0) return late();
      timer = setTimeout(late, remaining);
      signal?.addEventListener('abort', abort);
      const broken = (error: unknown) => {
        // What is behind the end of a reply, where nothing belongs, ends the connection but not the reply.
        if (settled || reply?.response.complete) return;
        const [kind, message] = explain(error, at);
        // What an earlier reply has left behind on a kept connection breaks it, too.
        if ((kind === 'reset' || kind === 'bad_response') && reused && !reply)
          settle(() => reject(new StaleConnection(this.#error(kind, message, href))));
        else fail(kind, message);
      };

      try {
        const secure = url.protocol === 'https:';
        outgoing = (secure ? https : http).request(url, {
          path: target.path,
          method: this.#method,
          headers: {
            ...this.#headers,
            ...(own && sign?.(this.#body ?? target.query)),
            'accept-encoding': 'identity',
          },
          agent: secure ? this.#agents.https : this.#agents.http,
          // of replies: lines that end in LF, chunks beside a length (RFC 9112 §2.2, §6.3)
          insecureHTTPParser: true,
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
        const address = response.socket.remoteAddress ?? '';
        const chunks: Buffer[] = [];
        const take = (truncated: boolean) =>
          settle(() =>
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              address,
              truncated,
              body: Buffer.concat(chunks, Math.min(read.bytes, this.#maxBodyBytes)),
            }),
          );
        const read = { response, bytes: 0, take };
        reply = read;
        if (partial) patience = setTimeout(() => take(true), partial.withinMs);
        response.on('error', broken);
        response.on('data', (chunk: Buffer) => {
          chunks.push(chunk);
          read.bytes += chunk.length;
          if (read.bytes > this.#maxBodyBytes)
            fail('too_large', `the reply is larger than ${this.#maxBodyBytes} bytes`);
        });
        response.on('end', () => {
          ended = !forbiddenBody(response);
          take(false);
        });
      });
      request.end(this.#body);
    });
  }
}

/** Where a redirect leads. Node reads headers as Latin-1; what is UTF-8 in them is read as that. */
function locationOf({ location }: IncomingHttpHeaders): string | undefined {
  const text = location === undefined ? undefined : Buffer.from(location, 'latin1').toString('utf8');
  return text?.includes('\ufffd') ? location : text;
}

/** A 204 has no body (RFC 9110 §15.3.5). What announces one all the same may still send it. */
const forbiddenBody = ({ statusCode, headers }: IncomingMessage): boolean =>
  statusCode === 204 &&
  (Number(headers['content-length'] ?? 0) > 0 || headers['transfer-encoding'] !== undefined);

function lateness(ms: number, reply: { response: IncomingMessage; bytes: number } | undefined): string {
  if (!reply) return `no reply within ${ms} ms`;
  const { statusCode, headers } = reply.response;
  const coding = headers['transfer-encoding'];
  const framing =
    coding === undefined
      ? headers['content-length'] && `Content-Length: ${headers['content-length']}`
      : `Transfer-Encoding: ${coding}`;
  return `no complete reply within ${ms} ms: status ${statusCode} and ${reply.bytes} bytes had come (${framing ?? 'no Content-Length'})`;
}

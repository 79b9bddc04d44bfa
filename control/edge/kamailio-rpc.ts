import { Agent, request } from 'node:http';
import { got, HTTPError, RequestError, type Got } from 'got';
import jsonrpc from 'jsonrpc-lite';

/**
 * Kamailio understood the request and refused it. `code` is its own: 404 for a key that is not there, 500,
 * 400.
 */
export class RpcRefusal extends Error {
  readonly code: number;

  constructor(method: string, code: number, message: string) {
    super(`${method}: ${message} (${code})`);
    this.name = 'RpcRefusal';
    this.code = code;
  }
}

/** Kamailio has not answered in time: it may be busy, or stopped. */
export class RpcSilence extends Error {
  constructor(ms: number) {
    super(`no answer within ${ms} ms`);
    this.name = 'RpcSilence';
  }
}

/** Kamailio does not talk to this control process. */
export class RpcForbidden extends Error {
  constructor(url: string) {
    super(`${url} refuses this control process (403): its address is not in CONTROL_IPS of that Kamailio`);
    this.name = 'RpcForbidden';
  }
}

/** JSON-RPC to one Kamailio. Parameters are positional and typed: Kamailio refuses "1" where it wants 1. */
export class KamailioRpc {
  readonly url: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 16 });
  readonly #got: Got;
  readonly #timeoutMs: number;
  #id = 0;

  constructor(url: string, timeoutMs = 2000) {
    this.url = url;
    this.#timeoutMs = timeoutMs;
    this.#got = got.extend({
      agent: { http: this.#agent },
      timeout: { request: timeoutMs },
      retry: { limit: 0 },
      throwHttpErrors: true,
    });
  }

  /**
   * @param timeoutMs for what takes its time
   * @throws RpcRefusal when Kamailio refuses, RpcForbidden when it does not talk to us at all, got's
   * RequestError when it cannot be reached.
   */
  async call(method: string, params: (string | number)[] = [], timeoutMs?: number): Promise<unknown> {
    let text: string;
    try {
      const body = JSON.stringify(jsonrpc.request(++this.#id, method, params));
      text = await this.#got
        .post(this.url, {
          body,
          headers: { 'content-type': 'application/json' },
          ...(timeoutMs !== undefined && { timeout: { request: timeoutMs } }),
        })
        .text();
    } catch (error) {
      if (error instanceof HTTPError && error.response.statusCode === 403) throw new RpcForbidden(this.url);
      if (!(error instanceof HTTPError) || typeof error.response.body !== 'string') throw withoutBody(error);
      text = error.response.body; // Refusals come with an HTTP error status and a JSON-RPC body.
    }
    const reply = jsonrpc.parse(text);
    if (!Array.isArray(reply) && reply.type === 'success') return reply.payload.result;
    if (!Array.isArray(reply) && reply.type === 'error')
      throw new RpcRefusal(method, reply.payload.error.code, reply.payload.error.message);
    throw new RpcRefusal(method, 0, 'the reply is not JSON-RPC');
  }

  /**
   * One request to our own script beside JSON-RPC: there are hundreds of them at a time, and got takes longer
   * for one than Kamailio. @throws RpcSilence, RpcForbidden, or node's error when it cannot be reached
   */
  tables(what: string, body: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const asked = request(
        new URL(`/TABLES/${what}`, this.url),
        {
          method: 'POST',
          agent: this.#agent,
          headers: { 'content-type': 'text/plain', 'content-length': Buffer.byteLength(body) },
        },
        (response) => {
          let text = '';
          response
            .setEncoding('utf8')
            .on('data', (chunk: string) => (text += chunk))
            .on('error', reject)
            .on('end', () => {
              if (response.statusCode === 200) resolve(text);
              else if (response.statusCode === 403) reject(new RpcForbidden(this.url));
              else
                reject(
                  new RpcRefusal(`/TABLES/${what}`, response.statusCode ?? 0, text.slice(0, 200).trim()),
                );
            });
        },
      );
      const late = setTimeout(() => asked.destroy(new RpcSilence(this.#timeoutMs)), this.#timeoutMs);
      asked
        .on('error', reject)
        .on('close', () => clearTimeout(late))
        .end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** The error shows the whole request to whoever logs it: what is pushed are passwords, too. */
function withoutBody(error: unknown): unknown {
  if (error instanceof RequestError) Object.defineProperty(error, 'options', { enumerable: false });
  return error;
}

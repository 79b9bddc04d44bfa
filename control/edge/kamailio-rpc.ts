import { Agent } from 'node:http';
import { got, HTTPError, type Got } from 'got';
import jsonrpc from 'jsonrpc-lite';

/** Kamailio understood the request and refused it. `code` is its own: 404 for a key that is not there, 500, 400. */
export class RpcRefusal extends Error {
  readonly code: number;

  constructor(method: string, code: number, message: string) {
    super(`${method}: ${message} (${code})`);
    this.name = 'RpcRefusal';
    this.code = code;
  }
}

/** JSON-RPC to one Kamailio. Parameters are positional and typed: Kamailio refuses "1" where it wants 1. */
export class KamailioRpc {
  readonly url: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 16 });
  readonly #got: Got;
  #id = 0;

  constructor(url: string, timeoutMs = 2000) {
    this.url = url;
    this.#got = got.extend({ agent: { http: this.#agent }, timeout: { request: timeoutMs }, retry: { limit: 0 }, throwHttpErrors: true });
  }

  /**
   * @param timeoutMs for what takes its time
   * @throws RpcRefusal when Kamailio refuses, got's RequestError when it cannot be reached.
   */
  async call(method: string, params: (string | number)[] = [], timeoutMs?: number): Promise<unknown> {
    let text: string;
    try {
      const body = JSON.stringify(jsonrpc.request(++this.#id, method, params));
      text = await this.#got.post(this.url, { body, headers: { 'content-type': 'application/json' }, ...(timeoutMs !== undefined && { timeout: { request: timeoutMs } }) }).text();
    } catch (error) {
      if (!(error instanceof HTTPError) || typeof error.response.body !== 'string') throw error;
      text = error.response.body; // Refusals come with an HTTP error status and a JSON-RPC body.
    }
    const reply = jsonrpc.parse(text);
    if (!Array.isArray(reply) && reply.type === 'success') return reply.payload.result;
    if (!Array.isArray(reply) && reply.type === 'error') throw new RpcRefusal(method, reply.payload.error.code, reply.payload.error.message);
    throw new RpcRefusal(method, 0, 'the reply is not JSON-RPC');
  }

  close(): void {
    this.#agent.destroy();
  }
}

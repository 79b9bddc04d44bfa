import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Watched } from '../../../cli/phone/wait.ts';

export interface RouteRequest {
  sip_call_id: string;
  from_tag: string;
  branch: string;
  from: string;
  to: string;
  trunk: string;
  source: string;
}

export interface DialogNotice {
  event: string;
  call: string;
  sip_call_id: string;
  from_tag: string;
  branch: string;
  code: number;
  reason: string;
  by: string;
  to_tag?: string;
  to_caller?: string;
  to_callee?: string;
  caller_routes?: string;
  callee_routes?: string;
  tries?: string;
  last?: number;
}

/**
 * How the stub answers a decision request: JSON, a raw text, an HTTP status, silence, or a closed connection.
 */
export type Answer = object | { status: number } | 'silence' | 'close' | { raw: string };

/**
 * Stands where Kamailio expects the control plane: answers as the test wants, and remembers what it was told.
 */
export class StubControl extends Watched {
  readonly routes: RouteRequest[] = [];
  readonly notices: DialogNotice[] = [];
  /** The text of each decision request as it came. */
  readonly bodies: string[] = [];
  readonly tokens: (string | undefined)[] = [];
  answer: (request: RouteRequest) => Answer | Promise<Answer> = () => ({
    action: 'reject',
    code: 480,
    reason: 'Temporarily Unavailable',
  });
  #server: Server;
  #port = 0;
  #calls = 0;

  private constructor() {
    super();
    this.#server = this.#create();
  }

  static async start(): Promise<StubControl> {
    const stub = new StubControl();
    stub.#server.listen(0, '127.0.0.1');
    await once(stub.#server, 'listening');
    const bound = stub.#server.address();
    stub.#port = typeof bound === 'object' && bound ? bound.port : 0;
    return stub;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** The process is gone: connections are refused. */
  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async comeBack(): Promise<void> {
    this.#server = this.#create();
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  /** A decision to send the call to a media node. */
  media(extra = ''): { action: string; call: string; headers: string } {
    const call = `call_${++this.#calls}`;
    return { action: 'media', call, headers: `X-MV-Call-ID: ${call}\r\nX-MV-Customer: cust_a\r\n${extra}` };
  }

  /** Resolves with the first notice of this event about this call. */
  async notice(event: string, sipCallId: string, timeoutMs = 10_000): Promise<DialogNotice> {
    return this.until(
      () => this.notices.find((notice) => notice.event === event && notice.sip_call_id === sipCallId),
      () => `the notice ${event}; there are ${JSON.stringify(this.notices)}`,
      timeoutMs,
    );
  }

  #create(): Server {
    return createServer((request, response) => void this.#serve(request, response)).unref();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = '';
    for await (const chunk of request) text += String(chunk);
    this.tokens.push(request.headers['x-mv-edge-token']?.toString());
    if (request.url === '/dialog') {
      this.notices.push(...(JSON.parse(text) as DialogNotice[]));
      response.writeHead(204).end();
      return this.changed();
    }
    this.bodies.push(text);
    const route = JSON.parse(text) as RouteRequest;
    this.routes.push(route);
    this.changed();
    const answer = await this.answer(route);
    if (answer === 'silence') return;
    if (answer === 'close') return void request.socket.destroy();
    if (typeof answer === 'object' && 'status' in answer)
      return void response.writeHead(answer.status).end('{}');
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(typeof answer === 'object' && 'raw' in answer ? answer.raw : JSON.stringify(answer));
  }
}

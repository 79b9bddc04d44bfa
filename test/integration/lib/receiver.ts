import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import { Watched } from '../../../cli/phone/wait.ts';

export interface Received {
  method: string;
  path: string;
  headers: http.IncomingHttpHeaders;
  body: string;
  rawBody: Buffer;
}

/** A real HTTP server on loopback that keeps what it was sent. */
export class Receiver extends Watched {
  readonly requests: Received[] = [];
  /** Connections made so far. */
  connections = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    super();
    this.#server = server;
    server.on('connection', (socket: Socket) => {
      this.connections++;
      this.#sockets.add(socket);
      socket
        .on('error', () => {})
        .once('close', () => {
          this.#sockets.delete(socket);
          this.changed();
        });
      this.changed();
    });
  }

  /** @param reply answers one request, whose body has been read. */
  static async start(
    reply: (request: Received, response: http.ServerResponse) => void,
    options: { host?: string; tls?: { key: string; cert: string } } = {},
  ): Promise<Receiver> {
    const handler: http.RequestListener = (request, response) => {
      const chunks: Buffer[] = [];
      request
        .on('data', (chunk: Buffer) => chunks.push(chunk))
        .on('end', () => {
          const rawBody = Buffer.concat(chunks);
          const received = {
            method: request.method ?? '',
            path: request.url ?? '',
            headers: request.headers,
            body: rawBody.toString(),
            rawBody,
          };
          receiver.requests.push(received);
          reply(received, response);
          receiver.changed();
        });
    };
    const server = options.tls ? https.createServer(options.tls, handler) : http.createServer(handler);
    server.on('clientError', (_error, socket) => socket.destroy());
    const receiver = new Receiver(server);
    await receiver.#listen(options.host);
    return receiver;
  }

  /** A server that speaks anything but HTTP. */
  static async startRaw(server: Server): Promise<Receiver> {
    const receiver = new Receiver(server);
    await receiver.#listen();
    return receiver;
  }

  async #listen(host = '127.0.0.1'): Promise<void> {
    this.#server.listen(0, host);
    await once(this.#server, 'listening');
  }

  get open(): number {
    return this.#sockets.size;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  url(path = '/'): string {
    return `http://127.0.0.1:${this.port}${path}`;
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

import net from 'node:net';
import type { Logger } from '../../../control/lib/logger.ts';
import type { AccessList } from '../access-list.ts';
import { plainAddress } from '../sip/transport.ts';
import { EslConnection, type EslTarget } from './connection.ts';
import type { EventHub } from './events.ts';

export interface EslServerOptions {
  ip: string;
  port: number;
  password: string;
  allow: AccessList;
  hub: EventHub;
  target: EslTarget;
  log: Logger;
}

const MAX_CONNECTIONS = 64;
const DENIED = 'Access Denied, go away.\n';
const GOODBYE = 'Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n';

/** The listening event socket. */
export class EslServer {
  readonly #options: EslServerOptions;
  readonly #server: net.Server;
  readonly #connections = new Set<EslConnection>();

  constructor(options: EslServerOptions) {
    this.#options = options;
    this.#server = net.createServer((socket) => this.#accept(socket));
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#options.port, this.#options.ip, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    this.#server.on('error', (error) =>
      this.#options.log.warn({ err: error }, 'event socket listener error'),
    );
  }

  get port(): number {
    const address = this.#server.address();
    return address && typeof address === 'object' ? address.port : this.#options.port;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const connection of this.#connections) connection.close();
    await closed;
  }

  #accept(socket: net.Socket): void {
    const { allow, hub, target, password, log } = this.#options;
    const from = plainAddress(socket.remoteAddress ?? '');
    if (!allow.allows(from)) {
      log.warn({ from }, 'event socket connection refused by the access list');
      socket.on('error', () => socket.destroy());
      const rude = `Content-Type: text/rude-rejection\nContent-Length: ${DENIED.length}\n\n${DENIED}`;
      socket.end(
        `${rude}Content-Type: text/disconnect-notice\nContent-Length: ${GOODBYE.length}\n\n${GOODBYE}`,
      );
      setTimeout(() => socket.destroy(), 2_000).unref();
      return;
    }
    const connection = new EslConnection(socket, hub, target, password, log);
    this.#connections.add(connection);
    socket.on('close', () => this.#connections.delete(connection));
  }
}

import dgram from 'node:dgram';
import dns from 'node:dns';
import net from 'node:net';
import { StreamFraming } from './framing.ts';
import {
  parseMessage,
  readForRefusal,
  SipSyntaxError,
  writeMessage,
  type SipMessage,
  type SipRequest,
} from './message.ts';
import type { Logger } from '../../../control/lib/logger.ts';

/** Where a message came from, or where one goes to. */
export interface Peer {
  transport: 'udp' | 'tcp';
  address: string;
  port: number;
  /** The TCP connection it came over: a response goes back over it, and a request may. */
  socket?: net.Socket;
}

/** Connections over this number are refused; a handful of proxies is all that ever connects. */
const MAX_CONNECTIONS = 256;

/** SIP over UDP and TCP on one address and port (RFC 3261 section 18). */
export class SipTransport {
  readonly #log: Logger;
  readonly #ip: string;
  #port: number;
  #udp: dgram.Socket | undefined;
  #tcp: net.Server | undefined;
  readonly #connections = new Set<net.Socket>();
  /** Connections by `address:port` of the far end, for requests sent to it. */
  readonly #byPeer = new Map<string, net.Socket>();
  onMessage: (message: SipMessage, peer: Peer) => void = () => {};
  /** A request that cannot be parsed, as far as its refusal needs it, and the code of that. */
  onMalformed: (request: SipRequest, status: number, peer: Peer) => void = () => {};

  constructor(ip: string, port: number, log: Logger) {
    this.#ip = ip;
    this.#port = port;
    this.#log = log;
  }

  get ip(): string {
    return this.#ip;
  }

  get port(): number {
    return this.#port;
  }

  async listen(): Promise<void> {
    const udp = dgram.createSocket({ type: 'udp4', lookup: lookupNow });
    udp.on('message', (data, rinfo) =>
      this.#receive(data, { transport: 'udp', address: rinfo.address, port: rinfo.port }),
    );
    await new Promise<void>((resolve, reject) => {
      udp.once('error', reject);
      udp.bind(this.#port, this.#ip, () => {
        udp.off('error', reject);
        resolve();
      });
    });
    udp.on('error', (error) => this.#log.warn({ err: error }, 'SIP socket error'));
    try {
      udp.setRecvBufferSize(4 * 1024 * 1024);
    } catch {
      // The system may allow less; what it gives will have to do.
    }
    this.#udp = udp;
    this.#port = udp.address().port;

    const tcp = net.createServer((socket) =>
      this.#adopt(socket, plainAddress(socket.remoteAddress ?? ''), socket.remotePort ?? 0),
    );
    tcp.maxConnections = MAX_CONNECTIONS;
    await new Promise<void>((resolve, reject) => {
      tcp.once('error', reject);
      tcp.listen(this.#port, this.#ip, () => {
        tcp.off('error', reject);
        resolve();
      });
    });
    tcp.on('error', (error) => this.#log.warn({ err: error }, 'SIP listener error'));
    this.#tcp = tcp;
  }

  async close(): Promise<void> {
    for (const socket of this.#connections) socket.destroy();
    await Promise.all([
      new Promise<void>((resolve) => (this.#udp ? this.#udp.close(() => resolve()) : resolve())),
      new Promise<void>((resolve) => (this.#tcp ? this.#tcp.close(() => resolve()) : resolve())),
    ]);
  }

  /** Sends; a failure is only logged, since the transaction layer retransmits or gives up by its timers. */
  send(message: SipMessage | Buffer, peer: Peer): void {
    const bytes = Buffer.isBuffer(message) ? message : writeMessage(message);
    if (peer.transport === 'udp') {
      this.#udp?.send(bytes, peer.port, peer.address, (error) => {
        if (error)
          this.#log.warn({ err: error, to: `${peer.address}:${peer.port}` }, 'SIP datagram not sent');
      });
      return;
    }
    const socket = peer.socket && !peer.socket.destroyed ? peer.socket : this.#connectionTo(peer);
    socket.write(bytes);
  }

  #adopt(socket: net.Socket, address: string, port: number): void {
    const framing = new StreamFraming();
    const peer: Peer = { transport: 'tcp', address, port, socket };
    const key = `${address}:${port}`;
    this.#connections.add(socket);
    this.#byPeer.set(key, socket);
    socket.setNoDelay(true);
    socket.on('data', (chunk) => {
      try {
        const { messages, pings } = framing.push(chunk);
        for (let i = 0; i < pings; i++) socket.write('\r\n');
        for (const message of messages) this.#receive(message, peer);
      } catch (error) {
        this.#log.info({ err: error, from: key }, 'SIP stream closed: it cannot be followed');
        socket.destroy();
      }
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.#connections.delete(socket);
      if (this.#byPeer.get(key) === socket) this.#byPeer.delete(key);
    });
  }

  #connectionTo(peer: Peer): net.Socket {
    const known = this.#byPeer.get(`${peer.address}:${peer.port}`);
    if (known && !known.destroyed) return known;
    const socket = net.connect({ host: peer.address, port: peer.port });
    // Known under the address asked for before it is connected, so that two requests share it.
    this.#adopt(socket, peer.address, peer.port);
    return socket;
  }

  #receive(data: Buffer, peer: Peer): void {
    // Keep-alives over UDP are a CR LF, sometimes with a zero byte.
    if (data.length < 16) return;
    try {
      this.onMessage(parseMessage(data), peer);
    } catch (error) {
      this.#log.info(
        { err: error, from: `${peer.address}:${peer.port}`, bytes: data.length },
        'SIP message not taken',
      );
      const request = error instanceof SipSyntaxError ? readForRefusal(data) : undefined;
      if (request && error instanceof SipSyntaxError) this.onMalformed(request, error.status, peer);
    }
  }
}

/**
 * Numeric addresses resolve at once, without a turn of the event loop per datagram; names go the ordinary
 * way.
 */
export function lookupNow(
  host: string,
  _options: unknown,
  callback: (error: NodeJS.ErrnoException | null, address: string, family: number) => void,
): void {
  const family = net.isIP(host);
  if (family !== 0) callback(null, host, family);
  else dns.lookup(host, { family: 4 }, callback);
}

export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice(7) : address;
}

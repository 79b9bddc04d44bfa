import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket as TcpSocket } from 'node:net';
import { randomBytes } from 'node:crypto';
import {
  header,
  headerValues,
  parseSip,
  sipStream,
  writeSip,
  type HeaderLine,
  type HostPort,
  type SipMessage,
} from '../../cli/phone/sip-message.ts';
import { Watched } from '../../cli/phone/wait.ts';

/** A message as it went over the wire. */
export interface LoggedMessage {
  at: Date;
  received: boolean;
  peer: HostPort;
  text: string;
}

/** RFC 3261 §17.1.1.1; halved and doubled nowhere, so that a test sees the timing of a real phone. */
const T1_MS = 500;
const T2_MS = 4000;
const TIMEOUT_MS = 64 * T1_MS;

export interface ClientTransaction {
  readonly via: string;
  readonly hop: HostPort;
  readonly request: { startLine: string; headers: HeaderLine[] };
  /** Stops retransmission; responses are still handed over. */
  stop(): void;
}

interface PendingRequest extends ClientTransaction {
  onResponse: (response: SipMessage) => void;
}

export const random = (bytes = 8): string => randomBytes(bytes).toString('hex');

/**
 * A phone's connection to the network: one address, UDP or TCP, with the transactions of RFC 3261 §17 that a
 * phone needs.
 */
export class Wire extends Watched {
  readonly address: string;
  readonly port: number;
  readonly transport: 'udp' | 'tcp';
  /** Everything sent and received, malformed messages included. */
  readonly log: LoggedMessage[] = [];
  onRequest: (request: SipMessage, from: HostPort) => void = () => undefined;
  #udp: UdpSocket | undefined;
  #server: Server | undefined;
  #connections = new Map<string, TcpSocket>();
  #pending = new Map<string, PendingRequest>();
  #timers = new Set<NodeJS.Timeout>();
  #responses = new Map<string, string>();
  #closed = false;
  #unsent = 0;

  private constructor(address: string, port: number, socket: UdpSocket | Server) {
    super();
    this.address = address;
    this.port = port;
    if ('send' in socket) {
      this.transport = 'udp';
      this.#udp = socket;
      socket.on('message', (datagram, from) =>
        this.#receive(datagram.toString('utf8'), { host: from.address, port: from.port }),
      );
      socket.on('error', () => undefined);
    } else {
      this.transport = 'tcp';
      this.#server = socket;
      socket.on('connection', (connection) => this.#adopt(connection));
    }
  }

  static async open(address: string, port: number, transport: 'udp' | 'tcp'): Promise<Wire> {
    if (transport === 'udp') {
      const socket = createSocket('udp4');
      socket.bind(port, address);
      await once(socket, 'listening');
      return new Wire(address, socket.address().port, socket);
    }
    const server = createServer().listen(port, address);
    await once(server, 'listening');
    const bound = server.address();
    return new Wire(address, typeof bound === 'object' && bound ? bound.port : port, server);
  }

  /** What was given to `send` before still goes out. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // A TCP peer that reads no more must not keep the phone open.
    await this.until(() => this.#unsent === 0 || undefined, 'the last message to go out', 1000).catch(
      () => undefined,
    );
    this.abandon('the phone is closed');
    for (const timer of this.#timers) clearTimeout(timer);
    this.#pending.clear();
    this.#udp?.close();
    this.#server?.close();
    for (const connection of this.#connections.values()) connection.destroy();
  }

  /** Puts a text on the wire as it is. */
  send(text: string, to: HostPort): void {
    if (this.#closed) return;
    this.log.push({ at: new Date(), received: false, peer: to, text });
    const sent = (): void => {
      this.#unsent--;
      this.changed();
    };
    this.#unsent++;
    if (this.#udp) this.#udp.send(text, to.port, to.host, sent);
    else this.#connectionTo(to).write(text, sent);
    this.changed();
  }

  /** `<sip:…>` under which this phone can be reached. */
  contact(user = 'phone'): string {
    return `<sip:${user}@${this.address}:${this.port}${this.transport === 'tcp' ? ';transport=tcp' : ''}>`;
  }

  newVia(): string {
    return `SIP/2.0/${this.transport.toUpperCase()} ${this.address}:${this.port};branch=z9hG4bK${random()};rport`;
  }

  /**
   * Sends a request with a Via of its own, repeats it until there is a response (UDP), and hands over every
   * response. A final refusal of an INVITE is acknowledged here. Without any response there is a 408 made
   * here after 32 s.
   */
  request(
    startLine: string,
    headers: HeaderLine[],
    body: string,
    hop: HostPort,
    onResponse: (response: SipMessage) => void,
    via = this.newVia(),
  ): ClientTransaction {
    const text = writeSip(startLine, [['Via', via], ...headers], body);
    const method = startLine.split(' ')[0] ?? '';
    const key = `${branchOf(via)} ${method}`;
    let stopped = false;
    const transaction: PendingRequest = {
      via,
      hop,
      request: { startLine, headers },
      onResponse,
      stop: () => (stopped = true),
    };
    this.#pending.set(key, transaction);
    this.send(text, hop);
    this.#repeat(
      T1_MS,
      method === 'INVITE' ? TIMEOUT_MS : T2_MS,
      () => {
        if (stopped) return false;
        if (this.transport === 'udp') this.send(text, hop);
        return true;
      },
      () => {
        this.#pending.delete(key);
        onResponse(parseSip(writeSip('SIP/2.0 408 No Response At All', headers)));
      },
    );
    return transaction;
  }

  /** CANCEL of a pending INVITE (RFC 3261 §9.1). */
  cancel(invite: ClientTransaction): void {
    const { startLine, headers } = invite.request;
    const kept = headers.filter(([name]) =>
      ['from', 'to', 'call-id', 'route', 'max-forwards'].includes(name.toLowerCase()),
    );
    const number = headers.find(([name]) => name === 'CSeq')?.[1].split(' ')[0] ?? '1';
    this.request(
      startLine.replace('INVITE', 'CANCEL'),
      [...kept, ['CSeq', `${number} CANCEL`]],
      '',
      invite.hop,
      () => undefined,
      invite.via,
    );
  }

  /** Answers a request where it came from; a repeated request gets the same again. */
  respond(
    request: SipMessage,
    from: HostPort,
    status: string,
    headers: HeaderLine[] = [],
    body = '',
    toTag = '',
  ): string {
    const copied = (name: string): HeaderLine[] => headerValues(request, name).map((value) => [name, value]);
    const to = header(request, 'to') ?? '';
    const text = writeSip(
      `SIP/2.0 ${status}`,
      [
        ...copied('Via'),
        ...copied('Record-Route'),
        ...copied('From'),
        ['To', toTag && !/;\s*tag=/i.test(to) ? `${to};tag=${toTag}` : to],
        ...copied('Call-ID'),
        ...copied('CSeq'),
        ...headers,
      ],
      body,
    );
    this.#responses.set(serverKey(request), text);
    this.send(text, from);
    return text;
  }

  /**
   * Sends a response again and again, as an answer to an INVITE must be until its ACK (RFC 3261 §13.3.1.4).
   */
  repeatUntil(text: string, to: HostPort, done: () => boolean): void {
    if (this.transport === 'tcp') return;
    this.#repeat(
      T1_MS,
      T2_MS,
      () => {
        if (done()) return false;
        this.send(text, to);
        return true;
      },
      () => undefined,
    );
  }

  #repeat(firstMs: number, longestMs: number, again: () => boolean, tooLong: () => void): void {
    let waited = 0;
    let wait = firstMs;
    const next = (): void => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        waited += wait;
        if (this.#closed) return;
        if (waited >= TIMEOUT_MS) return again() ? tooLong() : undefined;
        if (!again()) return;
        wait = Math.min(wait * 2, longestMs);
        next();
      }, wait);
      this.#timers.add(timer);
    };
    next();
  }

  #receive(text: string, from: HostPort): void {
    if (text.trim() === '') return;
    this.log.push({ at: new Date(), received: true, peer: from, text });
    let message: SipMessage;
    try {
      message = parseSip(text);
    } catch {
      this.changed();
      return;
    }
    if (message.code !== undefined) this.#receiveResponse(message);
    else {
      const known = message.method === 'ACK' ? undefined : this.#responses.get(serverKey(message));
      if (known) this.send(known, from);
      else this.onRequest(message, from);
    }
    this.changed();
  }

  #receiveResponse(response: SipMessage): void {
    const method = header(response, 'cseq')?.split(' ')[1] ?? '';
    const key = `${branchOf(headerValues(response, 'via')[0] ?? '')} ${method}`;
    const pending = this.#pending.get(key);
    if (!pending || response.code === undefined) return;
    if (method === 'INVITE' || response.code >= 200) pending.stop();
    if (method === 'INVITE' && response.code >= 300) {
      const kept = pending.request.headers.filter(([name]) =>
        ['From', 'Call-ID', 'Route', 'Max-Forwards'].includes(name),
      );
      const number = header(response, 'cseq')?.split(' ')[0] ?? '1';
      this.send(
        writeSip(pending.request.startLine.replace('INVITE', 'ACK'), [
          ['Via', pending.via],
          ...kept,
          ['To', header(response, 'to') ?? ''],
          ['CSeq', `${number} ACK`],
        ]),
        pending.hop,
      );
    }
    pending.onResponse(response);
  }

  #connectionTo(to: HostPort): TcpSocket {
    const known = this.#connections.get(`${to.host}:${to.port}`);
    if (known && !known.destroyed) return known;
    return this.#adopt(connect({ host: to.host, port: to.port, localAddress: this.address }), to);
  }

  #adopt(
    connection: TcpSocket,
    peer: HostPort = { host: connection.remoteAddress ?? '', port: connection.remotePort ?? 0 },
  ): TcpSocket {
    this.#connections.set(`${peer.host}:${peer.port}`, connection);
    connection.on(
      'data',
      sipStream((text) => this.#receive(text, peer)),
    );
    connection.on('error', () => undefined);
    return connection;
  }
}

const branchOf = (via: string): string => /;\s*branch=([^;\s]+)/i.exec(via)?.[1] ?? '';

const serverKey = (request: SipMessage): string =>
  `${branchOf(headerValues(request, 'via')[0] ?? '')} ${request.method ?? ''} ${header(request, 'cseq') ?? ''}`;

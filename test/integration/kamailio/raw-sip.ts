import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { randomBytes } from 'node:crypto';
import type { HostPort } from '../../../cli/phone/sip-message.ts';
import { Watched } from '../../../cli/phone/wait.ts';

/** A socket that sends bytes as they are and keeps what comes back: for messages no telephone would send. */
export class RawSip extends Watched {
  readonly address: string;
  readonly port: number;
  readonly received: string[] = [];
  #socket: Socket;
  /**
   * INVITEs sent, by Call-ID, so that their refusals can be acknowledged and are not repeated for half a
   * minute.
   */
  #invites = new Map<string, string>();

  private constructor(socket: Socket) {
    super();
    this.#socket = socket;
    ({ address: this.address, port: this.port } = socket.address());
    socket.on('message', (datagram, from) => {
      const text = datagram.toString('latin1');
      this.received.push(text);
      const invite = this.#invites.get(callIdOf(text));
      if (invite && codeOf(text) >= 300 && /^CSeq: \d+ INVITE\r$/m.test(text))
        socket.send(ackOf(invite, text), from.port, from.address);
      this.changed();
    });
    socket.on('error', () => undefined);
  }

  static async open(address: string, port = 0): Promise<RawSip> {
    const socket = createSocket('udp4');
    socket.bind(port, address);
    await once(socket, 'listening');
    return new RawSip(socket);
  }

  send(message: string | Buffer, to: HostPort): void {
    if (typeof message === 'string' && message.startsWith('INVITE '))
      this.#invites.set(callIdOf(Buffer.from(message).toString('latin1')), message);
    this.#socket.send(typeof message === 'string' ? Buffer.from(message, 'utf8') : message, to.port, to.host);
  }

  /** Sends and resolves with the first final answer that comes to it. @throws Error when none does. */
  async ask(message: string | Buffer, to: HostPort, timeoutMs = 5000): Promise<string> {
    const from = this.received.length;
    this.send(message, to);
    const callId = callIdOf(Buffer.from(message).toString('latin1'));
    return this.until(
      () =>
        this.received
          .slice(from)
          .find((text) => !/^SIP\/2\.0 1/.test(text) && (!callId || callIdOf(text) === callId)),
      'a final answer',
      timeoutMs,
    );
  }

  close(): void {
    this.abandon('closed');
    this.#socket.close();
  }
}

export interface InviteOptions {
  user?: string;
  uri?: string;
  method?: string;
  headers?: string[];
  callId?: string;
  branch?: string;
  from?: string;
  maxForwards?: number;
}

/** The text of a request that is valid but for what the options make of it. */
export function requestText(from: { address: string; port: number }, options: InviteOptions = {}): string {
  const method = options.method ?? 'INVITE';
  const uri = options.uri ?? `sip:${options.user ?? 'nobody'}@127.0.0.1`;
  return [
    `${method} ${uri} SIP/2.0`,
    `Via: SIP/2.0/UDP ${from.address}:${from.port};branch=${options.branch ?? `z9hG4bK${randomBytes(8).toString('hex')}`}`,
    `Max-Forwards: ${options.maxForwards ?? 70}`,
    `From: ${options.from ?? `<sip:+491711234567@${from.address}>;tag=raw`}`,
    `To: <${/^(sip|tel):/.test(uri) ? uri : 'sip:nobody@127.0.0.1'}>`,
    `Call-ID: ${options.callId ?? `${randomBytes(8).toString('hex')}@raw`}`,
    `CSeq: 1 ${method}`,
    `Contact: <sip:raw@${from.address}:${from.port}>`,
    ...(options.headers ?? []),
    'Content-Length: 0',
    '',
    '',
  ].join('\r\n');
}

const callIdOf = (text: string): string => /^(?:Call-ID|i)[ \t]*:[ \t]*(.*?)\r?$/im.exec(text)?.[1] ?? '';

/** ACK of a refusal: the Via of its INVITE, the To of the refusal (RFC 3261 §17.1.1.3). */
function ackOf(invite: string, refusal: string): string {
  const to = /^To: .*$/m.exec(refusal)?.[0] ?? '';
  return invite
    .replace(/^INVITE/, 'ACK')
    .replace(/^CSeq: (\d+) INVITE/m, 'CSeq: $1 ACK')
    .replace(/^To: .*$/m, to.trimEnd() + '\r');
}

/**
 * Takes what belongs to one transaction out of a reply: two refusals that are equal then tell a stranger the
 * same.
 */
export function withoutTransaction(reply: string): string {
  return reply
    .split('\r\n')
    .filter((line) => !/^(via|from|call-id|cseq):/i.test(line))
    .map((line) => line.replace(/^(To: )<[^>]*>/, '$1').replace(/tag=\S+/, 'tag='))
    .join('\n');
}

export const codeOf = (reply: string): number => Number(/^SIP\/2\.0 (\d{3})/.exec(reply)?.[1]);

/** Sends bytes over TCP and resolves with what came back when the far end has answered once, or closed. */
export async function overTcp(
  message: string | Buffer,
  to: HostPort,
  from: string,
  timeoutMs = 5000,
): Promise<string> {
  const socket = connect({ host: to.host, port: to.port, localAddress: from });
  try {
    await once(socket, 'connect');
    socket.write(message);
    const [chunk] = (await Promise.race([
      once(socket, 'data', { signal: AbortSignal.timeout(timeoutMs) }),
      once(socket, 'close'),
    ])) as [unknown];
    return Buffer.isBuffer(chunk) ? chunk.toString('latin1') : '';
  } finally {
    socket.destroy();
  }
}

import type { IncomingMessage } from 'node:http';
import { WebSocket } from 'ws';
import { Refusal, type Agents } from '../lib/guarded-agent.ts';

/** How a connection to a receiver ended. */
export interface Ending {
  /** It was told good-bye properly: the receiver wants no more. */
  wanted: boolean;
  /** Trying again would bring the same. */
  final: boolean;
  message: string;
}

interface Options {
  url: string;
  headers: Record<string, string>;
  agents: Agents;
  onOpen(): void;
  onText(text: string): void;
  /** Once, whether it was open before or not. */
  onEnd(ending: Ending): void;
  /** How often it is asked for a sign of life, in ms. */
  pingMs?: number;
}

const HANDSHAKE_MS = 5000;
const PING_MS = 15_000;
/** A receiver that has not closed by then is left. */
const GOODBYE_MS = 2000;
/** A message of a receiver: more than a minute and a half of audio. */
const MOST_PAYLOAD = 1024 * 1024;
/** Bytes that wait for a receiver that does not read: some four seconds of both tracks. */
const MOST_WAITING = 128 * 1024;

/**
 * One WebSocket to a customer's receiver: guarded like every request to a customer, bounded in each
 * direction, asked for signs of life.
 */
export class Receiver {
  readonly #socket: WebSocket;
  readonly #o: Options;
  readonly #ping: NodeJS.Timeout;
  #alive = true;
  #ended = false;
  #trouble: { message: string; final: boolean } | undefined;

  constructor(options: Options) {
    this.#o = options;
    const { url, headers, agents } = options;
    this.#socket = new WebSocket(url, {
      headers,
      agent: url.startsWith('wss:') ? agents.https : agents.http,
      handshakeTimeout: HANDSHAKE_MS,
      maxPayload: MOST_PAYLOAD,
      perMessageDeflate: false,
      followRedirects: false,
    });
    this.#socket.on('open', () => options.onOpen());
    this.#socket.on('message', (data, binary) => {
      this.#alive = true;
      if (!binary && Buffer.isBuffer(data)) options.onText(data.toString('utf8'));
    });
    this.#socket.on('pong', () => {
      this.#alive = true;
    });
    this.#socket.on('unexpected-response', (_request, response: IncomingMessage) => {
      this.#trouble ??= {
        message: `the receiver answered ${response.statusCode ?? 'nothing'}`,
        final: false,
      };
      this.#socket.terminate();
    });
    this.#socket.on('error', (error) => {
      this.#trouble ??= {
        message: error.message,
        final: error instanceof Refusal && error.kind === 'forbidden_address',
      };
    });
    this.#socket.on('close', (code) => {
      this.#trouble ??= {
        message: code === 1006 ? 'the connection was lost' : `the receiver closed with ${code}`,
        final: false,
      };
      this.#over(code === 1000);
    });
    this.#ping = setInterval(() => this.#check(), options.pingMs ?? PING_MS);
  }

  get open(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  /**
   * @returns false when the receiver does not read what it was sent before, or is not there: the text is
   *   dropped.
   */
  send(text: string): boolean {
    if (!this.open || this.#socket.bufferedAmount > MOST_WAITING) return false;
    this.#socket.send(text, () => undefined);
    return true;
  }

  /** Says good-bye and leaves; `onEnd` is not called any more. */
  close(code = 1000): void {
    this.#ended = true;
    clearInterval(this.#ping);
    if (this.#socket.readyState === WebSocket.CONNECTING) {
      this.#socket.terminate();
      return;
    }
    this.#socket.close(code);
    const left = setTimeout(() => this.#socket.terminate(), GOODBYE_MS);
    this.#socket.once('close', () => clearTimeout(left));
  }

  #check(): void {
    if (!this.open) return;
    if (!this.#alive) {
      this.#trouble = { message: 'the receiver gives no sign of life', final: false };
      this.#socket.terminate();
      return;
    }
    this.#alive = false;
    this.#socket.ping();
  }

  #over(wanted: boolean): void {
    clearInterval(this.#ping);
    if (this.#ended) return;
    this.#ended = true;
    this.#o.onEnd({
      wanted,
      final: this.#trouble?.final ?? false,
      message: this.#trouble?.message ?? 'the connection was lost',
    });
  }
}

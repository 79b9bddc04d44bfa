import type { IncomingMessage } from 'node:http';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocketServer, type WebSocket } from 'ws';
import { decode, encode } from '../../cli/phone/codec.ts';
import { Heard } from '../../cli/phone/ear.ts';
import { Watched } from '../../cli/phone/wait.ts';

type Frame = { event: string; sequenceNumber?: string; streamSid?: string } & Record<string, unknown>;
interface Media {
  track: string;
  chunk: string;
  timestamp: string;
  payload: string;
}

/** One connection of a stream, as its receiver sees it. */
export class StreamConnection extends Watched {
  readonly request: IncomingMessage;
  readonly socket: WebSocket;
  /** All frames but media. */
  readonly frames: Frame[] = [];
  readonly media: Record<string, Media[]> = { inbound: [], outbound: [] };
  readonly heard = { inbound: new Heard(), outbound: new Heard() };
  closed: number | undefined;

  constructor(request: IncomingMessage, socket: WebSocket) {
    super();
    this.request = request;
    this.socket = socket;
    socket.on('message', (data) => this.#take(JSON.parse(String(data as Buffer)) as Frame));
    socket.on('close', (code) => {
      this.closed = code;
      this.changed();
    });
  }

  /** Resolves with the first frame of this kind. */
  async frame(event: string, timeoutMs = 10_000): Promise<Frame> {
    return this.until(
      () => this.frames.find((frame) => frame.event === event),
      `a frame ${event}; got ${this.frames.map((frame) => frame.event).join(' ')}`,
      timeoutMs,
    );
  }

  send(message: Record<string, unknown>): void {
    this.socket.send(JSON.stringify(message));
  }

  /** Sends audio for the caller, 20 ms a message, all at once. */
  say(samples: Int16Array): void {
    for (let at = 0; at < samples.length; at += 160) {
      this.send({
        event: 'media',
        streamSid: this.sid,
        media: { payload: encode('PCMU', samples.subarray(at, at + 160)).toString('base64') },
      });
    }
  }

  get sid(): string {
    return String(this.frames.find(({ event }) => event === 'start')?.streamSid);
  }

  #take(frame: Frame): void {
    if (frame.event !== 'media') this.frames.push(frame);
    else {
      const media = frame.media as Media;
      this.media[media.track]?.push(media);
      const samples = decode('PCMU', Buffer.from(media.payload, 'base64'));
      this.heard[media.track as 'inbound'].add(
        samples,
        { ssrc: 1, timestamp: Number(media.timestamp) * 8 },
        Number(media.timestamp),
      );
    }
    this.changed();
  }
}

/** A server that takes media streams, apart from all code that is tested. */
export class StreamReceiver extends Watched {
  readonly connections: StreamConnection[] = [];
  /** Requests that were refused. */
  refused = 0;
  /** What the next upgrade requests are answered with instead of 101. */
  refuseWith: number | undefined;
  /** Set: what comes is never read. */
  deaf = false;
  url = '';
  readonly #server: Server;
  #taken = 0;

  private constructor() {
    super();
    const sockets = new WebSocketServer({ noServer: true });
    this.#server = createServer().on('upgrade', (request, socket, head) => {
      if (this.refuseWith !== undefined) {
        this.refused++;
        this.changed();
        socket.end(`HTTP/1.1 ${this.refuseWith} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
        return;
      }
      sockets.handleUpgrade(request, socket, head, (webSocket) => {
        if (this.deaf) socket.pause();
        this.connections.push(new StreamConnection(request, webSocket));
        this.changed();
      });
    });
  }

  static async open(): Promise<StreamReceiver> {
    const receiver = new StreamReceiver();
    await new Promise<void>((resolve) => receiver.#server.listen(0, '127.0.0.1', resolve));
    receiver.url = `ws://127.0.0.1:${(receiver.#server.address() as AddressInfo).port}/audio`;
    return receiver;
  }

  /** Resolves with the next connection. */
  async connection(timeoutMs = 10_000): Promise<StreamConnection> {
    const found = await this.until(() => this.connections[this.#taken], 'a stream', timeoutMs);
    this.#taken++;
    return found;
  }

  close(): void {
    for (const { socket } of this.connections) socket.terminate();
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

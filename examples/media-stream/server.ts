import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocketServer, type WebSocket } from 'ws';

/**
 * A receiver of media streams that talks back: it listens to the caller, and when the caller pauses says the
 * same again. Put a speech recogniser and a voice in place of `Parrot` and it is an assistant. Alone it runs
 * with
 *
 * PORT=3000 WEBHOOK_SECRET=… PUBLIC_URL=https://receiver.example node --import tsx
 * examples/media-stream/server.ts
 *
 * and the application in MiniVoice has answer_url PUBLIC_URL/answer and that secret. MiniVoice wants wss, so
 * TLS is the work of a proxy in front; in the development profile ws to loopback will do.
 */
export const PROMPT = 'Say something, and you will hear it again. Press a key to leave.';

interface Options {
  secret: string;
  port?: number;
  host?: string;
  /** The address MiniVoice reaches this server at, where it differs. */
  publicUrl?: string;
  onEvent?: (text: string) => void;
}

/**
 * Whether MiniVoice has sent this GET or upgrade, not more than five minutes ago: signed is the raw query
 * string.
 */
export function verify(secret: string, headers: IncomingHttpHeaders, url: string, now = Date.now()): boolean {
  const timestamp = String(headers['x-minivoice-timestamp'] ?? '');
  if (!/^\d+$/.test(timestamp) || Math.abs(now / 1000 - Number(timestamp)) > 300) return false;
  const expected = createHmac('sha256', secret)
    .update(`${timestamp}.${url.split('?')[1] ?? ''}`)
    .digest();
  // While a secret is rotating there are two signatures, and one that fits is enough.
  return String(headers['x-minivoice-signature'] ?? '')
    .split(',')
    .some((signature) => {
      const given = Buffer.from(/^\s*v1=([0-9a-f]{64})\s*$/.exec(signature)?.[1] ?? '', 'hex');
      return given.length === expected.length && timingSafeEqual(given, expected);
    });
}

/** How loud 20 ms of µ-law are: the exponent of a byte, 0 to 7, is inverted in its bits 4 to 6. */
const isLoud = (audio: Buffer): boolean =>
  audio.reduce((sum, byte) => sum + (7 - ((byte >> 4) & 7)), 0) / audio.length > 3;

/** A pause so long ends what the caller says, in chunks of 20 ms: 0.6 s. */
const PAUSE = 30;
/** What is kept around it, so that a soft beginning or end is not cut off: 0.3 s. */
const MARGIN = 15;
/** Nothing longer than this is said again: 20 s. */
const LONGEST = 1000;

/** What to say to what was heard. */
class Parrot {
  #heard: Buffer[] = [];
  #quiet = 0;
  #spoken = 0;

  /** 20 ms of the caller's. @returns what to say now, if anything. */
  listen(audio: Buffer): Buffer | undefined {
    const loud = isLoud(audio);
    this.#quiet = loud ? 0 : this.#quiet + 1;
    if (loud) this.#spoken++;
    this.#heard.push(audio);
    // Before the first word only a moment is kept.
    if (this.#spoken === 0) this.#heard = this.#heard.slice(-MARGIN);
    if (this.#spoken === 0 || (this.#quiet < PAUSE && this.#heard.length < LONGEST)) return undefined;
    const answer =
      this.#spoken > 5
        ? Buffer.concat(this.#heard.slice(0, this.#heard.length - this.#quiet + MARGIN))
        : undefined;
    this.#heard = [];
    this.#spoken = 0;
    return answer;
  }
}

/** One stream, from `start` to `stop`. */
function converse(socket: WebSocket, tell: (text: string) => void): void {
  const parrot = new Parrot();
  let streamSid = '';
  let talking = false;
  const send = (message: object): void => socket.send(JSON.stringify({ streamSid, ...message }));
  socket.on('message', (data) => {
    const frame = JSON.parse(String(data as Buffer)) as {
      event: string;
      streamSid?: string;
      start?: { callSid: string; customParameters: object };
      media?: { track: string; payload: string };
      dtmf?: { digit: string };
      mark?: { name: string };
    };
    if (frame.event === 'start') {
      streamSid = frame.streamSid ?? '';
      tell(`call ${frame.start?.callSid ?? ''}: ${JSON.stringify(frame.start?.customParameters)}`);
    } else if (frame.event === 'media' && frame.media?.track === 'inbound') {
      const audio = Buffer.from(frame.media.payload, 'base64');
      // A caller who speaks while we do wants us to stop.
      if (talking && isLoud(audio)) send({ event: 'clear' });
      const answer = parrot.listen(audio);
      if (!answer) return;
      talking = true;
      // Any length will do: it is played at its own pace. The mark comes back when the caller has heard it,
      // or after `clear`.
      send({ event: 'media', media: { payload: answer.toString('base64') } });
      send({ event: 'mark', mark: { name: 'said' } });
      tell(`says ${answer.length / 8} ms`);
    } else if (frame.event === 'mark') talking = false;
    else if (frame.event === 'dtmf') tell(`key ${frame.dtmf?.digit ?? ''}`);
    else if (frame.event === 'stop') tell('stop');
  });
  socket.on('error', () => socket.terminate());
}

/** Starts the server; `port` 0 or none takes a free one. */
export async function startMediaStream({
  secret,
  port = 0,
  host = '127.0.0.1',
  publicUrl,
  onEvent = () => undefined,
}: Options): Promise<{ url: string; close(): Promise<void> }> {
  let url = publicUrl ?? '';
  const server = createServer((request, response) => {
    const [path] = (request.url ?? '').split('?');
    const [status, reply] = !verify(secret, request.headers, request.url ?? '')
      ? [401, { error: 'bad signature' }]
      : path !== '/answer'
        ? [404, { error: 'not found' }]
        : [
            200,
            {
              actions: [
                { say: { text: PROMPT } },
                // Connected in the background: the call goes on with the next action at once, and the stream
                // beside it.
                { start_stream: { stream_url: `${url.replace(/^http/, 'ws')}/audio`, track: 'inbound' } },
                { gather: { num_digits: 1, timeout_seconds: 30 } },
              ],
            },
          ];
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(reply));
  });
  const sockets = new WebSocketServer({ noServer: true, maxPayload: 64 * 1024, perMessageDeflate: false });
  server.on('upgrade', (request, socket, head) => {
    if (!verify(secret, request.headers, request.url ?? ''))
      return socket.end('HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n');
    sockets.handleUpgrade(request, socket, head, (webSocket) => converse(webSocket, onEvent));
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, host, resolve));
  url ||= `http://${host}:${(server.address() as AddressInfo).port}`;
  return {
    url,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets.clients) socket.terminate();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

if (import.meta.filename === process.argv[1]) {
  const { PORT = '3000', HOST, WEBHOOK_SECRET, PUBLIC_URL } = process.env;
  if (!WEBHOOK_SECRET) throw new Error('WEBHOOK_SECRET is not set');
  const { url } = await startMediaStream({
    secret: WEBHOOK_SECRET,
    port: Number(PORT),
    host: HOST,
    publicUrl: PUBLIC_URL,
    onEvent: (text) => console.log(new Date().toISOString(), text),
  });
  console.log(`listening; answer_url ${url}/answer`);
}

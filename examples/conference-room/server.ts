import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * A meeting room on MiniVoice: callers say with a number which room they want; who knows the host's number
 * opens it, and the room ends when the host leaves; guests may come to talk or only to listen. It needs
 * nothing but Node; alone it runs with
 *
 * PORT=3000 WEBHOOK_SECRET=… HOST_PIN=4711 PUBLIC_URL=http://127.0.0.1:3000 node --import tsx
 * examples/conference-room/server.ts
 *
 * and the application in MiniVoice has answer_url PUBLIC_URL/answer and that secret.
 */
export const PROMPTS = {
  room: 'Welcome. Please enter the four digits of your meeting.',
  unknown: 'Meetings have four digits.',
  role: 'Press one to take part, two to listen, or enter the number of the host.',
  host: 'You are the host. The meeting ends when you leave.',
  guest: 'You are now in the meeting.',
  listener: 'You are now in the meeting, and nobody can hear you.',
  over: 'The meeting is over. Goodbye.',
  goodbye: 'Goodbye.',
};

interface Options {
  secret: string;
  /** The keys that make a caller the host. */
  hostPin: string;
  port?: number;
  host?: string;
  /** The address MiniVoice reaches this server at, where it differs. */
  publicUrl?: string;
  onQuestion?: (path: string, actions: unknown[]) => void;
}

/**
 * The call flow. MiniVoice asks /answer first; the keys of a gather come as query parameters of the next
 * question.
 */
function instructions(
  path: string,
  query: URLSearchParams,
  base: string,
  hostPin: string,
): unknown[] | undefined {
  const digits = query.get('digits') ?? '';
  const askRoom = (attempt: number): unknown[] => [
    { gather: { prompt: PROMPTS.room, num_digits: 4, timeout_seconds: 8 } },
    { redirect: { url: `${base}/room?attempt=${attempt}` } },
  ];
  // Rooms belong to the application: the room 1234 of somebody else's is another one.
  const meeting = (prompt: string, options: Record<string, unknown>): unknown[] => [
    { say: { text: prompt } },
    { conference: { room: `meeting-${query.get('room') ?? ''}`, ...options } },
    // Only heard when the room has ended before the caller left it.
    { say: { text: PROMPTS.over } },
  ];
  switch (path) {
    case '/answer':
      return askRoom(1);
    case '/room':
      if (/^\d{4}$/.test(digits)) {
        return [
          {
            gather: {
              prompt: PROMPTS.role,
              min_digits: 1,
              max_digits: Math.max(1, hostPin.length),
              timeout_seconds: 3,
            },
          },
          { redirect: { url: `${base}/enter?room=${digits}` } },
        ];
      }
      return query.get('attempt') === '1'
        ? [{ say: { text: PROMPTS.unknown } }, ...askRoom(2)]
        : [{ say: { text: PROMPTS.goodbye } }];
    case '/enter':
      if (!/^\d{4}$/.test(query.get('room') ?? '')) return undefined;
      if (digits === hostPin) return meeting(PROMPTS.host, { end_on_exit: true });
      if (digits === '2') return meeting(PROMPTS.listener, { mute: true });
      return meeting(PROMPTS.guest, {});
    default:
      return undefined;
  }
}

/**
 * Whether MiniVoice has asked this, not more than five minutes ago. Signed is the raw query string of the
 * question.
 */
function verify(secret: string, headers: IncomingHttpHeaders, signed: string): boolean {
  const timestamp = String(headers['x-minivoice-timestamp'] ?? '');
  if (!/^\d+$/.test(timestamp) || Math.abs(Date.now() / 1000 - Number(timestamp)) > 300) return false;
  const expected = createHmac('sha256', secret).update(`${timestamp}.${signed}`).digest();
  return String(headers['x-minivoice-signature'] ?? '')
    .split(',')
    .some((signature) => {
      const given = Buffer.from(/^\s*v1=([0-9a-f]{64})\s*$/.exec(signature)?.[1] ?? '', 'hex');
      return given.length === expected.length && timingSafeEqual(given, expected);
    });
}

/** Starts the server; `port` 0 or none takes a free one. */
export async function startConferenceRoom({
  secret,
  hostPin,
  port = 0,
  host = '127.0.0.1',
  publicUrl,
  onQuestion,
}: Options): Promise<{ url: string; close(): Promise<void> }> {
  let url = publicUrl ?? '';
  const answer = (request: IncomingMessage): [status: number, reply: unknown] => {
    const [path = '', rawQuery = ''] = (request.url ?? '').split('?', 2);
    if (!verify(secret, request.headers, rawQuery)) return [401, { error: 'bad signature' }];
    const actions = instructions(path, new URLSearchParams(rawQuery), url, hostPin);
    if (!actions) return [404, { error: 'not found' }];
    onQuestion?.(path, actions);
    return [200, { actions }];
  };
  const server = createServer((request, response) => {
    const [status, reply] = answer(request);
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(reply));
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, host, resolve));
  url ||= `http://${host}:${(server.address() as AddressInfo).port}`;
  return {
    url,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

if (import.meta.filename === process.argv[1]) {
  const { PORT = '3000', HOST, WEBHOOK_SECRET, HOST_PIN = '4711', PUBLIC_URL } = process.env;
  if (!WEBHOOK_SECRET) throw new Error('WEBHOOK_SECRET is not set');
  const { url } = await startConferenceRoom({
    secret: WEBHOOK_SECRET,
    hostPin: HOST_PIN,
    port: Number(PORT),
    host: HOST,
    publicUrl: PUBLIC_URL,
    onQuestion: (path, actions) => console.log(new Date().toISOString(), path, JSON.stringify(actions)),
  });
  console.log(`listening; answer_url ${url}/answer`);
}

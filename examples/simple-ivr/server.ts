import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { verify } from '../verify.ts';

/**
 * A small application on MiniVoice: a greeting, a menu of two choices, and a receiver of webhooks. It needs
 * nothing but Node; alone it runs with
 *
 * PORT=3000 WEBHOOK_SECRET=… PUBLIC_URL=http://127.0.0.1:3000 node --import tsx examples/simple-ivr/server.ts
 *
 * and the application in MiniVoice has answer_url PUBLIC_URL/answer, webhook_url PUBLIC_URL/webhooks and that
 * secret.
 */
export const PROMPTS = {
  greeting: 'Welcome to MiniVoice.',
  menu: 'Press one for sales, or two for support.',
  sorry: 'We did not get your choice.',
  sales: 'You have reached the sales team.',
  support: 'You have reached the support team.',
  goodbye: 'Thank you for calling. Goodbye.',
};

/** What came to this server, in order: questions for instructions and webhooks. */
export interface Received {
  at: string;
  kind: 'instructions' | 'webhook';
  verified: boolean;
  call_id?: string;
  /** Of a question: what was asked and what was answered. */
  url?: string;
  actions?: unknown[];
  /** Of a webhook: its event, and whether it had come before. */
  event?: string;
  event_id?: string;
  duplicate?: boolean;
  body?: unknown;
}

interface Options {
  secret: string;
  port?: number;
  host?: string;
  /** The address MiniVoice reaches this server at, where it differs. */
  publicUrl?: string;
  onEvent?: (received: Received) => void;
}

/**
 * The call flow. MiniVoice asks /answer first; the keys of a gather come as query parameters of the next
 * question.
 */
function instructions(path: string, query: URLSearchParams, base: string): unknown[] | undefined {
  const choice = (attempt: number): unknown[] => [
    { gather: { prompt: PROMPTS.menu, num_digits: 1, timeout_seconds: 5, finish_on_key: '#' } },
    { type: 'redirect', url: `${base}/choice?attempt=${attempt}` },
  ];
  switch (path) {
    case '/answer':
      return [{ say: { text: PROMPTS.greeting } }, ...choice(1)];
    case '/choice':
      if (query.get('digits') === '1') return [{ type: 'redirect', url: `${base}/sales` }];
      if (query.get('digits') === '2') return [{ type: 'redirect', url: `${base}/support` }];
      // No key, or one that is not on the menu: the menu once more, then good-bye.
      if (query.get('attempt') === '1') return [{ say: { text: PROMPTS.sorry } }, ...choice(2)];
      return [{ say: { text: PROMPTS.goodbye } }];
    case '/sales':
      return [{ say: { text: PROMPTS.sales } }, { type: 'say', text: PROMPTS.goodbye }];
    case '/support':
      return [{ say: { text: PROMPTS.support } }, { type: 'say', text: PROMPTS.goodbye }];
    default:
      return undefined;
  }
}

/** Starts the server; `port` 0 or none takes a free one. `received` is the log, oldest first. */
export async function startSimpleIvr({
  secret,
  port = 0,
  host = '127.0.0.1',
  publicUrl,
  onEvent,
}: Options): Promise<{ url: string; received: Received[]; close(): Promise<void> }> {
  const received: Received[] = [];
  const seen = new Set<string>();
  let url = publicUrl ?? '';

  const note = (entry: Received): void => {
    received.push(entry);
    if (received.length > 1000) received.shift();
    onEvent?.(entry);
  };

  const answer = async (request: IncomingMessage): Promise<[status: number, reply: unknown]> => {
    const [path = '', rawQuery = ''] = (request.url ?? '').split('?', 2);
    const at = new Date().toISOString();
    if (path === '/events') return [200, received];
    const body = await read(request);
    if (!body) return [413, { error: 'too large' }];
    const verified = verify(secret, request.headers, request.method === 'GET' ? rawQuery : body);

    if (path === '/webhooks') {
      if (!verified) {
        note({ at, kind: 'webhook', verified });
        return [401, { error: 'bad signature' }];
      }
      const envelope = JSON.parse(body.toString()) as { event: string; call?: { id: string } };
      // Deliveries may repeat: what was handled before is acknowledged and no more.
      const id = String(request.headers['x-minivoice-event-id']);
      const duplicate = seen.has(id);
      seen.add(id);
      for (const oldest of seen) {
        if (seen.size <= 10_000) break;
        seen.delete(oldest);
      }
      note({
        at,
        kind: 'webhook',
        verified,
        call_id: envelope.call?.id,
        event: envelope.event,
        event_id: id,
        duplicate,
        body: envelope,
      });
      return [200, { ok: true }];
    }

    const actions = instructions(path, new URLSearchParams(rawQuery), url);
    if (!actions) return [404, { error: 'not found' }];
    note({
      at,
      kind: 'instructions',
      verified,
      call_id: String(request.headers['x-minivoice-call-id']),
      url: request.url,
      actions: verified ? actions : undefined,
    });
    return verified ? [200, { actions }] : [401, { error: 'bad signature' }];
  };

  const server = createServer((request, response) => {
    answer(request)
      .catch((): [number, unknown] => [400, { error: 'bad request' }])
      .then(
        ([status, reply]) => {
          response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(reply));
        },
        () => response.destroy(),
      );
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, host, resolve));
  url ||= `http://${host}:${(server.address() as AddressInfo).port}`;
  return {
    url,
    received,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const LARGEST = 256 * 1024;

/** The body, or undefined when it is larger than MiniVoice ever sends. */
async function read(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size <= LARGEST) chunks.push(chunk);
  }
  return size <= LARGEST ? Buffer.concat(chunks) : undefined;
}

if (import.meta.filename === process.argv[1]) {
  const { PORT = '3000', HOST, WEBHOOK_SECRET, PUBLIC_URL } = process.env;
  if (!WEBHOOK_SECRET) throw new Error('WEBHOOK_SECRET is not set');
  const { url } = await startSimpleIvr({
    secret: WEBHOOK_SECRET,
    port: Number(PORT),
    host: HOST,
    publicUrl: PUBLIC_URL,
    onEvent: (entry) =>
      console.log(
        entry.at,
        entry.kind,
        entry.event ?? entry.url ?? '',
        entry.verified ? 'verified' : 'NOT VERIFIED',
        entry.duplicate ? 'duplicate' : '',
      ),
  });
  console.log(`listening; answer_url ${url}/answer, webhook_url ${url}/webhooks`);
}

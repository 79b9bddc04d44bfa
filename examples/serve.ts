import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { verify } from './verify.ts';

/** What MiniVoice tells of a call as it happens. */
export interface Webhook {
  event: string;
  created_at: string;
  call: { id: string; status: string; from: string; to: string; metadata: Record<string, unknown> };
  data: Record<string, unknown>;
}

export interface ServeOptions {
  /** The application's webhook_secret: whatever is not signed with it is refused. */
  secret: string;
  port?: number;
  host?: string;
  /** The address MiniVoice reaches this server at, where it differs. */
  publicUrl?: string;
  /** Called for every webhook once, in the order in which they come. */
  onWebhook?: (webhook: Webhook) => void;
}

export interface Served {
  url: string;
  close(): Promise<void>;
}

/**
 * The actions for a question of MiniVoice: its query has `call_id`, `from`, `to`, and after a gather
 * `digits`.
 */
type Answer = (query: URLSearchParams, url: string) => unknown[];

/** Keeps no more than so many ids of webhooks, to know repeated ones by. */
const REMEMBERED = 10_000;
const LARGEST = 256 * 1024;

/**
 * What the small examples have in common: an HTTP server that answers MiniVoice's questions, one function a
 * path, and takes its webhooks at `/webhooks`. The application's `answer_method` is GET, the default. Port 0
 * or none: a free one.
 */
export async function serve(
  answers: Record<string, Answer>,
  { secret, port = 0, host = '127.0.0.1', publicUrl, onWebhook }: ServeOptions,
): Promise<Served> {
  const seen = new Set<string>();
  let url = publicUrl ?? '';

  const reply = async (request: IncomingMessage): Promise<[status: number, body: unknown]> => {
    const [path = '', query = ''] = (request.url ?? '').split('?', 2);
    const body = await read(request);
    if (!verify(secret, request.headers, request.method === 'GET' ? query : body))
      return [401, { error: 'bad signature' }];
    if (path === '/webhooks') {
      // Deliveries may repeat: what was handled before is acknowledged and no more.
      const id = String(request.headers['x-minivoice-event-id']);
      if (!seen.has(id)) onWebhook?.(JSON.parse(body.toString()) as Webhook);
      seen.add(id);
      for (const oldest of seen) if (seen.size > REMEMBERED) seen.delete(oldest);
      return [200, { ok: true }];
    }
    const answer = answers[path];
    return answer
      ? [200, { actions: answer(new URLSearchParams(query), url) }]
      : [404, { error: 'not found' }];
  };

  const server = createServer((request, response) => {
    reply(request)
      .catch((): [number, unknown] => [400, { error: 'bad request' }])
      .then(
        ([status, body]) => {
          response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
        },
        () => response.destroy(),
      );
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

/** Runs an example from the shell: PORT, HOST, WEBHOOK_SECRET, PUBLIC_URL; webhooks are printed. */
export async function serveFromShell(start: (options: ServeOptions) => Promise<Served>): Promise<void> {
  const { PORT = '3000', HOST, WEBHOOK_SECRET, PUBLIC_URL } = process.env;
  if (!WEBHOOK_SECRET) throw new Error('WEBHOOK_SECRET is not set');
  const { url } = await start({
    secret: WEBHOOK_SECRET,
    port: Number(PORT),
    host: HOST,
    publicUrl: PUBLIC_URL,
    onWebhook: ({ created_at, event, call, data }) =>
      console.log(created_at, call.id, event, JSON.stringify(data)),
  });
  console.log(`listening; answer_url ${url}/answer, webhook_url ${url}/webhooks`);
}

/** @throws Error when it is larger than anything MiniVoice sends. */
async function read(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size <= LARGEST) chunks.push(chunk);
  }
  if (size > LARGEST) throw new Error('too large');
  return Buffer.concat(chunks);
}

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebhookReceiver, type MiniVoiceEvent } from './receiver.ts';

/**
 * Prints every event once:
 *
 *   PORT=3000 WEBHOOK_SECRET=… node --import tsx examples/webhook-receiver/server.ts
 *
 * The application's webhook_url is http://127.0.0.1:3000/ and its webhook_secret the same.
 */
export async function startReceiver({
  secret,
  port = 0,
  host = '127.0.0.1',
  onEvent,
}: {
  secret: string;
  port?: number;
  host?: string;
  onEvent: (event: MiniVoiceEvent) => void | Promise<void>;
}): Promise<{ url: string; duplicates: () => number; close: () => Promise<void> }> {
  let duplicates = 0;
  const receiver = new WebhookReceiver({ secret, onEvent, onDuplicate: () => duplicates++ });
  const server = createServer((request, response) => {
    if (request.method === 'POST') void receiver.handle(request, response);
    else response.writeHead(405, { allow: 'POST' }).end();
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, host, resolve));
  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}/`,
    duplicates: () => duplicates,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

if (import.meta.filename === process.argv[1]) {
  const { PORT = '3000', HOST, WEBHOOK_SECRET } = process.env;
  if (!WEBHOOK_SECRET) throw new Error('WEBHOOK_SECRET is not set');
  const { url } = await startReceiver({
    secret: WEBHOOK_SECRET,
    port: Number(PORT),
    host: HOST,
    onEvent: ({ id, event, call, data }) => console.log(id, event, call.id, JSON.stringify(data)),
  });
  console.log(`listening at ${url}`);
}

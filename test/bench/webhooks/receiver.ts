// A customer's server in a process of its own: answers 200 at once, or never on paths that hang. Speaks IPC
// with its parent.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ReceiverReport {
  requests: number;
  events: number;
  /** Milliseconds from an event's creation to the arrival of its first attempt, of endpoints that answer. */
  latencies: number[];
}

let hanging = 0;
let requests = 0;
let events = new Set<string>();
let latencies: number[] = [];

const server = createServer((request, response) => {
  const now = Date.now();
  const chunks: Buffer[] = [];
  request
    .on('data', (chunk: Buffer) => chunks.push(chunk))
    .on('end', () => {
      requests++;
      if (Number(request.url?.slice(1)) < hanging) return;
      const id = request.headers['x-minivoice-event-id'];
      if (typeof id === 'string') events.add(id);
      if (request.headers['x-minivoice-attempt'] === '1') {
        const made = /"made":(\d+)/.exec(Buffer.concat(chunks).toString('latin1'))?.[1];
        if (made) latencies.push(now - Number(made));
      }
      response.writeHead(200).end('ok');
    });
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
process.on('message', (message: { hang?: number }) => {
  if (message.hang !== undefined) {
    hanging = message.hang;
    return;
  }
  process.send?.({ requests, events: events.size, latencies } satisfies ReceiverReport);
  requests = 0;
  events = new Set();
  latencies = [];
});
process.on('disconnect', () => process.exit());

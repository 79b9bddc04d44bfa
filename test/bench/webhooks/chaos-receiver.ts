// A customer's server at its worst, in a process of its own: it fails at random, is slow, closes early, takes
// an event and then breaks the connection, and is down for a while. It keeps count of what it has taken.
// Speaks IPC with its parent.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ChaosReport {
  requests: number;
  /** Different events taken, and how often one was taken that had been taken before. */
  taken: number;
  duplicates: number;
  /** Attempts of one event that came with different event ids or bodies. */
  changed: number;
  /** Events of a call whose first attempt came before the first attempt of the one before them. */
  outOfOrder: number;
  failures: Record<string, number>;
}

const EVENTS_PER_CALL = 4;
let down = false;
const report: ChaosReport = { requests: 0, taken: 0, duplicates: 0, changed: 0, outOfOrder: 0, failures: {} };
/** By mark: event id, body, how often it was taken. */
const seen = new Map<string, { id: string; body: string; taken: number }>();

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request
    .on('data', (chunk: Buffer) => chunks.push(chunk))
    .on('end', () => {
      report.requests++;
      const fail = (how: string, act: () => void): void => {
        report.failures[how] = (report.failures[how] ?? 0) + 1;
        act();
      };
      const body = Buffer.concat(chunks).toString();
      const id = String(request.headers['x-minivoice-event-id']);
      const [, mark = '', call = '', seq = ''] = /"mark":"(([^/"]+)\/(\d+))"/.exec(body) ?? [];
      const known = seen.get(mark);
      if (known && (known.id !== id || known.body !== body)) report.changed++;
      if (!known && Number(seq) % EVENTS_PER_CALL > 0 && !seen.has(`${call}/${Number(seq) - 1}`))
        report.outOfOrder++;
      const entry = known ?? { id, body, taken: 0 };
      seen.set(mark, entry);
      const take = (): void => {
        if (entry.taken++ > 0) report.duplicates++;
        else report.taken++;
      };
      if (down) return fail('down', () => request.socket.destroy());
      const dice = Math.random() * 100;
      if (dice < 3) return fail('500', () => response.writeHead(500).end());
      if (dice < 4)
        return fail('503 with Retry-After', () => response.writeHead(503, { 'retry-after': '30' }).end());
      if (dice < 6) return fail('closed without a reply', () => request.socket.destroy());
      if (dice < 7)
        return fail('closed within the reply', () =>
          response.writeHead(200, { 'content-length': '100' }).write('half', () => request.socket.destroy()),
        );
      take();
      if (dice < 7.5) return fail('taken, then closed without a reply', () => request.socket.destroy());
      if (dice < 9) return void setTimeout(() => response.writeHead(200).end(), 50 + Math.random() * 450);
      response.writeHead(200).end();
    });
});
server.on('clientError', (_error, socket) => socket.destroy());
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
process.on('message', (message: { down?: boolean }) => {
  if (message.down === undefined) process.send?.(report);
  else down = message.down;
});
process.on('disconnect', () => process.exit());

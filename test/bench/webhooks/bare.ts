// What the deliveries are compared with: got in a loop, so many at a time, with connections that are kept.
// Speaks IPC with its parent.
import { Agent } from 'node:http';
import { got } from 'got';

const agent = { http: new Agent({ keepAlive: true, maxSockets: 256 }) };

process.on(
  'message',
  ({ url, bodies, concurrency }: { url: string; bodies: string[]; concurrency: number }) => {
    void (async () => {
      const began = performance.now();
      let next = 0;
      await Promise.all(
        Array.from({ length: concurrency }, async () => {
          for (let i = next++; i < bodies.length; i = next++) {
            await got.post(url, {
              body: bodies[i] ?? '',
              headers: { 'content-type': 'application/json' },
              agent,
              retry: { limit: 0 },
            });
          }
        }),
      );
      process.send?.(performance.now() - began);
    })();
  },
);
process.on('disconnect', () => process.exit());
process.send?.('ready');

import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { pino } from 'pino';
import { EdgeListener } from '../../../control/edge/listener.ts';
import { createRegistry } from '../../../control/http/metrics.ts';
import { createLogger } from '../../../control/lib/logger.ts';

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe('the listener of the inside', () => {
  it('gives the metrics to whoever asks, and decisions to Kamailio alone', async () => {
    const registry = createRegistry();
    const listener = new EdgeListener({
      decisions: {} as never,
      token: 'a-token-of-kamailio',
      metrics: registry,
      logger: createLogger('silent'),
      observe: () => undefined,
      tried: () => undefined,
    });
    const port = await freePort();
    await listener.listen(port, '127.0.0.1');
    try {
      const base = `http://127.0.0.1:${port}`;
      const metrics = await fetch(`${base}/metrics`);
      expect([metrics.status, metrics.headers.get('content-type')]).to.deep.equal([
        200,
        registry.contentType,
      ]);
      expect(await metrics.text()).to.contain('process_cpu_seconds_total');
      for (const [method, path] of [
        ['POST', '/metrics'],
        ['POST', '/route'],
        ['POST', '/dialog'],
        ['GET', '/route'],
        ['GET', '/metrics/'],
      ]) {
        expect((await fetch(base + path, { method })).status, `${method} ${path}`).to.equal(403);
      }
    } finally {
      await listener.close();
    }
  });

  it('says in the log that Kamailio has another token, once for many calls', async () => {
    const lines: Record<string, unknown>[] = [];
    const logger = pino(
      {},
      { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
    );
    const listener = new EdgeListener({
      decisions: {} as never,
      token: 'a-token-of-kamailio',
      metrics: createRegistry(),
      logger,
      observe: () => undefined,
      tried: () => undefined,
    });
    const port = await freePort();
    await listener.listen(port, '127.0.0.1');
    try {
      for (let i = 0; i < 5; i++)
        await fetch(`http://127.0.0.1:${port}/route`, {
          method: 'POST',
          headers: { 'x-mv-edge-token': 'an-old-one' },
          body: '{}',
        });
      expect(lines).to.have.length(1);
      expect(lines[0]).to.include({ from: '127.0.0.1' });
      expect(lines[0]?.msg).to.include('EDGE_TOKEN');
    } finally {
      await listener.close();
    }
  });

  it('acts on every notice of a request, in their order, also behind one that cannot be read', async () => {
    const heard: string[] = [];
    const listener = new EdgeListener({
      decisions: {
        notice: ({ call, event }: { call: string; event: string }) => heard.push(`${call} ${event}`),
      } as never,
      token: 'a-token-of-kamailio',
      metrics: createRegistry(),
      logger: createLogger('silent'),
      observe: () => undefined,
      tried: ({ call, tries }) => void heard.push(`${call} tried ${tries}`),
    });
    const port = await freePort();
    await listener.listen(port, '127.0.0.1');
    try {
      const notice = {
        sip_call_id: 'c',
        from_tag: 'f',
        branch: 'b',
        code: 503,
        reason: 'No',
        by: 'platform',
      };
      const body = [
        { ...notice, event: 'failed', call: 'call_1', tries: '' },
        { event: 'unheard of' },
        { event: 'tried', call: 'call_2', tries: '5xx;503;Busy;trunk', last: 1 },
        { ...notice, event: 'ended', call: 'call_2', tries: '' },
      ];
      const { status } = await fetch(`http://127.0.0.1:${port}/dialog`, {
        method: 'POST',
        headers: { 'x-mv-edge-token': 'a-token-of-kamailio' },
        body: JSON.stringify(body),
      });
      expect(status).to.equal(200);
      expect(heard).to.deep.equal(['call_1 failed', 'call_2 tried 5xx;503;Busy;trunk', 'call_2 ended']);
    } finally {
      await listener.close();
    }
  });
});

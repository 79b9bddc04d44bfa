import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { pino } from 'pino';
import { Directory } from '../../../control/edge/directory.ts';
import { EdgeSync } from '../../../control/edge/edge-sync.ts';
import { KamailioRpc, RpcRefusal } from '../../../control/edge/kamailio-rpc.ts';

/** As much of Kamailio's JSON-RPC as the tables need, with its answers as recorded from 6.1.5. */
class TableServer {
  readonly tables: Record<string, Map<string, string>> = { dids: new Map(), trunks: new Map(), sip_targets: new Map(), edge: new Map() };
  requests = 0;
  failing = false;
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk) => (body += chunk));
      request.on('end', () => {
        this.requests++;
        if (this.failing) return request.socket.destroy();
        const { id, method, params: [table = '', key = '', value = ''] = [] } = JSON.parse(body) as { id: number; method: string; params?: string[] };
        const rows = this.tables[table] ?? new Map<string, string>();
        const refuse = (code: number, message: string) => response.writeHead(code).end(JSON.stringify({ jsonrpc: '2.0', error: { code, message }, id }));
        const give = (result: unknown) => response.end(JSON.stringify({ jsonrpc: '2.0', result, id }));
        if (method === 'htable.get') return rows.has(key) ? give({ item: { name: key, value: rows.get(key) } }) : refuse(500, 'Key name does not exist in htable.');
        if (method === 'htable.dump') return give([{ entry: 1, size: rows.size, slot: [...rows].map(([name, item]) => ({ name, value: item, type: 'str' })) }]);
        if (method === 'htable.sets') return give(rows.set(key, value) && 'Ok');
        if (method === 'htable.delete') return rows.delete(key) ? give('Ok') : refuse(404, 'Key not found');
        refuse(500, 'Method Not Found');
      });
    });
  }

  listen = (): Promise<string> => new Promise((resolve) => this.#server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/RPC`)));
  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

const none = { loadAll: () => Promise.resolve([]), get: () => Promise.resolve(undefined) };

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}

describe("kamailio's tables are kept", () => {
  let kamailio: TableServer;
  let rpc: KamailioRpc;
  let sync: EdgeSync;
  let numbers: { id: string; customerId: string; number: string; status: string; routeMode: string }[];
  let directory: Directory;

  beforeEach(async () => {
    kamailio = new TableServer();
    rpc = new KamailioRpc(await kamailio.listen());
    numbers = [{ id: 'did_1', customerId: 'cust_a', number: '+15550001', status: 'active', routeMode: 'webhook' }];
    directory = new Directory({
      customers: { ...none, loadAll: () => Promise.resolve([{ id: 'cust_a', status: 'active' } as never]) },
      applications: none,
      dids: { loadAll: () => Promise.resolve(numbers as never), get: (id) => Promise.resolve(numbers.find((n) => n.id === id) as never) },
      trunks: none,
    });
    await directory.load();
    sync = new EdgeSync(rpc, directory, 'token', pino({ enabled: false }));
  });
  afterEach(async () => {
    await sync.stop();
    kamailio.close();
  });

  it('a fresh kamailio is filled, and marked only then', async () => {
    sync.start();
    await until(() => sync.synced);
    expect(kamailio.tables.edge?.has('synced')).to.equal(true);
    expect(Object.fromEntries(kamailio.tables.dids ?? [])).to.deep.equal({ '+15550001': 'w;cust_a;' });
    expect(sync.synced).to.equal(true);
  });

  it('what kamailio holds and should not is removed', async () => {
    kamailio.tables.dids?.set('+15550666', 'w;cust_a;');
    sync.start();
    await until(() => kamailio.tables.edge?.has('synced') ?? false);
    expect(kamailio.tables.dids?.has('+15550666')).to.equal(false);
  });

  it('a change is pushed at once, and only the change', async () => {
    sync.start();
    await until(() => kamailio.tables.edge?.has('synced') ?? false);
    const before = kamailio.requests;
    numbers.push({ id: 'did_2', customerId: 'cust_a', number: '+15550002', status: 'active', routeMode: 'reject' });
    await sync.push(await directory.refresh({ room: 'dids', id: 'did_2' }));
    expect(kamailio.tables.dids?.get('+15550002')).to.equal('r;cust_a;480');
    expect(kamailio.requests).to.equal(before + 1);
    numbers.pop();
    await sync.push(await directory.refresh({ room: 'dids', id: 'did_2' }));
    expect(kamailio.tables.dids?.has('+15550002')).to.equal(false);
  });

  it('a kamailio that was restarted is filled again', async () => {
    sync.start();
    await until(() => kamailio.tables.edge?.has('synced') ?? false);
    for (const table of Object.values(kamailio.tables)) table.clear();
    await until(() => kamailio.tables.edge?.has('synced') ?? false);
    expect(kamailio.tables.dids?.get('+15550001')).to.equal('w;cust_a;');
  });

  it('a push that failed is made up for', async () => {
    sync.start();
    await until(() => kamailio.tables.edge?.has('synced') ?? false);
    kamailio.failing = true;
    numbers.push({ id: 'did_2', customerId: 'cust_a', number: '+15550002', status: 'active', routeMode: 'webhook' });
    await directory.refresh({ room: 'dids', id: 'did_2' });
    await sync.push();
    expect(sync.synced).to.equal(false);
    kamailio.failing = false;
    await until(() => kamailio.tables.dids?.has('+15550002') ?? false);
  });

  it('a refusal carries the code and words of kamailio', async () => {
    const error = await rpc.call('htable.delete', ['dids', '+1']).catch((e: unknown) => e);
    expect(error).to.be.instanceOf(RpcRefusal).and.include({ code: 404, message: 'htable.delete: Key not found (404)' });
  });
});

describe('the directory', () => {
  it('a slow reload does not bring back what a change has replaced meanwhile', async () => {
    let number = { id: 'did_1', number: '+15550001', routeMode: 'webhook' };
    const gate: (() => void)[] = [];
    const directory = new Directory({
      customers: none, applications: none, trunks: none,
      dids: {
        loadAll: async () => {
          const read = [number];
          await new Promise<void>((resolve) => gate.push(resolve));
          return read as never;
        },
        get: () => Promise.resolve(number as never),
      },
    });
    const reload = directory.load();
    while (gate.length === 0) await new Promise((resolve) => setImmediate(resolve));
    number = { ...number, routeMode: 'reject' };
    const refreshed = directory.refresh({ room: 'dids', id: 'did_1' });
    gate[0]?.();
    await Promise.all([reload, refreshed]);
    expect(directory.didByNumber('+15550001')?.routeMode).to.equal('reject');
  });
});

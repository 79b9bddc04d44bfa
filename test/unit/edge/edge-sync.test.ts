import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { pino } from 'pino';
import { Directory } from '../../../control/directory/directory.ts';
import { EdgeSync } from '../../../control/edge/edge-sync.ts';
import { KamailioRpc, RpcRefusal } from '../../../control/edge/kamailio-rpc.ts';

const LETTERS: Record<string, string> = { d: 'dids', s: 'sip_targets', t: 'trunks' };
const md5 = (text: string): string => createHash('md5').update(text).digest('hex');

/**
 * As much of Kamailio as the tables need: what kamailio/routes/tables.cfg does, and two methods of JSON-RPC.
 */
class TableServer {
  readonly tables: Record<string, Map<string, string>> = {
    dids: new Map(),
    trunks: new Map(),
    sip_targets: new Map(),
    edge: new Map(),
    held: new Map(),
    entries: new Map(),
  };
  requests: string[] = [];
  failing = false;
  /** What to do with a request before it is answered. */
  before: (request: string) => Promise<void> = () => Promise.resolve();
  #boot = 1;
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk) => (body += chunk));
      request.on(
        'end',
        () =>
          void this.#answer(request.url ?? '', body).then((text) => {
            if (this.failing || text === undefined) return request.socket.destroy();
            response.writeHead(text.includes('"error"') ? 500 : 200).end(text);
          }),
      );
    });
  }

  listen = (): Promise<string> =>
    new Promise((resolve) =>
      this.#server.listen(0, '127.0.0.1', () =>
        resolve(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/RPC`),
      ),
    );
  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  restart(): void {
    this.#boot++;
    for (const table of Object.values(this.tables)) table.clear();
  }

  async #answer(url: string, body: string): Promise<string | undefined> {
    this.requests.push(url);
    if (this.failing) return undefined;
    await this.before(url);
    if (url === '/RPC') {
      const {
        id,
        method,
        params: [table = '', key = '', value = ''] = [],
      } = JSON.parse(body) as { id: number; method: string; params?: string[] };
      if (method === 'htable.sets')
        return JSON.stringify({ jsonrpc: '2.0', result: this.tables[table]?.set(key, value) && 'Ok', id });
      return JSON.stringify({ jsonrpc: '2.0', error: { code: 404, message: 'Key not found' }, id });
    }
    const { held, entries, edge } = this.tables as Record<'held' | 'entries' | 'edge', Map<string, string>>;
    const said = [`${this.#boot}\t${edge.get('synced') ?? ''}`];
    if (url === '/TABLES/entries') {
      const piece = body.trim();
      said.push(held.get(piece) ?? '', entries.get(piece) ?? '');
    } else if (url === '/TABLES/check') {
      for (const line of body.trim().split('\n')) {
        const [piece = '', digest = ''] = line.split('\t');
        const names = (entries.get(piece) ?? '').split('\t').filter((name) => name !== '');
        if (
          md5(
            names
              .map(
                (name) => `${name}\t${this.tables[LETTERS[name[0] ?? ''] ?? '']?.get(name.slice(1)) ?? 0}\n`,
              )
              .join(''),
          ) === digest
        )
          held.set(piece, digest);
        else if (held.get(piece) === digest) held.delete(piece);
        if (held.get(piece) !== digest) said.push(`${piece}\t${held.get(piece) ?? ''}`);
      }
    } else {
      for (const change of body.split('\r')) {
        const [head = '', names = '', ...lines] = change.split('\n');
        const [piece = '', before = '', after = ''] = head.split('\t');
        const now = held.get(piece) ?? '';
        said.push(now === after ? '=' : now === before ? '+' : '!');
        if (now === after || now !== before) continue;
        if (names !== '-') entries.set(piece, names);
        held.set(piece, after);
        for (const line of lines.filter((text) => text !== '')) {
          const [name = '', value = ''] = line.split('\t');
          const table = this.tables[LETTERS[name[0] ?? ''] ?? ''];
          if (value === '') table?.delete(name.slice(1));
          else table?.set(name.slice(1), value);
        }
      }
    }
    return `${said.join('\n')}\n`;
  }
}

const none = { loadAll: () => Promise.resolve([]), get: () => Promise.resolve(undefined) };

interface Numbered {
  id: string;
  customerId: string;
  number: string;
  status: string;
  routeMode: string;
}

const directoryOf = (numbers: () => Numbered[]): Directory =>
  new Directory({
    customers: { ...none, loadAll: () => Promise.resolve([{ id: 'cust_a', status: 'active' } as never]) },
    applications: none,
    dids: {
      loadAll: () => Promise.resolve(numbers() as never),
      get: (id) => Promise.resolve(numbers().find((n) => n.id === id) as never),
    },
    trunks: none,
  });

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}

describe("kamailio's tables are kept", () => {
  let kamailio: TableServer;
  let rpc: KamailioRpc;
  let sync: EdgeSync;
  let numbers: Numbered[];
  let directory: Directory;

  beforeEach(async () => {
    kamailio = new TableServer();
    rpc = new KamailioRpc(await kamailio.listen());
    numbers = [
      { id: 'did_1', customerId: 'cust_a', number: '+15550001', status: 'active', routeMode: 'webhook' },
    ];
    directory = directoryOf(() => numbers);
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
    sync.start();
    await until(() => sync.synced && sync.counters.due === 0);
    await sync.stop();
    numbers = [];
    directory = directoryOf(() => numbers);
    await directory.load();
    sync = new EdgeSync(new KamailioRpc(rpc.url), directory, 'token', pino({ enabled: false }));
    sync.start();
    await until(() => sync.synced && sync.counters.due === 0);
    expect(kamailio.tables.dids?.size).to.equal(0);
  });

  it('a change is pushed at once, and only the change', async () => {
    sync.start();
    await until(() => kamailio.tables.edge?.has('synced') ?? false);
    await until(() => sync.counters.due === 0);
    kamailio.requests = [];
    numbers.push({
      id: 'did_2',
      customerId: 'cust_a',
      number: '+15550002',
      status: 'active',
      routeMode: 'reject',
    });
    await sync.push(await directory.refresh({ room: 'dids', id: 'did_2' }));
    expect(kamailio.tables.dids?.get('+15550002')).to.equal('r;cust_a;480');
    expect(kamailio.requests.filter((url) => url === '/TABLES/push')).to.have.length(1);
    numbers.pop();
    await sync.push(await directory.refresh({ room: 'dids', id: 'did_2' }));
    expect(kamailio.tables.dids?.has('+15550002')).to.equal(false);
  });

  it('a kamailio that was restarted is filled again', async () => {
    sync.start();
    await until(() => kamailio.tables.edge?.has('synced') ?? false);
    kamailio.restart();
    await until(() => kamailio.tables.edge?.has('synced') ?? false);
    expect(kamailio.tables.dids?.get('+15550001')).to.equal('w;cust_a;');
  });

  it('a push that failed is made up for', async () => {
    sync.start();
    await until(() => kamailio.tables.edge?.has('synced') ?? false);
    kamailio.failing = true;
    numbers.push({
      id: 'did_2',
      customerId: 'cust_a',
      number: '+15550002',
      status: 'active',
      routeMode: 'webhook',
    });
    await directory.refresh({ room: 'dids', id: 'did_2' });
    await sync.push();
    expect(sync.synced).to.equal(false);
    kamailio.failing = false;
    await until(() => kamailio.tables.dids?.has('+15550002') ?? false);
  });

  it('an error says nothing of what was pushed: passwords are among it', async () => {
    kamailio.failing = true;
    let log = '';
    const logger = pino({}, { write: (line: string) => void (log += line) });
    for (const asked of [
      rpc.tables('push', 'c2VjcmV0'),
      rpc.call('htable.sets', ['credentials', 'trunk_1::password', 'c2VjcmV0']),
    ]) {
      logger.warn({ err: await asked.catch((error: unknown) => error) }, 'failed');
    }
    expect(log).to.include('ECONNRESET').and.not.include('c2VjcmV0');
  });

  it('a refusal carries the code and words of kamailio', async () => {
    const error = await rpc.call('htable.delete', ['dids', '+1']).catch((e: unknown) => e);
    expect(error)
      .to.be.instanceOf(RpcRefusal)
      .and.include({ code: 404, message: 'htable.delete: Key not found (404)' });
  });
});

describe('the directory', () => {
  it('a slow reload does not bring back what a change has replaced meanwhile', async () => {
    let number = { id: 'did_1', number: '+15550001', routeMode: 'webhook' };
    const gate: (() => void)[] = [];
    const directory = new Directory({
      customers: none,
      applications: none,
      trunks: none,
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

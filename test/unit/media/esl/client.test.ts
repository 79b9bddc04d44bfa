import { expect } from 'chai';
import { pino } from 'pino';
import {
  ESL_TIMINGS,
  EslClient,
  retryDelay,
  type EslClientOptions,
} from '../../../../control/media/esl/client.ts';
import type { EslConnection } from '../../../../control/media/esl/connection.ts';
import { FakeEsl } from '../fake-esl.ts';

describe('an event socket client', () => {
  let node: FakeEsl;
  let client: EslClient | undefined;
  let up: EslConnection[];
  let down: string[];
  let lines: { level: string; msg: string; reason?: string }[];

  const start = (
    options: Partial<EslClientOptions> = {},
    timings: Partial<typeof ESL_TIMINGS> = {},
  ): void => {
    const stream = { write: (line: string) => lines.push(JSON.parse(line) as (typeof lines)[number]) };
    client = new EslClient({
      host: '127.0.0.1',
      port: node.port,
      password: 'secret',
      events: ['DTMF'],
      maxPending: 100,
      onEvent: () => undefined,
      timings: { ...ESL_TIMINGS, firstRetryMs: 10, maxRetryMs: 80, deniedRetryMs: 10, ...timings },
      logger: pino(
        { level: 'info', base: null, formatters: { level: (label) => ({ level: label }) } },
        stream,
      ),
      onUp: (connection) => {
        up.push(connection);
        node.changed();
      },
      onDown: (reason) => {
        down.push(reason.message);
        node.changed();
      },
      ...options,
    });
    client.start();
  };
  const connections = (count: number): Promise<EslConnection> =>
    node.until(() => up[count - 1], `connection ${count}`);

  beforeEach(async () => {
    node = await FakeEsl.start();
    up = [];
    down = [];
    lines = [];
  });

  afterEach(async () => {
    client?.stop();
    await node.close();
  });

  it('connects again when a connection ends, and says nothing twice', async () => {
    start();
    const first = await connections(1);
    node.handlers.set('api originate', () => node.drop());
    const outcome = await first.api('originate user/1 &park').then(
      () => 'done',
      (error: Error) => error.message,
    );
    expect(outcome).to.equal('the node closed the connection');
    const second = await connections(2);
    expect(await second.api('version')).to.include('1.10.12');
    expect(down).to.have.length(1);
    expect(node.count('api originate')).to.equal(1);
    expect(node.count('event json')).to.equal(2);
  });

  it('waits longer and longer for a node that is not there, up to a bound, with jitter', () => {
    const waits = (random: number): number[] =>
      [0, 1, 2, 5, 6, 100].map((failures) => retryDelay('lost', failures, ESL_TIMINGS, random));
    expect(waits(1)).to.deep.equal([100, 200, 400, 3200, 5000, 5000]);
    expect(waits(0)).to.deep.equal([50, 100, 200, 1600, 2500, 2500]);
    expect(retryDelay('denied', 0, ESL_TIMINGS, 1)).to.equal(30_000);
  });

  it('finds a node that comes up late', async () => {
    const { port } = node;
    await node.close();
    let failures = 0;
    start({ port, random: () => failures++ });
    while (failures < 3) await new Promise((resolve) => setTimeout(resolve, 5));
    node = await FakeEsl.start(port);
    await connections(1);
  });

  it('tells of a node that is away once, and when it is back', async () => {
    start();
    await connections(1);
    const { port } = node;
    await node.close();
    await node.until(() => down[0], 'the loss');
    node = await FakeEsl.start(port);
    await connections(2);
    expect(lines.map(({ level, msg }) => `${level}: ${msg}`)).to.deep.equal([
      'info: connected to the media node',
      'warn: no connection to the media node; trying until there is one',
      'info: connected to the media node',
    ]);
  });

  it('tells of a wrong password in one clear line, and goes on trying', async () => {
    node.password = 'other';
    start();
    await node.command('auth', 3);
    expect(lines).to.have.length(1);
    expect(lines[0]).to.include({ level: 'error', reason: 'wrong password: -ERR invalid' });
    expect(JSON.stringify(lines)).not.to.include('secret');
    node.password = 'secret';
    await connections(1);
  });

  it('notices a node that takes connections and says nothing', async () => {
    node.handlers.set('connect', () => undefined);
    start({}, { openMs: 40 });
    await node.until(() => (node.sessions.length >= 3 ? true : undefined), 'three attempts');
    node.handlers.clear();
    await connections(1);
  });

  it('stays stopped', async () => {
    start();
    await connections(1);
    client?.stop();
    await node.command('exit');
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(node.sessions).to.have.length(1);
    expect(down).to.deep.equal([]);
  });
});

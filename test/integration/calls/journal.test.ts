import { expect } from 'chai';
import { pino } from 'pino';
import { Calls } from '../../../control/calls/calls.ts';
import { Lifecycle } from '../../../control/calls/lifecycle.ts';
import { Journal } from '../../../control/calls/journal.ts';
import { CallStore } from '../../../control/calls/store.ts';
import { connectDatabase, type Database } from '../../../control/lib/database.ts';
import { Ids } from '../../../control/lib/ids.ts';
import { enqueue } from '../../../control/webhooks/outbox.ts';
import { Line } from '../../support/line.ts';
import { createDatabase } from '../webhooks/database.ts';

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe('the journal of calls', () => {
  let database: Awaited<ReturnType<typeof createDatabase>>;
  let wire: Line;
  let db: Database;
  let store: CallStore;
  let journal: Journal;
  let calls: Calls;
  let woken: number;

  before(async () => {
    database = await createDatabase();
  });
  after(() => database.drop());

  beforeEach(async () => {
    const url = new URL(database.url);
    wire = new Line(Number(url.port));
    url.port = String(await wire.listen());
    url.hostname = '127.0.0.1';
    db = connectDatabase(url.href, 2);
    store = new CallStore(db);
    woken = 0;
    journal = new Journal({ store, enqueue, wake: () => woken++, logger: pino({ enabled: false }) });
    calls = new Calls({
      lifecycle: new Lifecycle(pino({ enabled: false })),
      ids: new Ids(1),
      journal,
      hasWebhook: () => true,
    });
  });
  afterEach(async () => {
    wire.cut = false;
    await journal.close(1000);
    await db.destroy();
    wire.close();
  });

  const create = (from = '+15551230001') =>
    calls.createInbound({
      customerId: 'cust_1',
      applicationId: 'app_1',
      from,
      to: '+15551230002',
      routeMode: 'webhook',
      routingTarget: 'app_1',
      trunkId: 'trunk_1',
      sipCallId: 'x@y',
    });
  const rows = (table: string, callId: string) => database.db(table).where({ call_id: callId });

  it('brings a call, its timeline and its events to the database as they were', async () => {
    const call = create();
    calls.parked(call, 'uuid-1', '127.0.0.1:5080');
    calls.answered(call);
    calls.setVariable(call, 'näme', 'wërt 🎉');
    calls.end(call, { hangup: { by: 'caller', cause: 'NORMAL_CLEARING', sip_code: 200 } });
    await journal.settled();
    const stored = await store.find(call.id);
    expect(stored).to.deep.equal({
      ...call,
      createdAt: stored?.createdAt,
      answeredAt: stored?.answeredAt,
      endedAt: stored?.endedAt,
      ringingAt: stored?.ringingAt,
      costMicros: undefined,
      costCurrency: undefined,
      dialingAt: undefined,
      failure: undefined,
      actions: undefined,
      maxDurationSeconds: undefined,
      recordFromAnswer: false,
    });
    expect(stored?.createdAt.getTime()).to.equal(call.createdAt.getTime());
    expect((await store.timeline(call.id)).map((entry) => entry.kind)).to.deep.equal([
      'call.created',
      'media.parked',
      'call.answered',
      'variable.changed',
      'call.completed',
    ]);
    expect(
      (await rows('webhook_deliveries', call.id).orderBy('seq')).map((row: { event: string }) => row.event),
    ).to.deep.equal(['call.created', 'call.answered', 'call.completed']);
    expect(woken).to.be.greaterThan(0);
  });

  it('writes what was cut in the middle of a character, too', async () => {
    const call = create();
    calls.note(call, 'answer_url.failed', {
      message: 'cut here: \u{1f389}'.slice(0, -1),
      path: '\\ud83d is text',
      whole: '\u{1f389}',
    });
    await journal.settled();
    expect((await store.timeline(call.id)).at(-1)?.detail).to.deep.equal({
      message: 'cut here: \ufffd',
      path: '\\ud83d is text',
      whole: '\u{1f389}',
    });
  });

  it('shares commits between calls', async () => {
    const before = (await database.db.raw("SHOW GLOBAL STATUS LIKE 'Com_commit'")) as [{ Value: string }[]];
    const many = Array.from({ length: 400 }, () => create());
    await journal.settled();
    const after = (await database.db.raw("SHOW GLOBAL STATUS LIKE 'Com_commit'")) as [{ Value: string }[]];
    expect(Number(after[0][0]?.Value) - Number(before[0][0]?.Value)).to.be.lessThan(40);
    expect(await store.find(many.at(-1)?.id ?? '')).to.not.equal(undefined);
  });

  it('keeps everything while the database is away, refuses new calls meanwhile, and writes it once it is back', async () => {
    const first = create();
    await journal.settled();
    wire.drop();
    calls.answered(first);
    await until(() => !journal.accepting);
    calls.end(first, { hangup: { by: 'caller', cause: 'NORMAL_CLEARING' } });
    expect(calls.get(first.id)?.status).to.equal('completed');
    wire.cut = false;
    await journal.settled();
    expect(journal.accepting).to.equal(true);
    expect((await store.find(first.id))?.status).to.equal('completed');
    expect(await rows('webhook_deliveries', first.id)).to.have.length(3);
    expect(await rows('call_timeline', first.id)).to.have.length(3);
  });

  it('a batch that was committed without our hearing of it is not doubled', async () => {
    const saved: Parameters<CallStore['transaction']>[0][] = [];
    const original = store.transaction.bind(store);
    let lost = true;
    store.transaction = async <T>(work: (trx: never) => Promise<T>): Promise<T> => {
      saved.push(work as never);
      const result = (await original(work as never)) as T;
      if (lost) {
        lost = false;
        throw new Error('read ECONNRESET');
      }
      return result;
    };
    const call = create();
    await journal.settled();
    expect(saved.length).to.be.greaterThan(1);
    expect(await rows('call_timeline', call.id)).to.have.length(1);
    expect(await rows('webhook_deliveries', call.id)).to.have.length(1);
  });

  it('texts that are too long are cut, and cost neither the call nor its end', async () => {
    const call = create('x'.repeat(300));
    calls.end(call, {
      hangup: { by: 'platform', cause: 'C'.repeat(100) },
      failure: { code: 'answer_url_error', message: 'm'.repeat(3000) },
    });
    await journal.settled();
    const stored = await store.find(call.id);
    expect(stored?.status).to.equal('failed');
    expect(stored?.failure?.message).to.have.length(500);
    expect(await rows('webhook_deliveries', call.id)).to.have.length(2);
  });

  it('a change that the database can never take does not hold up the others', async () => {
    const good = create();
    const bad = create();
    calls.note(bad, 'k'.repeat(100));
    const later = create();
    await journal.settled();
    expect(await store.find(good.id)).to.not.equal(undefined);
    expect(await store.find(later.id)).to.not.equal(undefined);
    expect(await rows('call_timeline', bad.id)).to.have.length(1);
  });

  it('calls with as many and as long variables as there may be do not make a commit too large', async () => {
    const many = Array.from({ length: 12 }, () => create());
    const variables = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`v${i}`, '"'.repeat(4096)]));
    for (const call of many) {
      call.variables = variables;
      calls.answered(call);
      calls.gathered(call, { digits: '1' });
    }
    await journal.settled();
    for (const call of many) expect(await rows('webhook_deliveries', call.id)).to.have.length(3);
    expect(journal.accepting).to.equal(true);
  }).timeout(60_000);

  it('leaves the cost alone, which is written when a leg is settled', async () => {
    const call = create();
    await journal.settled();
    const settle = (leg: number, amountMicros: bigint) =>
      store.transaction((trx) =>
        store.settled(
          trx,
          { callId: call.id, leg },
          { amountMicros, currency: 'EUR', billsecSeconds: 1, unpaidMicros: 0n },
          { n: String(leg), at: new Date() },
        ),
      );
    expect(await settle(1, 9_007_199_254_740_993n)).to.equal(true);
    calls.answered(call);
    await journal.settled();
    expect(await settle(0, 1n)).to.equal(true);
    calls.end(call, { hangup: { by: 'caller', cause: 'NORMAL_CLEARING' } });
    await journal.settled();
    expect(await store.find(call.id)).to.include({
      costMicros: 9_007_199_254_740_994n,
      costCurrency: 'EUR',
      status: 'completed',
    });
    expect(
      await store.transaction((trx) =>
        store.settled(
          trx,
          { callId: 'call_nowhere', leg: 0 },
          { amountMicros: 1n, currency: 'EUR', billsecSeconds: 1, unpaidMicros: 0n },
          { n: '1', at: new Date() },
        ),
      ),
    ).to.equal(false);
  });

  it('lists newest first, by application, with filters and pages', async () => {
    const own = Array.from({ length: 3 }, () =>
      calls.createInbound({
        customerId: 'cust_2',
        applicationId: 'app_2',
        from: '+1555',
        to: '+15557',
        routeMode: 'webhook',
        routingTarget: 'app_2',
      }),
    );
    create();
    calls.answered(own[1] as never);
    await journal.settled();
    const list = async (filter: object, limit = 10, before?: string) =>
      (await store.list({ applicationId: 'app_2', ...filter }, limit, before)).map((call) => call.id);
    expect(await list({})).to.deep.equal(own.map((call) => call.id).reverse());
    expect(await list({ status: 'in_progress' })).to.deep.equal([own[1]?.id]);
    expect(await list({ did: '+15557', direction: 'inbound' }, 1)).to.deep.equal([own[2]?.id]);
    expect(await list({}, 1, own[2]?.id)).to.deep.equal([own[1]?.id]);
    expect(await list({ until: new Date(0) })).to.deep.equal([]);
    expect((await store.unfinished()).map((call) => call.id)).to.include.members(own.map((call) => call.id));
  });
});

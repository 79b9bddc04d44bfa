import { expect } from 'chai';
import { LedgerStore } from '../../../control/billing/ledger/store.ts';
import { HoldStore } from '../../../control/billing/holds/store.ts';
import { CallRetention } from '../../../control/calls/retention.ts';
import { CallStore } from '../../../control/calls/store.ts';
import { connectDatabase, patient, type Database } from '../../../control/lib/database.ts';
import { ApiError } from '../../../control/lib/errors.ts';
import { firstIdAt, Ids } from '../../../control/lib/ids.ts';
import { RecordingStore } from '../../../control/recordings/store.ts';
import { DeliveryLogStore } from '../../../control/webhooks/log-store.ts';
import { createDatabase, type TestDatabase } from '../webhooks/database.ts';

const FIRST = Date.UTC(2026, 9, 1);
const HOUR = 3_600_000;
const COUNT = 3000;
const APPLICATIONS = 2;
const at = (n: number): Date => new Date(FIRST + n * 60_000);
const callAt = (n: number): string => firstIdAt('call', at(n));
const PAGE = 51;

const callRow = (n: number) => ({
  id: callAt(n),
  customer_id: 'cust_1',
  application_id: `app_${n % APPLICATIONS}`,
  direction: 'inbound',
  from_number: `+1555${1_000_000 + n}`,
  to_number: `+1666${1_000_000 + (n % 7)}`,
  status: n % 100 === 0 ? 'failed' : 'completed',
  route_mode: 'webhook',
  routing_target: 'x',
  metadata: '{}',
  variables: '{}',
  created_at: at(n),
  answered_at: at(n),
  ended_at: new Date(at(n).getTime() + 60_000),
  cost_micros: 10,
  cost_currency: 'EUR',
  event_counts: '{}',
});
const deliveryRow = (n: number) => ({
  id: firstIdAt('whd', at(n)),
  event_id: `evt_${n}`,
  event: n % 3 === 0 ? 'call.created' : 'call.completed',
  call_id: callAt(n),
  seq: 1,
  customer_id: 'cust_1',
  application_id: `app_${n % APPLICATIONS}`,
  body: '{}',
  status: 'delivered',
  attempts: 1,
  next_attempt_at: null,
  created_at: at(n),
  delivered_at: at(n),
});

describe('lists of many calls', () => {
  let database: TestDatabase;
  /** One connection, whose counters say how many rows and index entries a statement has looked at. */
  let db: Database;
  let calls: CallStore;
  let deliveries: DeliveryLogStore;
  let ledger: LedgerStore;

  before(async () => {
    database = await createDatabase();
    db = connectDatabase(database.url, 1);
    calls = new CallStore(db);
    deliveries = new DeliveryLogStore(db);
    ledger = new LedgerStore(db);
    const numbers = Array.from({ length: COUNT }, (_, n) => n);
    await db.batchInsert('calls', numbers.map(callRow), 500);
    await db.batchInsert('webhook_deliveries', numbers.map(deliveryRow), 500);
    await db.raw('ANALYZE TABLE calls, webhook_deliveries');
  });
  after(async () => {
    await db.destroy();
    await database.drop();
  });

  /** How many rows and index entries are looked at. */
  async function lookedAt(work: () => Promise<unknown>): Promise<number> {
    const read = async (): Promise<number> => {
      const [rows] = (await db.raw("SHOW SESSION STATUS LIKE 'Handler_read%'")) as [{ Value: string }[]];
      return rows.reduce((sum, { Value }) => sum + Number(Value), 0);
    };
    const before = await read();
    await work();
    const own = await read();
    return own - before - ((await read()) - own);
  }

  const app = { applicationId: 'app_1' };
  const hour = { since: at(60), until: at(120) };
  for (const [what, filter, found] of [
    ['all of an application', app, PAGE],
    ['a common status', { ...app, status: 'completed' }, PAGE],
    ['a status that is not there', { ...app, status: 'canceled' }, 0],
    ['a number that has called once', { ...app, from: '+15551000001' }, 1],
    ['a number that has never called', { ...app, from: '+15559999999' }, 0],
    ['a number that is called often', { ...app, to: '+16661000003' }, PAGE],
    ['a number of ours', { ...app, did: '+16661000003' }, PAGE],
    ['before anything was', { ...app, until: new Date(FIRST - HOUR) }, 0],
    ['one hour of long ago', { ...app, ...hour }, 30],
    ['a number in one hour', { ...app, ...hour, from: '+15551000061' }, 1],
    ['any application, a common status', { status: 'completed' }, PAGE],
    ['any application, a number that has never called', { from: '+15559999999' }, 0],
    ['any application, before anything was', { until: new Date(FIRST - HOUR) }, 0],
  ] as const) {
    it(`${what}: the calls shown are looked at, and not the others`, async () => {
      let shown = -1;
      const looks = await lookedAt(async () => (shown = (await calls.list(filter, PAGE)).length));
      expect(shown).to.equal(found);
      expect(looks).to.be.at.most(8 * PAGE);
    });
  }

  for (const [what, filter, found] of [
    ['a common status', { ...app, status: 'delivered' }, PAGE],
    ['a status that is not there', { ...app, status: 'exhausted' }, 0],
    ['an event', { ...app, event: 'call.created' }, PAGE],
    ['an event that is not there', { ...app, event: 'recording.failed' }, 0],
    ['any application, an event that is not there', { event: 'recording.failed' }, 0],
  ] as const) {
    it(`${what}: the deliveries shown have their rows read, and not the others`, async () => {
      let shown = -1;
      const looks = await lookedAt(async () => (shown = (await deliveries.list(filter, PAGE)).length));
      expect(shown).to.equal(found);
      expect(looks).to.be.at.most(8 * PAGE);
    });
  }

  it('times decide to the millisecond which calls are shown', async () => {
    const ids = async (since: Date, until: Date) =>
      (await calls.list({ since, until }, PAGE)).map(({ id }) => id);
    expect(await ids(at(10), at(12))).to.deep.equal([callAt(11), callAt(10)]);
    expect(await ids(new Date(at(10).getTime() + 1), new Date(at(12).getTime() + 1))).to.deep.equal([
      callAt(12),
      callAt(11),
    ]);
  });

  it('usage of a month reads no call that ended outside of it', async () => {
    const looks = await lookedAt(async () => {
      const totals = await ledger.totals('app_1', at(100), at(200));
      expect(totals).to.deep.equal({ calls: 50, billsecSeconds: 3000, costMicros: 500n });
    });
    expect(looks).to.be.at.most(200);
  });

  it('one that takes too long is ended in the database, and says how to narrow it', async () => {
    const error = await patient(db.raw('SELECT SLEEP(30) AS a_list_that_takes_long'), 100).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).to.be.instanceOf(ApiError).with.property('message').that.contains('narrow it');
    const running = async (): Promise<number> => {
      const [rows] = (await database.db.raw(
        `SELECT id FROM information_schema.processlist WHERE info LIKE '%a_list_that_takes_long%' AND id <> CONNECTION_ID()`,
      )) as [object[]];
      return rows.length;
    };
    while ((await running()) > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  });
});

describe('calls of long ago', () => {
  let database: TestDatabase;
  const table = (name: string) => database.db(name);
  beforeEach(async () => {
    database = await createDatabase();
  });
  afterEach(() => database.drop());

  const retention = (days: number, now: Date): CallRetention =>
    new CallRetention({
      store: new CallStore(database.db),
      keepers: [new HoldStore(database.db, new Ids(1)), new RecordingStore(database.db)],
      days,
      now: () => now,
    });
  const left = async (): Promise<string[]> =>
    (await table('calls').orderBy('id')).map(({ id }: { id: string }) => id);
  const hold = (n: number, status: 'open' | 'resolved') => ({
    call_id: callAt(n),
    leg: 0,
    customer_id: 'cust_1',
    direction: 'outbound',
    number: '+1',
    rate_id: 'r',
    price_micros: 1,
    fee_micros: 0,
    minimum_seconds: 1,
    increment_seconds: 1,
    currency: 'EUR',
    held_micros: 1,
    covered_seconds: 60,
    counted_day: '2026-10-01',
    counted_day_micros: 0,
    counted_month_micros: 0,
    status,
    created_at: at(n),
  });
  const recording = (n: number, deletedAt: Date | null) => ({
    id: `rec_${callAt(n)}`,
    call_id: callAt(n),
    n: 1,
    customer_id: 'cust_1',
    instance: 0,
    provider_call_id: 'x',
    media_node: 'n',
    status: 'completed',
    storage_type: 'local',
    file_key: 'k',
    duration_seconds: 1,
    size_bytes: 1,
    attempts: 0,
    deleted_at: deletedAt,
    created_at: at(n),
    updated_at: at(n),
  });

  it('are removed with their timelines, in steps, but for those that run, are not settled or have a recording', async () => {
    await table('calls').insert(
      [0, 1, 2, 3, 4, 5, 6].map((n) => ({
        ...callRow(n),
        ...(n === 1 && { ended_at: null, status: 'in_progress' }),
      })),
    );
    await table('call_timeline').insert(
      [0, 1, 2].map((n) => ({ call_id: callAt(n), n: 1, at: at(n), kind: 'call.created', detail: '{}' })),
    );
    await table('holds').insert([hold(0, 'resolved'), hold(2, 'open')]);
    await table('recordings').insert([recording(3, null), recording(4, at(5))]);
    const kept = retention(1, new Date(at(6).getTime() + 24 * HOUR));
    const steps = [await kept.purge(2), await kept.purge(2), await kept.purge(2)];
    expect(steps).to.deep.equal([2, 1, 0]);
    expect(await left()).to.deep.equal([1, 2, 3, 6].map(callAt));
    expect(
      (await table('call_timeline')).map(({ call_id }: { call_id: string }) => call_id).sort(),
    ).to.deep.equal([1, 2].map(callAt));
    expect(await table('holds')).to.have.length(1);
    expect(await table('recordings')).to.have.length(1);
  });

  it('stay for ever where the operator says so', async () => {
    await table('calls').insert(callRow(0));
    expect(await retention(0, new Date(at(0).getTime() + 5000 * 24 * HOUR)).purge(10)).to.equal(0);
    expect(await left()).to.deep.equal([callAt(0)]);
  });
});

import type { Redis } from 'ioredis';
import { pino } from 'pino';
import type { Application } from '../../../control/applications/schema.ts';
import type { Billing, Exhaustion, LegKey, Rate } from '../../../control/billing/billing.ts';
import { createBilling } from '../../../control/billing/create.ts';
import { LedgerService } from '../../../control/billing/ledger/service.ts';
import { LedgerStore } from '../../../control/billing/ledger/store.ts';
import type { Rates } from '../../../control/billing/rates/rates.ts';
import { Admission } from '../../../control/calls/admission.ts';
import { isTerminal, type Call } from '../../../control/calls/call.ts';
import type { Calls } from '../../../control/calls/calls.ts';
import { createCalls } from '../../../control/calls/create.ts';
import type { Journal } from '../../../control/calls/journal.ts';
import { SecondLegs, type Ways } from '../../../control/calls/second-legs.ts';
import type { Customer } from '../../../control/customers/schema.ts';
import type { Ended } from '../../../control/edge/call-ender.ts';
import { RelayedEnds } from '../../../control/edge/relayed-ends.ts';
import { Flows } from '../../../control/flow/flows.ts';
import { Intake } from '../../../control/placing/intake.ts';
import { Outbound, type CallOrder } from '../../../control/placing/outbound.ts';
import { parseActions } from '../../../control/flow/schema.ts';
import { FlowStates } from '../../../control/flow/state.ts';
import { followMoney } from '../../../control/placing/unpaid.ts';
import { connectDatabase, type Database } from '../../../control/lib/database.ts';
import { deferred } from '../../../control/lib/deferred.ts';
import { Ids } from '../../../control/lib/ids.ts';
import { parseMicros } from '../../../control/lib/money.ts';
import type { Limits, Place } from '../../../control/limits/limits.ts';
import type { Trunk } from '../../../control/trunks/schema.ts';
import { Line } from '../../support/line.ts';
import { rate } from '../billing/rig.ts';
import { Clock, connect, limitsOf } from '../limits/redis.ts';
import { createDatabase } from '../webhooks/database.ts';
import { MediaNode, View } from './media-node.ts';

export const HOLD_SECONDS = 60;
/** Longer than a call here ever does something of its own. */
export const WAITING = [{ pause: { seconds: 60 } }];

/** To be told what limits have granted. */
export interface LimitsWatch {
  granted(place: Place, trunks: readonly string[]): void;
  givenBack(callId: string, leg: number): void;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const isLive = (call: Call | undefined): boolean => call !== undefined && !isTerminal(call.status);

/** Trunks of the operator, of which the second takes any number of calls. */
export const trunk = (id: string, over: Partial<Trunk> = {}): Trunk => ({
  id,
  customerId: undefined,
  name: id,
  gatewayName: id,
  proxy: 'carrier.example',
  port: undefined,
  transport: 'udp',
  username: undefined,
  password: undefined,
  realm: undefined,
  fromDomain: undefined,
  inboundIp: undefined,
  country: undefined,
  register: false,
  priority: 1,
  weight: 1,
  numberFormat: 'e164',
  callerId: 'passthrough',
  callerIdNumber: undefined,
  maxCps: undefined,
  maxConcurrent: undefined,
  retryOn404: false,
  probe: false,
  isActive: true,
  status: 'up',
  createdAt: new Date(0),
  updatedAt: new Date(0),
  ...over,
});

const WAYS: Ways = {
  via: (trunks, call, number, from) => ({
    uris: trunks.map(({ id }) => `sip:${number}@${id}`),
    from: from ?? call.from,
    headers: { 'X-MV-Call-ID': call.id },
  }),
  sipUri: (call, uri, from) => ({
    uris: [uri],
    from: from ?? call.from,
    headers: { 'X-MV-Call-ID': call.id },
  }),
};

/** What control processes share: one database, one Redis, one media node, a clock that only tests move. */
export class Rig {
  readonly clock = new Clock();
  readonly now = (): Date => new Date(this.clock.ms);
  readonly ids = new Ids(9);
  readonly customers = new Map<string, Customer>();
  readonly applications = new Map<string, Application>();
  trunks: Trunk[] = [];
  node = new MediaNode(this.now);
  watch: LimitsWatch | undefined;
  /** Kamailio cannot be asked to end a call. */
  kamailioAway = false;
  readonly redis: Redis;
  readonly db: Database;
  readonly url: string;
  readonly ledger: LedgerService;
  readonly #drop: () => Promise<void>;
  readonly #started: ControlProcess[] = [];

  constructor({ db, url, drop }: Awaited<ReturnType<typeof createDatabase>>) {
    this.db = db;
    this.url = url;
    this.#drop = drop;
    this.redis = connect();
    this.ledger = new LedgerService({
      store: new LedgerStore(db),
      customer: (id) => Promise.resolve(this.customers.get(id)),
      ids: this.ids,
      now: this.now,
    });
  }

  /** Nothing is left of what was before, but for the rates. */
  async clear(): Promise<void> {
    await this.killAll();
    await this.redis.flushdb();
    for (const table of ['calls', 'call_timeline', 'webhook_deliveries', 'holds', 'transfers', 'accounts'])
      await this.db(table).delete();
    this.customers.clear();
    this.applications.clear();
    this.trunks = [trunk('trunk_1'), trunk('trunk_2')];
    this.node = new MediaNode(this.now);
    this.watch = undefined;
    this.kamailioAway = false;
    this.clock.ms = 1_800_000_000_000;
  }

  async rates(...rates: Partial<Rate>[]): Promise<void> {
    await this.db('rates').delete();
    for (const one of rates) {
      const { id, direction, prefix, priceMicros, feeMicros, minimumSeconds, incrementSeconds, currency } =
        rate({ id: this.ids.next('rate'), ...one });
      await this.db('rates').insert({
        id,
        customer_id: '',
        direction,
        prefix,
        price_micros: priceMicros.toString(),
        fee_micros: feeMicros.toString(),
        minimum_seconds: minimumSeconds,
        increment_seconds: incrementSeconds,
        currency,
        valid_from: new Date(0),
        is_active: true,
        created_at: new Date(0),
        updated_at: new Date(0),
      });
    }
  }

  /** A customer with money in EUR, and an application of the same number: cust_x has app_x. */
  async customer(
    amount: string,
    {
      limits = { cps: 1000, concurrentCalls: 1000 },
      application = {},
    }: { limits?: Customer['limits']; application?: Partial<Application> } = {},
  ): Promise<Customer> {
    const id = this.ids.next('cust');
    const customer: Customer = {
      id,
      name: id,
      status: 'active',
      currency: 'EUR',
      limits,
      spend: {},
      createdAt: new Date(0),
      updatedAt: new Date(0),
    };
    this.customers.set(id, customer);
    const applicationId = id.replace('cust', 'app');
    this.applications.set(applicationId, {
      id: applicationId,
      customerId: id,
      name: id,
      answerUrl: 'https://example.com/answer',
      answerMethod: 'GET',
      fallbackUrl: undefined,
      webhookUrl: undefined,
      webhookSecrets: [],
      maxCps: undefined,
      maxConcurrent: undefined,
      webhookDisabled: undefined,
      status: 'active',
      createdAt: new Date(0),
      updatedAt: new Date(0),
      ...application,
    });
    const amountMicros = parseMicros(amount);
    if (amountMicros !== 0n) await this.ledger.credit(id, { amountMicros });
    return customer;
  }

  /** A control process, started, and past the time in which nobody takes a place. */
  async process(instance = 1): Promise<ControlProcess> {
    const process = await ControlProcess.connect(this, instance);
    this.#started.push(process);
    await process.start();
    return process;
  }

  /** Lets time pass, and everybody do what is due. */
  async pass(ms: number, processes: readonly ControlProcess[], step = 500): Promise<void> {
    for (let passed = 0; passed < ms; passed += step) {
      this.clock.ms += Math.min(step, ms - passed);
      const due = (everyMs: number): boolean =>
        Math.floor(this.clock.ms / everyMs) !== Math.floor((this.clock.ms - step) / everyMs);
      await Promise.all(
        processes.map((process) =>
          process.orDies(
            (async () => {
              await process.billing.tick();
              if (due(2000)) await process.limits.beat();
              if (due(10_000)) await process.billing.sweep();
            })(),
          ),
        ),
      );
      await turn();
    }
    await Promise.all(processes.map((process) => process.quiet()));
  }

  async killAll(): Promise<void> {
    for (const process of this.#started) process.kill();
    await Promise.all(this.#started.splice(0).map((process) => process.buried()));
  }

  async close(): Promise<void> {
    await this.killAll();
    this.redis.disconnect();
    await this.#drop();
  }
}

/**
 * The rooms of one control process that have to do with calls and money, connected as in the composition
 * root.
 */
export class ControlProcess {
  readonly instance: number;
  readonly billing: Billing;
  readonly limits: Limits;
  readonly calls: Calls;
  readonly journal: Journal;
  readonly admission: Admission;
  readonly legs: SecondLegs;
  readonly flows: Flows;
  readonly outbound: Outbound;
  readonly view: View;
  readonly db: Database;
  readonly exhausted: (LegKey & { why: Exhaustion })[] = [];
  readonly ends: RelayedEnds;
  /** Relayed calls that Kamailio was asked to end. */
  readonly relayedEnded: string[] = [];
  readonly #rig: Rig;
  readonly #rates: Rates;
  readonly #intake: Intake;
  readonly line: Line;
  readonly #redis: Redis;
  readonly #died = deferred<undefined>();
  #busy = 0;
  #deadline: { left: number; event: string; matching: RegExp } | undefined;
  /** In ms of the clock. */
  diedAt = Infinity;

  static async connect(rig: Rig, instance: number): Promise<ControlProcess> {
    const line = new Line(Number(new URL(rig.url).port));
    const url = new URL(rig.url);
    url.host = `127.0.0.1:${await line.listen()}`;
    return new ControlProcess(rig, instance, line, connectDatabase(url.href, 6));
  }

  constructor(rig: Rig, instance: number, line: Line, db: Database) {
    const { now } = rig;
    this.#rig = rig;
    const logger = pino({ enabled: Boolean(process.env['DEBUG_TESTS']) });
    const ids = new Ids(instance);
    this.instance = instance;
    this.line = line;
    this.db = db;
    for (const event of ['query', 'query-response'])
      db.on(event, (...given: { sql?: string }[]) =>
        this.#statement(event, given.find((one) => one?.sql)?.sql ?? ''),
      );
    this.#redis = connect();
    const { store, journal, calls } = createCalls({ db, ids, hasWebhook: () => false, logger, now });
    [this.journal, this.calls] = [journal, calls];
    const { billing, rates } = createBilling({
      db,
      ids,
      customerOf: (id) => rig.customers.get(id),
      costs: calls,
      holdSeconds: HOLD_SECONDS,
      logger,
      now,
    });
    [this.billing, this.#rates] = [billing, rates];
    this.limits = limitsOf(this.#redis, instance, rig.clock);
    this.admission = new Admission({
      calls: this.calls,
      billing: this.billing,
      limits: watched(this.limits, rig),
      logger,
      now,
      customerOf: (id) => rig.customers.get(id),
      applicationOf: (id) => rig.applications.get(id),
      trunksFor: (_customerId, trunkId) =>
        rig.trunks.filter(({ id }) => trunkId === undefined || id === trunkId),
    });
    this.legs = new SecondLegs({ admission: this.admission, ways: WAYS });
    const states = new FlowStates(this.#redis, logger);
    const { admission, legs } = this;
    this.flows = new Flows({
      calls: this.calls,
      logger,
      now,
      states: {
        save: (id: string, state: never) => states.save(id, state),
        load: (id: string) => this.#track(states.load(id)),
        forget: (id: string) => states.forget(id),
      } as unknown as FlowStates,
      admission: {
        admitInbound: (call) => this.#track(admission.admitInbound(call)),
        moved: (callId, leg, id) => admission.moved(callId, leg, id),
      },
      legs: { place: (...given) => this.#track(legs.place(...given)), resumed: (call) => legs.resumed(call) },
      ask: () => Promise.resolve(parseActions({ actions: WAITING })),
      answerMethodOf: () => 'GET',
      speak: () => Promise.reject(new Error('no speech here')),
      prepare: () => undefined,
      fetchAudio: () => Promise.reject(new Error('no audio here')),
      recorder: {
        start: () => Promise.resolve(),
        stop: () => Promise.resolve(),
        resumed: () => Promise.resolve(),
      },
      streamer: {
        start: () => Promise.resolve(''),
        stop: () => Promise.resolve(0),
        resumed: () => Promise.resolve(),
      },
      conferences: { stay: () => Promise.resolve('over') },
    });
    this.view = new View(rig.node, instance);
    const { flows, view } = this;
    this.outbound = new Outbound({
      ids,
      calls,
      admission,
      ways: WAYS,
      flows,
      media: view,
      audioAvailable: () => true,
      forbid: () => Promise.resolve(),
      applicationOf: (id) => rig.applications.get(id),
      allowPrivate: false,
      instance,
      logger,
    });
    this.#intake = new Intake({
      calls,
      flows,
      instance,
      logger,
      now,
      stored: store,
      media: view as never,
      answerUrlOf: () => 'https://example.com/answer',
      adopt: (call) => this.#track(admission.adopt(call)),
      claim: () => undefined,
    });
    this.billing.onExhausted((key, why) => this.exhausted.push({ ...key, why }));
    const tryToEnd = ({ id }: Pick<Call, 'id'>): Promise<Ended> => {
      if (rig.kamailioAway || !this.alive) return Promise.resolve({ some: false, all: false });
      this.relayedEnded.push(id);
      return Promise.resolve({ some: true, all: true });
    };
    this.ends = new RelayedEnds({
      calls,
      ender: { tryToEnd, end: async (call) => (await tryToEnd(call)).some },
    });
    followMoney({
      billing: this.billing,
      calls,
      flows,
      endUntilOver: (call, ending) => this.ends.endUntilOver(call, ending),
    });
  }

  get alive(): boolean {
    return this.view.alive;
  }

  async start(): Promise<void> {
    await this.#rates.load();
    await this.billing.recover(this.instance);
    await this.#intake.start(async () => {
      const going = this.calls.live().filter(isLive);
      await this.limits.start(
        (id) => isLive(this.calls.get(id)),
        going.flatMap(({ id, direction, customerId, applicationId, trunkId }) =>
          direction === 'outbound' && applicationId
            ? [{ callId: id, leg: 0, customerId, applicationId, ...(trunkId !== undefined && { trunkId }) }]
            : [],
        ),
      );
    });
    await this.quiet();
  }

  /** Resolves as the promise does, or with nothing when the process dies before. */
  orDies<T>(work: Promise<T>): Promise<T | undefined> {
    work.catch(() => undefined);
    return Promise.race([work, this.#died.promise]);
  }

  place(customer: Customer, to: string, over: Partial<CallOrder> = {}): Promise<Call | undefined> {
    return this.orDies(
      this.outbound
        .place({
          customerId: customer.id,
          applicationId: customer.id.replace('cust', 'app'),
          from: '+15550000001',
          to,
          metadata: {},
          actions: JSON.stringify({ actions: WAITING }),
          ringSeconds: 60,
          ...over,
        })
        .then((placed) => this.calls.get(placed.id) ?? placed),
    );
  }

  /** Resolves when nothing is under way any more that does not wait for a telephone or for time. */
  async quiet(): Promise<void> {
    for (let calm = 0; calm < 4 && this.alive; calm++) {
      await turn();
      if (this.#busy > 0) calm = -1;
      else if (calm === 2) await this.orDies(Promise.all([this.journal.settled(), this.billing.tick()]));
    }
  }

  /**
   * It dies on the spot: what it has sent may be done, it hears of nothing, and nothing more is sent.
   */
  kill(): void {
    if (!this.alive) return;
    this.diedAt = this.#rig.clock.ms;
    this.view.kill();
    this.ends.stop();
    this.line.close();
    this.#redis.disconnect();
    void this.journal.close(0);
    void this.limits.stop();
    this.#died.resolve(undefined);
  }

  /**
   * It dies at the nth statement to the database from here on (0 is the next one) that matches: before it is
   * sent, or when its reply has come.
   */
  killAt(statement: number, replied: boolean, matching = /./): void {
    this.#deadline = { left: statement, event: replied ? 'query-response' : 'query', matching };
  }

  /** It does not die after all. */
  spare(): void {
    this.#deadline = undefined;
  }

  #statement(event: string, sql: string): void {
    if (this.#deadline?.event === event && this.#deadline.matching.test(sql) && this.#deadline.left-- === 0)
      this.kill();
  }

  buried(): Promise<void> {
    return this.db.destroy();
  }

  async #track<T>(work: Promise<T>): Promise<T> {
    this.#busy++;
    try {
      return await work;
    } finally {
      this.#busy--;
    }
  }
}

function watched(limits: Limits, rig: Rig): Pick<Limits, 'take' | 'moved' | 'release' | 'releaseCall'> {
  return {
    take: async (place) => {
      const trunks = await limits.take(place);
      rig.watch?.granted(place, trunks);
      return trunks;
    },
    moved: (callId, leg, trunkId) => limits.moved(callId, leg, trunkId),
    release: (callId, leg, options) => {
      limits.release(callId, leg, options);
      if (options?.unplaced) rig.watch?.givenBack(callId, leg);
    },
    releaseCall: (callId) => limits.releaseCall(callId),
  };
}

export async function startRig(): Promise<Rig> {
  return new Rig(await createDatabase());
}

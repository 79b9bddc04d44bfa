import { expect } from 'chai';
import type { Rate } from '../../../control/billing/billing.ts';
import { UNSEEN } from '../../../control/calls/call.ts';
import type { Customer } from '../../../control/customers/schema.ts';
import { parseActions } from '../../../control/flow/schema.ts';
import { ApiError } from '../../../control/lib/errors.ts';
import type { Place } from '../../../control/limits/limits.ts';
import { PhoneLine, type SecondLine } from './media-node.ts';
import { trunk, WAITING, type ControlProcess, type LimitsWatch, type Rig } from './rig.ts';

export const OUTBOUND: Partial<Rate>[] = [
  { prefix: '+490' },
  { prefix: '+491', priceMicros: 70_001n, feeMicros: 13n, minimumSeconds: 7, incrementSeconds: 13 },
  { prefix: '+492', priceMicros: 1_234_567n, incrementSeconds: 60 },
  { prefix: '+493', priceMicros: 0n, feeMicros: 99_999n },
  { prefix: '+494', priceMicros: 0n },
];
export const INBOUND: Partial<Rate>[] = [
  { prefix: '+330', direction: 'inbound', priceMicros: 333_333n, minimumSeconds: 90, incrementSeconds: 7 },
];

const REFUSALS = [
  'insufficient_balance',
  'cps_limit_reached',
  'concurrent_call_limit_reached',
  'service_unavailable',
  'originate_failed',
];

/** The charge counted out: not by the code that is tested here. */
function countedOut(
  { priceMicros = 600_000n, feeMicros = 0n, minimumSeconds = 0, incrementSeconds = 1 }: Partial<Rate>,
  billsec: number,
): bigint {
  let paid = 0;
  while (paid < Math.max(billsec, minimumSeconds)) paid += incrementSeconds;
  let micros = (priceMicros * BigInt(paid)) / 60n;
  while (micros * 60n < priceMicros * BigInt(paid)) micros++;
  return feeMicros + micros;
}

const secondsOf = (from: Date | undefined, to: Date | undefined): number =>
  from && to ? Math.ceil((to.getTime() - from.getTime()) / 1000) : 0;
/** So long after its death a process's places are still counted for certain. */
const REMEMBERED_MS = 15_000;

/** What somebody outside knows of a call. */
interface Known {
  customer: Customer;
  tariff: Partial<Rate> | undefined;
}

/** What happens to the processes while a call is there. */
interface Story {
  /** Its process has died in the middle of it. */
  troubled: boolean;
  /** Its place may have been forgotten by Redis while nobody renewed it. */
  forgotten: boolean;
}

interface HoldRow {
  call_id: string;
  leg: number;
  customer_id: string;
  number: string;
  status: string;
  held_micros: string | number;
  charged_micros: string | number;
  unpaid_micros: string | number;
  billsec: number;
  answered_at: Date | null;
  ended_at: Date;
}
interface CallRow {
  id: string;
  status: string;
  answered_at: Date | null;
  ended_at: Date | null;
  hangup_cause: string | null;
  failure_code: string | null;
  cost_micros: string | number | null;
}

/** Two control processes, whose lives end and begin, and everybody on the telephone. */
export class World implements LimitsWatch {
  readonly rig: Rig;
  readonly customers: Customer[] = [];
  readonly processes: (ControlProcess | undefined)[] = [undefined, undefined];
  readonly count = {
    placed: 0,
    refused: new Map<string, number>(),
    lives: 0,
    exact: 0,
    unseen: 0,
    exhausted: 0,
  };
  readonly #diedAt = [0, 0];
  #settledAt = 0;
  readonly #known = new Map<string, Known>();
  readonly #stories = new Map<PhoneLine, Story>();
  /** Calls of limits that have been granted, by scope and leg, in ms of the clock. */
  readonly #charges = new Map<string, Map<string, number>>();
  readonly #scopes = new Map<string, string[]>();
  #numbers = 0;

  constructor(rig: Rig) {
    this.rig = rig;
    rig.watch = this;
  }

  async begin(): Promise<void> {
    const { rig } = this;
    rig.trunks = [trunk('trunk_1', { maxCps: 4, maxConcurrent: 6 }), trunk('trunk_2')];
    this.customers.push(
      await rig.customer('4', { limits: { cps: 100, concurrentCalls: 4 } }),
      await rig.customer('1.30', { limits: { cps: 3, concurrentCalls: 100 } }),
      await rig.customer('30', { application: { maxCps: 5, maxConcurrent: 5 } }),
    );
    for (const n of [0, 1]) await this.revive(n);
    await this.pass(4000);
  }

  of<T>(items: readonly T[], n: number): T | undefined {
    return items[n % Math.max(1, items.length)];
  }

  processOf(line: PhoneLine): ControlProcess | undefined {
    return this.processes[Number(line.headers['owner']) - 1];
  }

  story(line: PhoneLine): Story {
    const story = this.#stories.get(line) ?? { troubled: false, forgotten: false };
    this.#stories.set(line, story);
    return story;
  }

  lines(answered?: boolean): PhoneLine[] {
    return this.rig.node
      .live()
      .filter((line) => answered === undefined || (line.answeredAt !== undefined) === answered);
  }

  #number(prefix: string, known: Known): string {
    const number = `${prefix}${String(this.#numbers++).padStart(7, '0')}`;
    this.#known.set(number, known);
    return number;
  }

  async place(n: number, c: number, t: number, refused: boolean): Promise<void> {
    const process = this.processes[n];
    const customer = this.of(this.customers, c);
    const tariff = this.of(OUTBOUND, t);
    if (!process || !customer || !tariff) return;
    if (refused) this.rig.node.refuses++;
    const call = await process
      .place(customer, this.#number(tariff.prefix ?? '', { customer, tariff }))
      .catch((error: unknown) => {
        if (!(error instanceof ApiError) || !REFUSALS.includes(error.code)) throw error;
        this.count.refused.set(error.code, (this.count.refused.get(error.code) ?? 0) + 1);
      });
    if (call) this.count.placed++;
  }

  receive(n: number, c: number, priced: boolean): void {
    const process = this.processes[n];
    const customer = this.of(this.customers, c);
    if (!process || !customer || !process.calls.accepting) return;
    const tariff = priced ? INBOUND[0] : undefined;
    const to = this.#number(priced ? '+330' : '+340', { customer, tariff });
    const applicationId = customer.id.replace('cust', 'app');
    const call = process.calls.createInbound({
      customerId: customer.id,
      applicationId,
      from: '+15550000002',
      to,
      routeMode: 'webhook',
      routingTarget: applicationId,
      answerUrl: 'https://example.com/answer',
      trunkId: 'trunk_1',
    });
    process.flows.begin(call);
    process.view.receives(
      new PhoneLine(this.rig.node, `uuid of ${call.id}`, {
        'call-id': call.id,
        owner: String(n + 1),
        customer: customer.id,
        application: applicationId,
        from: call.from,
        to,
        trunk: 'trunk_1',
        created: call.createdAt.toISOString(),
      }),
    );
  }

  async bridge(which: number, t: number): Promise<void> {
    const line = this.of(
      this.lines(true).filter(({ leg }) => !leg),
      which,
    );
    const tariff = this.of(OUTBOUND, t);
    const call = line && this.processOf(line)?.calls.get(line.callId);
    const customer = this.customers.find(({ id }) => id === call?.customerId);
    if (!line || !tariff || !customer) return;
    const destination = this.#number(tariff.prefix ?? '', { customer, tariff });
    await this.processOf(line)
      ?.flows.get(line.callId)
      ?.replace(parseActions({ actions: [{ bridge: { destination } }, ...WAITING] }));
  }

  /** @param by whether it is hung up through the API */
  async hangUp(line: PhoneLine | undefined, byApi: boolean): Promise<void> {
    if (!line) return;
    if (byApi) return this.processOf(line)?.flows.get(line.callId)?.hangup();
    line.finish(
      'caller',
      line.answeredAt ? 'NORMAL_CLEARING' : 'USER_BUSY',
      line.outbound && !line.answeredAt ? 486 : undefined,
    );
  }

  async pass(ms: number): Promise<void> {
    await this.rig.pass(
      ms,
      this.processes.filter((process) => process !== undefined),
    );
    await this.settle();
    for (const line of this.lines()) {
      const n = Number(line.headers['owner']) - 1;
      if (!this.processes[n] && this.rig.clock.ms - (this.#diedAt[n] ?? 0) > REMEMBERED_MS)
        this.story(line).forgotten = true;
    }
  }

  /**
   * Notes what has died while the last steps were done, and waits for the others to have nothing left to do.
   */
  async settle(): Promise<void> {
    for (const n of [0, 1]) {
      const process = this.processes[n];
      if (process?.alive === false) this.#buried(n, process);
    }
    await Promise.all(this.processes.map((process) => process?.quiet() ?? Promise.resolve()));
    this.#settledAt = this.rig.clock.ms;
  }

  kill(n: number): void {
    const process = this.processes[n];
    process?.kill();
    if (process) this.#buried(n, process);
  }

  #buried(n: number, process: ControlProcess): void {
    this.processes[n] = undefined;
    this.#diedAt[n] = process.diedAt;
    // Also those that have ended since the last look: how much of that was written is not known.
    for (const line of this.rig.node.lines) {
      if (line.headers['owner'] !== String(n + 1) || (line.end && line.end.at.getTime() < this.#settledAt))
        continue;
      this.story(line).troubled = true;
      if (!process.limits.open) this.story(line).forgotten = true;
    }
  }

  async revive(n: number): Promise<void> {
    if (this.processes[n]) return;
    this.processes[n] = await this.rig.process(n + 1);
    this.count.lives++;
  }

  /** Redis loses its memory, with at least one process alive that knew the others. */
  async flush(): Promise<void> {
    for (const process of this.processes) await process?.limits.beat();
    if (!this.processes.some((process) => process?.limits.open)) return;
    await this.rig.redis.flushdb();
    for (const line of this.lines()) if (!this.processOf(line)) this.story(line).forgotten = true;
    for (const process of this.processes) await process?.limits.beat();
  }

  granted({ callId, leg, customer, application, trunks: offered }: Place, trunks: readonly string[]): void {
    const scopes = [
      { id: customer.id, cps: customer.cps },
      application,
      ...offered.filter(({ id }) => id === trunks[0]).map(({ id, maxCps }) => ({ id, cps: maxCps })),
    ];
    this.#scopes.set(
      `${callId}:${leg}`,
      scopes.map(({ id }) => id),
    );
    for (const { id, cps = Infinity } of scopes) {
      this.#charges.set(
        id,
        (this.#charges.get(id) ?? new Map<string, number>()).set(`${callId}:${leg}`, this.rig.clock.ms),
      );
      const second = [...(this.#charges.get(id)?.values() ?? [])].filter(
        (at) => at > this.rig.clock.ms - 1000,
      ).length;
      expect(second, `calls per second of ${id}`).to.be.at.most(cps);
    }
  }

  givenBack(callId: string, leg: number): void {
    for (const id of this.#scopes.get(`${callId}:${leg}`) ?? [])
      this.#charges.get(id)?.delete(`${callId}:${leg}`);
  }

  /** What holds at every moment. */
  async expectInOrder(): Promise<void> {
    const [rows] = (await this.rig.db.raw(
      `SELECT customer_id, SUM(balance_micros) AS total, MIN(IF(kind IN ('available', 'held'), balance_micros, 0)) AS least, SUM(IF(kind = 'held', balance_micros, 0)) AS held,
         (SELECT COALESCE(SUM(held_micros), 0) FROM holds WHERE holds.customer_id = accounts.customer_id AND status = 'open') AS open
       FROM accounts GROUP BY customer_id`,
    )) as [{ customer_id: string; total: string; least: string; held: string; open: string }[]];
    for (const { total, least, held, open } of rows)
      expect({ total: BigInt(total), least: BigInt(least), held: BigInt(held) }).to.deep.equal({
        total: 0n,
        least: 0n,
        held: BigInt(open),
      });
    for (const { id, limits } of this.customers) {
      const outside = this.lines().filter(
        (line) =>
          !this.story(line).forgotten && this.processOf(line)?.calls.get(line.callId)?.customerId === id,
      );
      const legs =
        outside.filter(({ outbound }) => outbound).length + outside.filter(({ leg }) => leg).length;
      expect(legs, 'calls at a time').to.be.at.most(
        Math.min(
          limits.concurrentCalls,
          this.rig.applications.get(id.replace('cust', 'app'))?.maxConcurrent ?? Infinity,
        ),
      );
    }
  }

  /** Everybody hangs up, and enough time passes for everything that was left to be looked after. */
  async finish(): Promise<void> {
    await this.settle();
    for (const n of [0, 1]) {
      this.processes[n]?.spare();
      await this.revive(n);
    }
    for (const line of this.lines()) line.finish('caller', 'NORMAL_CLEARING');
    await this.settle();
    for (let minute = 0; minute < 4; minute++) await this.pass(61_000);
    for (const process of this.processes) this.count.exhausted += process?.exhausted.length ?? 0;
  }

  async expectSound(): Promise<void> {
    const { db } = this.rig;
    await this.expectInOrder();
    const holds = (await db('holds')) as HoldRow[];
    const calls = new Map(((await db('calls')) as CallRow[]).map((row) => [row.id, row]));
    expect(
      holds.filter(({ status }) => status !== 'resolved').map(({ call_id, leg }) => `${call_id}/${leg}`),
      'holds that stay open',
    ).to.deep.equal([]);
    expect(
      [...calls.values()].filter(({ ended_at: at }) => !at),
      'calls that do not end',
    ).to.deep.equal([]);
    for (const { id } of this.customers) {
      const charged = holds
        .filter((hold) => hold.customer_id === id)
        .reduce((sum, hold) => sum + BigInt(hold.charged_micros), 0n);
      const revenue = (await db('accounts')
        .where({ customer_id: id, kind: 'revenue' })
        .first('balance_micros')) as { balance_micros: string | number } | undefined;
      expect(BigInt(revenue?.balance_micros ?? 0)).to.equal(charged);
    }
    for (const { id, cost_micros: cost } of calls.values()) {
      expect(BigInt(cost ?? 0), 'the cost of the call').to.equal(
        holds
          .filter(({ call_id }) => call_id === id)
          .reduce((sum, hold) => sum + BigInt(hold.charged_micros), 0n),
      );
    }
    const lines = new Map(this.rig.node.lines.map((line) => [line.callId, line]));
    for (const hold of holds) this.#expectCharged(hold, calls.get(hold.call_id), lines.get(hold.call_id));
    await this.#expectNothingHeld();
    for (const line of lines.values())
      for (const leg of line.legs)
        if (line.outbound) expect(holds.some(({ number }) => number === leg.number)).to.equal(true);
    for (const line of lines.values())
      if (line.outbound)
        expect(
          holds.some(({ call_id }) => call_id === line.callId),
          'a call without a hold',
        ).to.equal(true);
  }

  #expectCharged(hold: HoldRow, call: CallRow | undefined, line: PhoneLine | undefined): void {
    const { tariff } = this.#known.get(hold.number) ?? {};
    if (!tariff) return expect.fail(`nobody has called ${hold.number}`);
    const charged = BigInt(hold.charged_micros);
    const owed = charged + BigInt(hold.unpaid_micros);
    const really: PhoneLine | SecondLine | undefined =
      hold.leg === 0 ? line : line?.legs.find(({ number }) => number === hold.number);
    const endedAt = really && ('end' in really ? really.end?.at : (really as SecondLine).endedAt);
    expect(owed, 'to the micro-unit').to.equal(
      hold.answered_at === null ? 0n : countedOut(tariff, secondsOf(hold.answered_at, hold.ended_at)),
    );
    if (!really?.answeredAt) return void expect(charged, 'of nobody who has answered').to.equal(0n);
    const due = countedOut(tariff, secondsOf(really.answeredAt, endedAt));
    if (line && !this.story(line).troubled) {
      this.count.exact++;
      expect(
        { seconds: hold.billsec, owed, unpaid: BigInt(hold.unpaid_micros) },
        JSON.stringify({
          call: hold.call_id,
          leg: hold.leg,
          hold: [hold.answered_at, hold.ended_at],
          really,
        }),
      ).to.deep.equal({ seconds: secondsOf(really.answeredAt, endedAt), owed: due, unpaid: 0n });
    } else if (
      hold.leg === 0 &&
      call?.hangup_cause !== UNSEEN &&
      hold.ended_at.getTime() === endedAt?.getTime()
    ) {
      this.count.exact++;
      expect(owed, `${hold.call_id}: a call whose end was seen`).to.equal(due);
    } else {
      // Nobody knows better than what had been held for; a second leg's answer may not have been seen either.
      this.count.unseen++;
      expect(
        charged <= due || charged <= BigInt(hold.held_micros),
        `${hold.call_id}/${hold.leg}: no more than held, of an end that was not seen`,
      ).to.equal(true);
    }
  }

  async #expectNothingHeld(): Promise<void> {
    for (const process of this.processes) {
      expect(process?.admission.size).to.equal(0);
      expect(process?.flows.size, 'flows').to.equal(0);
      expect(process?.billing.counters).to.deep.equal({ running: 0, unsettled: 0 });
      expect(process?.limits.counters).to.deep.equal({ held: 0, taking: 0, orphans: 0 });
      expect(await this.rig.redis.hlen(`{limits}:places:${process?.instance ?? 0}`)).to.equal(0);
    }
    for (const key of await this.rig.redis.keys('{limits}:held:*'))
      expect(await this.rig.redis.zcount(key, this.rig.clock.ms, '+inf'), key).to.equal(0);
  }
}

import { expect } from 'chai';
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import type { Limits, Place } from '../../../control/limits/limits.ts';
import { Clock, connect, limitsOf } from './redis.ts';

/** A place that take() has granted, as somebody outside would write it down. */
interface Granted {
  callId: string;
  owner: number;
  customerId: string;
  applicationId: string;
  trunkId?: string;
  /** The call is certain to be counted until then, in ms of the clock; of a process that was killed. */
  until: number;
}

type Op =
  | { do: 'take'; by: number[]; customer: number; application: number; trunks: number[] }
  | { do: 'release'; which: number; unplaced: boolean }
  | { do: 'move'; which: number; trunk: number }
  | { do: 'pass'; ms: number; hangs: boolean[] }
  | { do: 'kill'; which: number; survivors: number }
  | { do: 'revive'; which: number }
  | { do: 'flush'; first: number };

const CUSTOMERS = [
  { id: 'cust_0', cps: 4, concurrentCalls: 6 },
  { id: 'cust_1', cps: 9, concurrentCalls: 3 },
];
const APPLICATIONS = [{ id: 'app_0' }, { id: 'app_1', cps: 3, concurrentCalls: 4 }];
const TRUNKS: Place['trunks'] = [
  { id: 'trunk_0', maxCps: 2, maxConcurrent: 3 },
  { id: 'trunk_1', maxConcurrent: 2 },
  { id: 'trunk_2', maxCps: 5 },
];
const LIFE_MS = 30_000;
const RENEW_MS = 10_000;
/**
 * Longest pause between two beats here. What was renewed a little too recently to be renewed at a beat is so
 * much older at the next.
 */
const LONGEST_HANG_MS = 12_000;
const LONGEST_STEP_MS = 9000;

const op: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constant('take' as const),
      by: fc.array(fc.nat(1), { minLength: 1, maxLength: 8 }),
      customer: fc.nat(1),
      application: fc.nat(1),
      trunks: fc.shuffledSubarray([0, 1, 2]),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant('release' as const), which: fc.nat(20), unplaced: fc.boolean() }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('move' as const), which: fc.nat(20), trunk: fc.nat(2) }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('pass' as const),
      ms: fc.oneof(fc.integer({ min: 1, max: 1100 }), fc.integer({ min: 1000, max: LONGEST_STEP_MS })),
      hangs: fc.tuple(fc.boolean(), fc.boolean()),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('kill' as const), which: fc.nat(1), survivors: fc.nat(255) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('revive' as const), which: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('flush' as const), first: fc.nat(1) }) },
);

/** Two control processes and an oracle that knows only what take() has granted and what is alive. */
class World {
  readonly clock = new Clock();
  readonly #connections: readonly Redis[];
  readonly #processes: (Limits | undefined)[] = [undefined, undefined];
  readonly #lastBeat = [0, 0];
  #alive: Granted[] = [];
  /** When each scope was charged with a call, in ms of the clock. */
  #charges: { id: string; callId: string; at: number }[] = [];
  #calls = 0;
  granted = 0;
  refused = 0;

  constructor(connections: readonly Redis[]) {
    this.#connections = connections;
  }

  async run(step: Op): Promise<void> {
    if (step.do === 'take') await this.#take(step);
    else if (step.do === 'release') this.#release(step.which, step.unplaced);
    else if (step.do === 'move') await this.#move(step.which, step.trunk);
    else if (step.do === 'pass') await this.pass(step.ms, step.hangs);
    else if (step.do === 'kill') await this.#kill(step.which, step.survivors);
    else if (step.do === 'revive') await this.revive(step.which);
    else await this.#flush(step.first);
  }

  /** Takes of both processes at once, and a release in the middle of them. */
  async #take({ by, customer, application, trunks }: Op & { do: 'take' }): Promise<void> {
    const attempts = by.map(async (n): Promise<Granted | undefined> => {
      const limits = this.#processes[n];
      const whose = CUSTOMERS[customer];
      const of = APPLICATIONS[application];
      if (!limits || !whose || !of) return undefined;
      const callId = `call_${this.#calls++}`;
      const offered = trunks.flatMap((t) => TRUNKS[t] ?? []);
      const got = await limits
        .take({ callId, leg: 0, customer: whose, application: of, trunks: offered })
        .catch(() => undefined);
      if (!got) return undefined;
      expect(got).to.deep.equal(
        offered.map(({ id }) => id).filter((id) => got.includes(id)),
        'trunks are offered in order',
      );
      return {
        callId,
        owner: n,
        customerId: whose.id,
        applicationId: of.id,
        ...(got[0] !== undefined && { trunkId: got[0] }),
        until: Infinity,
      };
    });
    if (by.length % 3 === 0) this.#release(by.length, false);
    for (const granted of await Promise.all(attempts)) {
      if (!granted) {
        this.refused++;
        continue;
      }
      this.granted++;
      this.#alive.push(granted);
      for (const id of scopesOf(granted))
        this.#charges.push({ id, callId: granted.callId, at: this.clock.ms });
      this.#check(granted);
    }
  }

  /** What a grant has charged is not beyond its limits, in nobody's count. */
  #check(granted: Granted): void {
    const limits = [
      ...CUSTOMERS,
      ...APPLICATIONS.map((of) => ({ concurrentCalls: undefined, cps: undefined, ...of })),
      ...TRUNKS.map(({ id, maxCps, maxConcurrent }) => ({ id, cps: maxCps, concurrentCalls: maxConcurrent })),
    ];
    for (const { id, cps = Infinity, concurrentCalls = Infinity } of limits.filter((limit) =>
      scopesOf(granted).includes(limit.id),
    )) {
      const atATime = this.#alive.filter(
        (place) => scopesOf(place).includes(id) && place.until > this.clock.ms,
      ).length;
      expect(atATime, `calls at a time of ${id}`).to.be.at.most(concurrentCalls);
      const inASecond = this.#charges.filter(
        (charge) => charge.id === id && charge.at > this.clock.ms - 1000,
      ).length;
      expect(inASecond, `calls per second of ${id}`).to.be.at.most(cps);
    }
  }

  #pick(which: number): Granted | undefined {
    const living = this.#alive.filter(({ owner, until }) => until === Infinity && this.#processes[owner]);
    return living[which % living.length];
  }

  #release(which: number, unplaced: boolean): void {
    const place = this.#pick(which);
    if (!place) return;
    this.#processes[place.owner]?.release(place.callId, 0, { unplaced });
    this.#alive = this.#alive.filter((other) => other !== place);
    // Of a call that went to another trunk only the last one's second is given back: nothing unplaced has
    // ever moved.
    if (unplaced)
      this.#charges = this.#charges.filter(
        ({ id, callId }) => callId !== place.callId || !scopesOf(place).includes(id),
      );
  }

  /** The call is there whatever the limit says; the checks are of what take() grants after it. */
  async #move(which: number, trunk: number): Promise<void> {
    const place = this.#pick(which);
    const to = TRUNKS[trunk];
    // Nobody goes back to a trunk that has failed.
    if (
      !place?.trunkId ||
      !to ||
      this.#charges.some(({ id, callId }) => id === to.id && callId === place.callId)
    )
      return;
    this.#processes[place.owner]?.moved(place.callId, 0, to.id);
    place.trunkId = to.id;
    this.#charges.push({ id: to.id, callId: place.callId, at: this.clock.ms });
    await this.#connections[place.owner]?.ping(); // Redis has heard of it.
  }

  async pass(ms: number, hangs: readonly boolean[]): Promise<void> {
    this.clock.ms += ms;
    for (const n of [0, 1]) {
      if (hangs[n] && this.clock.ms + LONGEST_STEP_MS - (this.#lastBeat[n] ?? 0) < LONGEST_HANG_MS) continue;
      await this.#beat(n);
    }
    this.#alive = this.#alive.filter(({ until }) => until > this.clock.ms);
  }

  async #beat(n: number): Promise<void> {
    this.#lastBeat[n] = this.clock.ms;
    await this.#processes[n]?.beat();
  }

  async #kill(n: number, survivors: number): Promise<void> {
    const limits = this.#processes[n];
    if (!limits) return;
    await limits.stop();
    this.#processes[n] = undefined;
    // Calls end with nobody to say so, and others go on; those are promised a place for as long as the last
    // renewal was due.
    this.#alive = this.#alive.filter((place, i) => place.owner !== n || (survivors >> (i % 8)) & 1);
    for (const place of this.#alive)
      if (place.owner === n)
        place.until = Math.min(place.until, this.clock.ms + LIFE_MS - RENEW_MS - LONGEST_HANG_MS);
  }

  async revive(n: number): Promise<void> {
    const connection = this.#connections[n];
    if (this.#processes[n] || !connection) return;
    const left = this.#alive.filter((place) => place.owner === n);
    for (const place of left) place.until = Infinity;
    const limits = limitsOf(connection, n, this.clock);
    this.#processes[n] = limits;
    this.#lastBeat[n] = this.clock.ms;
    await limits.start(
      (id) => left.some(({ callId }) => callId === id),
      left.map((place) => ({ ...place, leg: 0 })),
    );
  }

  /**
   * At least one process lives that knew the others: when all die together with Redis, nobody can know whom
   * to wait for.
   */
  async #flush(first: number): Promise<void> {
    for (const n of [0, 1]) await this.#beat(n);
    if (!this.#processes.some((limits) => limits?.open)) return;
    await this.#connections[0]?.flushdb();
    for (const n of [first, 1 - first]) if (this.#processes[n]?.open) return this.#beat(n);
  }

  /** Everything ends: after a while every limit can be used to the full again. */
  async drain(): Promise<void> {
    for (let n = 0; this.#pick(0); n++) this.#release(n, false);
    for (const n of [0, 1]) await this.revive(n);
    for (let n = 0; this.#pick(0); n++) this.#release(n, false);
    for (let s = 0; s < 70; s++) await this.pass(1000, []);
    for (const [n, customer] of CUSTOMERS.entries()) {
      for (let i = 0; i < customer.concurrentCalls; i++) {
        await this.pass(1000, []);
        await this.#processes[n]?.take({
          callId: `call_${this.#calls++}`,
          leg: 0,
          customer,
          application: { id: 'app_0' },
          trunks: [],
        });
      }
    }
    for (const limits of this.#processes) expect(limits?.counters).to.include({ taking: 0, orphans: 0 });
    for (const [n, { concurrentCalls }] of CUSTOMERS.entries())
      expect(await this.#connections[0]?.hlen(`{limits}:places:${n}`)).to.equal(concurrentCalls);
    for (const limits of this.#processes) await limits?.stop();
  }

  async abandon(): Promise<void> {
    for (const limits of this.#processes) await limits?.stop();
  }
}

const scopesOf = (place: Granted): string[] => [
  place.customerId,
  place.applicationId,
  ...(place.trunkId === undefined ? [] : [place.trunkId]),
];

describe('limits of two processes, whatever happens', function () {
  this.timeout(180_000);
  let connections: Redis[];
  before(() => {
    connections = [connect(), connect()];
  });
  after(() => connections.forEach((connection) => connection.disconnect()));

  it('are never exceeded, and nothing stays for ever', async () => {
    let granted = 0;
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(op, { minLength: 20, maxLength: 120, size: 'max' }), async (steps) => {
        await connections[0]?.flushdb();
        const world = new World(connections);
        try {
          for (const n of [0, 1]) await world.revive(n);
          for (let s = 0; s < 4; s++) await world.pass(1000, []);
          for (const step of steps) await world.run(step);
          await world.drain();
        } finally {
          await world.abandon();
          granted += world.granted;
          refused += world.refused;
        }
      }),
      { numRuns: Number(process.env['MINIVOICE_TEST_RUNS'] ?? 100), endOnFailure: true },
    );
    // The oracle has had something to look at.
    expect(granted).to.be.greaterThan(1000);
    expect(refused).to.be.greaterThan(1000);
    if (process.env['MINIVOICE_TEST_RUNS']) console.log({ granted, refused });
  });
});

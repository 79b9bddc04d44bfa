import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import type { Limits } from '../../../control/limits/limits.ts';
import { ApiError } from '../../../control/lib/errors.ts';
import { Clock, connect, limitsOf, place } from './redis.ts';

type IsMine = (callId: string) => boolean;
const none: IsMine = () => false;
const all: IsMine = () => true;

async function refused(attempt: Promise<unknown>): Promise<ApiError> {
  const error = await attempt.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ApiError)) throw new Error(`was not refused: ${String(error)}`);
  return error;
}

describe('limits', () => {
  let redis: Redis;
  let other: Redis;
  let clock: Clock;
  let limits: Limits;
  const opened: Limits[] = [];

  before(() => {
    redis = connect();
    other = connect();
  });
  after(() => {
    redis.disconnect();
    other.disconnect();
  });
  beforeEach(async () => {
    await redis.flushdb();
    clock = new Clock();
    limits = await started(0);
    await settled(limits);
  });
  afterEach(() => Promise.all(opened.splice(0).map((one) => one.stop())));

  async function started(
    instance: number,
    isMine = none,
    connection = instance === 0 ? redis : other,
  ): Promise<Limits> {
    const one = limitsOf(connection, instance, clock);
    opened.push(one);
    await one.start(isMine);
    return one;
  }

  /** Past the closed time after a loss of memory. */
  async function settled(...processes: Limits[]): Promise<void> {
    for (const one of processes) await one.beat();
    clock.ms += 3000;
    for (const one of processes) await one.beat();
    for (const one of processes) await one.beat();
    for (const one of processes) expect(one.open).to.equal(true);
  }

  /** Seconds pass, and living processes renew what they hold. */
  async function pass(seconds: number, ...living: Limits[]): Promise<void> {
    for (let s = 0; s < seconds; s++) {
      clock.ms += 1000;
      for (const one of living) await one.beat();
    }
  }

  describe('of calls per second', () => {
    for (const [whose, of] of [
      ['the customer', { customer: { id: 'cust_1', cps: 3, concurrentCalls: 100 } }],
      ['the application', { application: { id: 'app_1', cps: 3 } }],
      ['the only trunk', { trunks: [{ id: 'trunk_1', maxCps: 3 }] }],
    ] as const) {
      it(`hold in any second, for ${whose}`, async () => {
        for (const at of [0, 400, 900]) {
          clock.ms = 1_800_000_000_000 + 10_000 + at;
          await limits.take(place(`call_${at}`, of));
        }
        clock.ms += 99;
        const error = await refused(limits.take(place('call_late', of)));
        expect(error).to.include({ code: 'cps_limit_reached', status: 429, retryAfter: 1 });
        clock.ms += 1; // The first one is a second ago now.
        await limits.take(place('call_in_time', of));
        await refused(limits.take(place('call_too_many', of)));
      });
    }

    it('are the same on every process', async () => {
      const second = await started(1);
      await second.beat();
      const of = { customer: { id: 'cust_1', cps: 5, concurrentCalls: 100 } };
      const results = await Promise.allSettled(
        Array.from({ length: 40 }, (_, n) => (n % 2 ? limits : second).take(place(`call_${n}`, of))),
      );
      expect(results.filter(({ status }) => status === 'fulfilled')).to.have.length(5);
    });

    it('count what a leg used of its second after it has ended, unless nothing was sent for it', async () => {
      const of = { customer: { id: 'cust_1', cps: 1, concurrentCalls: 100 } };
      await limits.take(place('call_1', of));
      limits.release('call_1', 0);
      await refused(limits.take(place('call_2', of)));
      clock.ms += 1000;
      await limits.take(place('call_3', of));
      limits.release('call_3', 0, { unplaced: true });
      await limits.take(place('call_4', of));
    });

    it('are not used up by what is refused', async () => {
      const of = { customer: { id: 'cust_1', cps: 2, concurrentCalls: 1 } };
      await limits.take(place('call_1', of));
      for (let n = 0; n < 5; n++)
        expect((await refused(limits.take(place(`call_r${n}`, of)))).code).to.equal(
          'concurrent_call_limit_reached',
        );
      limits.release('call_1', 0);
      await limits.take(place('call_2', of));
    });
  });

  describe('of calls at a time', () => {
    for (const [whose, of] of [
      ['the customer', { customer: { id: 'cust_1', cps: 100, concurrentCalls: 2 } }],
      ['the application', { application: { id: 'app_1', concurrentCalls: 2 } }],
      ['the only trunk', { trunks: [{ id: 'trunk_1', maxConcurrent: 2 }] }],
    ] as const) {
      it(`hold until one ends, for ${whose}`, async () => {
        await limits.take(place('call_1', of));
        await limits.take(place('call_2', of));
        const error = await refused(limits.take(place('call_3', of)));
        expect(error).to.include({ code: 'concurrent_call_limit_reached', status: 429, retryAfter: 2 });
        expect(error.details).to.have.length(1);
        limits.release('call_1', 0);
        await limits.take(place('call_3', of));
      });
    }

    it('count each leg, and a call that is over gives all of its legs back', async () => {
      const of = { customer: { id: 'cust_1', cps: 100, concurrentCalls: 3 } };
      for (const leg of [0, 1, 2]) await limits.take({ ...place('call_1', of), leg });
      await refused(limits.take(place('call_2', of)));
      limits.releaseCall('call_1');
      expect(limits.counters).to.deep.equal({ held: 0, taking: 0, orphans: 0 });
      for (const leg of [0, 1, 2]) await limits.take({ ...place('call_2', of), leg });
    });

    it('give a place back once, however often it is said', async () => {
      const of = { customer: { id: 'cust_1', cps: 100, concurrentCalls: 2 } };
      await limits.take(place('call_1', of));
      await limits.take(place('call_2', of));
      for (let n = 0; n < 5; n++) limits.release('call_1', 0);
      limits.release('call_unknown', 0);
      await limits.take(place('call_3', of));
      await refused(limits.take(place('call_4', of)));
    });

    it('that are lowered hold from then on, and those that are raised at once', async () => {
      const of = (concurrentCalls: number) => ({ customer: { id: 'cust_1', cps: 100, concurrentCalls } });
      for (let n = 0; n < 4; n++) await limits.take(place(`call_${n}`, of(4)));
      await refused(limits.take(place('call_5', of(2))));
      limits.release('call_0', 0);
      limits.release('call_1', 0);
      await refused(limits.take(place('call_5', of(2))));
      await limits.take(place('call_5', of(3)));
    });

    it('a place that was given back before it was granted is not kept', async () => {
      const of = { customer: { id: 'cust_1', cps: 100, concurrentCalls: 1 } };
      const taking = limits.take(place('call_1', of));
      limits.release('call_1', 0);
      await taking;
      await limits.take(place('call_2', of));
    });
  });

  describe('of trunks', () => {
    const trunks = [{ id: 'trunk_1', maxConcurrent: 1 }, { id: 'trunk_2', maxCps: 2 }, { id: 'trunk_3' }];

    it('pass those without room over, in order', async () => {
      expect(await limits.take(place('call_1', { trunks }))).to.deep.equal(['trunk_1', 'trunk_2', 'trunk_3']);
      expect(await limits.take(place('call_2', { trunks }))).to.deep.equal(['trunk_2', 'trunk_3']);
      expect(await limits.take(place('call_3', { trunks }))).to.deep.equal(['trunk_2', 'trunk_3']);
      expect(await limits.take(place('call_4', { trunks }))).to.deep.equal(['trunk_3']);
      limits.release('call_1', 0);
      expect(await limits.take(place('call_5', { trunks }))).to.deep.equal(['trunk_1', 'trunk_3']);
    });

    it('say what would pass soonest when none has room', async () => {
      const full = [
        { id: 'trunk_1', maxConcurrent: 1 },
        { id: 'trunk_2', maxCps: 1 },
      ];
      await limits.take(place('call_1', { trunks: full }));
      await limits.take(place('call_2', { trunks: full }));
      expect((await refused(limits.take(place('call_3', { trunks: full })))).code).to.equal(
        'cps_limit_reached',
      );
      expect((await refused(limits.take(place('call_3', { trunks: full.slice(0, 1) })))).code).to.equal(
        'concurrent_call_limit_reached',
      );
    });

    it('follow a leg that went to another trunk', async () => {
      const two = [
        { id: 'trunk_1', maxConcurrent: 1 },
        { id: 'trunk_2', maxConcurrent: 1 },
      ];
      await limits.take(place('call_1', { trunks: two }));
      limits.moved('call_1', 0, 'trunk_2');
      expect(await limits.take(place('call_2', { trunks: two }))).to.deep.equal(['trunk_1']);
      limits.release('call_1', 0);
      expect(await limits.take(place('call_3', { trunks: two }))).to.deep.equal(['trunk_2']);
    });
  });

  describe('when a process is killed', () => {
    const of = { customer: { id: 'cust_1', cps: 100, concurrentCalls: 2 } };

    it('its places are free after 30 s, and not before', async () => {
      const second = await started(1);
      await second.take(place('call_1', of));
      await second.take(place('call_2', of));
      await second.stop();
      await pass(29, limits);
      await refused(limits.take(place('call_3', of)));
      await pass(1, limits);
      await limits.take(place('call_3', of));
    });

    it('its next life takes the places of calls that go on over, and lets the others go', async () => {
      const second = await started(1);
      await second.take(place('call_1', of));
      await second.take(place('call_2', { ...of, trunks: [{ id: 'trunk_1', maxConcurrent: 1 }] }));
      await second.stop();
      await pass(20, limits);
      const next = await started(1, (id) => id === 'call_2');
      expect(next.counters).to.include({ held: 1, orphans: 1 });
      await pass(60, limits, next);
      expect(next.counters).to.include({ held: 1, orphans: 0 });
      await limits.take(place('call_3', of));
      await refused(limits.take(place('call_4', of)));
      expect(
        (
          await refused(
            limits.take(
              place('call_5', {
                customer: { id: 'cust_2', cps: 9, concurrentCalls: 9 },
                trunks: [{ id: 'trunk_1', maxConcurrent: 1 }],
              }),
            ),
          )
        ).code,
      ).to.equal('concurrent_call_limit_reached');
      next.release('call_2', 0);
      await other.ping(); // Until then Redis may hear of what comes over the other connection first.
      await limits.take(place('call_6', { ...of, trunks: [{ id: 'trunk_1', maxConcurrent: 1 }] }));
    });

    it('a call that its next life hears of later keeps its place', async () => {
      const mine = new Set<string>();
      const second = await started(1);
      await second.take(place('call_1', of));
      await second.stop();
      const next = await started(1, (id) => mine.has(id));
      await pass(5, limits, next);
      mine.add('call_1');
      await pass(60, limits, next);
      await limits.take(place('call_2', of));
      await refused(limits.take(place('call_3', of)));
    });

    it('and Redis with it, its next life announces what the database knows', async () => {
      const second = await started(1);
      await second.take(place('call_1', of));
      await second.stop();
      await redis.flushdb();
      const next = limitsOf(other, 1, clock);
      opened.push(next);
      await next.start(all, [{ callId: 'call_1', leg: 0, customerId: 'cust_1', applicationId: 'app_1' }]);
      await settled(limits, next);
      await limits.take(place('call_2', of));
      await refused(limits.take(place('call_3', of)));
    });
  });

  describe('when Redis loses its memory', () => {
    const of = { customer: { id: 'cust_1', cps: 100, concurrentCalls: 2 } };

    it('nobody takes a place until all that are held have been announced again', async () => {
      const second = await started(1);
      await limits.take(place('call_1', of));
      await second.take(place('call_2', of));
      await pass(2, limits, second);
      await redis.flushdb();
      const error = await refused(limits.take(place('call_3', of)));
      expect(error).to.include({ code: 'service_unavailable', status: 503, retryAfter: 3 });
      await limits.beat();
      await pass(5, limits); // The other process is slow to notice.
      expect((await refused(limits.take(place('call_3', of)))).code).to.equal('service_unavailable');
      await second.beat();
      expect((await refused(limits.take(place('call_3', of)))).code).to.equal(
        'concurrent_call_limit_reached',
      );
      expect((await refused(second.take(place('call_3', of)))).code).to.equal(
        'concurrent_call_limit_reached',
      );
      second.release('call_2', 0);
      await second.take(place('call_3', of));
    });

    it('a process that does not come back is waited for as long as its places would have lasted', async () => {
      const second = await started(1);
      await second.take(place('call_2', of));
      await pass(1, limits, second);
      await second.stop();
      await redis.flushdb();
      await pass(30, limits);
      expect((await refused(limits.take(place('call_1', of)))).code).to.equal('service_unavailable');
      await pass(1, limits);
      await limits.take(place('call_1', of));
    });

    it('a process that had ended with nothing to come back to is not waited for', async () => {
      const second = await started(1);
      await second.take(place('call_2', of));
      await pass(1, limits, second);
      second.release('call_2', 0);
      await second.stop();
      await pass(1, limits);
      await redis.flushdb();
      await settled(limits);
      await limits.take(place('call_1', of));
    });

    it('a place granted just before it, and heard of after, is announced too', async () => {
      const taking = limits.take(place('call_1', of));
      const flushing = redis.flushdb();
      const beating = limits.beat();
      await Promise.all([taking, flushing, beating]);
      await settled(limits);
      await limits.take(place('call_2', of));
      await refused(limits.take(place('call_3', of)));
    });
  });

  describe('when Redis is away', () => {
    it('refuse within a second, with Retry-After: a connection that hangs', async () => {
      const silent = createServer(() => undefined);
      await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
      const hanging = new Redis({
        port: (silent.address() as AddressInfo).port,
        enableReadyCheck: false,
        maxRetriesPerRequest: 1,
      });
      hanging.on('error', () => undefined);
      try {
        const apart = limitsOf(hanging, 5, undefined, { patienceMs: 50 });
        expect(await refused(apart.take(place('call_1')))).to.include({
          code: 'service_unavailable',
          retryAfter: 2,
        });
        expect(apart.open).to.equal(false);
        expect(apart.counters).to.deep.equal({ held: 0, taking: 0, orphans: 0 });
      } finally {
        hanging.disconnect();
        silent.close();
      }
    });

    it('refuse, with Retry-After: no connection', async () => {
      const gone = new Redis({ port: 1, maxRetriesPerRequest: 0, retryStrategy: () => 1000 });
      gone.on('error', () => undefined);
      const apart = limitsOf(gone, 5);
      expect((await refused(apart.take(place('call_1')))).code).to.equal('service_unavailable');
      gone.disconnect();
    });
  });

  it("by Redis' own time hold too, and what is left goes by itself", async () => {
    await redis.flushdb();
    const timed = limitsOf(redis, 0, undefined, { beatMs: 5, settleMs: 20, lifeMs: 100, renewMs: 20 });
    opened.push(timed);
    await timed.start(none);
    const of = { customer: { id: 'cust_1', cps: 2, concurrentCalls: 100 } };
    const granted: string[] = [];
    const began = Date.now();
    for (let n = 0; granted.length < 3; n++)
      await timed.take(place(`call_${n}`, of)).then(
        () => granted.push(`call_${n}`),
        () => undefined,
      );
    expect(Date.now() - began).to.be.greaterThan(990);
    expect(timed.counters.held).to.equal(3);
    await timed.stop();
    while ((await redis.keys('*held*')).length > 0)
      await new Promise((resolve) => {
        setTimeout(resolve, 10);
      });
  });

  it('what Redis has written down and nobody holds is swept away', async () => {
    await limits.take(place('call_1'));
    await redis.hset('{limits}:places:0', 'call_ghost:0', 'cust_1 app_1 ');
    await redis.zadd('{limits}:held:cust_1', String(clock.ms + 25_000), 'call_ghost:0');
    await limits.beat();
    expect(await redis.hkeys('{limits}:places:0')).to.deep.equal(['call_1:0']);
    expect(await redis.zrange('{limits}:held:cust_1', '0', '-1')).to.deep.equal(['call_1:0']);
  });
});

import { expect } from 'chai';
import fc from 'fast-check';
import { ApiError } from '../../../control/lib/errors.ts';
import { startRig, type Rig } from './rig.ts';
import { INBOUND, OUTBOUND, World } from './world.ts';

/** One thing that happens; numbers choose among what there is at that moment. */
type Step =
  | { do: 'place'; process: number; customer: number; tariff: number; refused: boolean }
  | { do: 'receive'; process: number; customer: number; priced: boolean }
  | { do: 'ring' | 'answer' | 'ring leg' | 'answer leg'; which: number; trunk: number }
  | { do: 'hang up'; which: number; byApi: boolean }
  | { do: 'end leg'; which: number; cause: 'USER_BUSY' | 'NO_ANSWER' | 'NORMAL_CLEARING' }
  | { do: 'bridge'; which: number; tariff: number }
  | { do: 'credit'; customer: number; micros: bigint }
  | { do: 'tick' | 'sweep' | 'revive'; process: number }
  | { do: 'kill'; process: number; statement: number; replied: boolean }
  | { do: 'flush'; pause: boolean };

const n = fc.nat({ max: 1000 });
const one = fc.nat({ max: 1 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 24,
    arbitrary: fc.record({
      do: fc.constant('place' as const),
      process: one,
      customer: n,
      tariff: n,
      refused: fc.integer({ min: 0, max: 11 }).map((of) => of === 0),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('receive' as const),
      process: one,
      customer: n,
      priced: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constantFrom('ring' as const, 'ring leg' as const), which: n, trunk: one }),
  },
  {
    weight: 20,
    arbitrary: fc.record({
      do: fc.constantFrom('answer' as const, 'answer' as const, 'answer leg' as const),
      which: n,
      trunk: one,
    }),
  },
  { weight: 9, arbitrary: fc.record({ do: fc.constant('hang up' as const), which: n, byApi: fc.boolean() }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('end leg' as const),
      which: n,
      cause: fc.constantFrom('USER_BUSY' as const, 'NO_ANSWER' as const, 'NORMAL_CLEARING' as const),
    }),
  },
  { weight: 12, arbitrary: fc.record({ do: fc.constant('bridge' as const), which: n, tariff: n }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('credit' as const),
      customer: n,
      micros: fc.bigInt({ min: -2_000_000n, max: 3_000_000n }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('tick' as const, 'sweep' as const, 'revive' as const, 'revive' as const),
      process: one,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('kill' as const),
      process: one,
      statement: fc.nat({ max: 12 }),
      replied: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('flush' as const), pause: fc.boolean() }) },
);
/** What happens at once, or so much time that passes, in ms. */
const moment = fc.oneof(
  { weight: 3, arbitrary: fc.array(step, { minLength: 2, maxLength: 12, size: 'max' }) },
  {
    weight: 1,
    arbitrary: fc.oneof(fc.integer({ min: 100, max: 3000 }), fc.integer({ min: 1000, max: 75_000 })),
  },
);

async function run(world: World, what: Step): Promise<void> {
  const withLeg = world.lines(true).filter(({ leg }) => leg);
  if (what.do === 'place') return world.place(what.process, what.customer, what.tariff, what.refused);
  if (what.do === 'receive') return world.receive(what.process, what.customer, what.priced);
  if (what.do === 'ring')
    return world
      .of(
        world.lines(false).filter(({ outbound }) => outbound),
        what.which,
      )
      ?.ring(what.trunk);
  if (what.do === 'answer')
    return world
      .of(
        world.lines(false).filter(({ outbound }) => outbound),
        what.which,
      )
      ?.answer(what.trunk);
  if (what.do === 'ring leg') return world.of(withLeg, what.which)?.ringLeg(what.trunk);
  if (what.do === 'answer leg') return world.of(withLeg, what.which)?.answerLeg(what.trunk);
  if (what.do === 'hang up') return world.hangUp(world.of(world.lines(), what.which), what.byApi);
  if (what.do === 'end leg')
    return world.of(withLeg, what.which)?.endLeg({ cause: what.cause, endedBy: 'callee' });
  if (what.do === 'bridge') return world.bridge(what.which, what.tariff);
  if (what.do === 'tick')
    return world.processes[what.process]?.orDies(
      world.processes[what.process]?.billing.tick() ?? Promise.resolve(),
    );
  if (what.do === 'sweep')
    return void (await world.processes[what.process]?.orDies(
      world.processes[what.process]?.billing.sweep() ?? Promise.resolve(0),
    ));
  if (what.do === 'kill') return world.processes[what.process]?.killAt(what.statement, what.replied);
  if (what.do === 'credit') {
    const customer = world.of(world.customers, what.customer);
    if (!customer || what.micros === 0n) return;
    await world.rig.ledger
      .credit(customer.id, { amountMicros: what.micros, reason: 'a test' })
      .catch((error: unknown) => {
        if (!(error instanceof ApiError) || error.code !== 'insufficient_balance') throw error;
      });
  }
}

describe('calls, their limits and their money, whatever happens in whatever order', function () {
  this.timeout(600_000);
  let rig: Rig;
  before(async () => {
    rig = await startRig();
    await rig.rates(...OUTBOUND, ...INBOUND);
  });
  after(() => rig.close());

  it('each hold is resolved once and each charge is right, no limit is exceeded, and nothing stays', async () => {
    const count = { steps: 0, moments: 0, placed: 0, legs: 0, lives: 0, exact: 0, unseen: 0, exhausted: 0 };
    const refused = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(fc.array(moment, { minLength: 12, maxLength: 36, size: 'max' }), async (moments) => {
        await rig.clear();
        const world = new World(rig);
        await world.begin();
        for (const what of moments) {
          count.moments++;
          if (typeof what === 'number') {
            await world.pass(what);
          } else {
            count.steps += what.length;
            await Promise.all(what.map((each) => run(world, each)));
            // What was to die has died by now; what is to live again, or to forget, does so after the others.
            for (const each of what) if (each.do === 'kill' && each.statement < 9) world.kill(each.process);
            await world.settle();
            for (const each of what) {
              if (each.do === 'revive') await world.revive(each.process);
              if (each.do === 'flush') await world.flush();
              if (each.do === 'flush' && each.pause) await world.pass(4000);
            }
            await world.settle();
          }
          await world.expectInOrder();
        }
        await world.finish();
        await world.expectSound();
        for (const key of ['placed', 'lives', 'exact', 'unseen', 'exhausted'] as const)
          count[key] += world.count[key];
        count.legs += rig.node.lines.reduce((sum, line) => sum + line.legs.length, 0);
        for (const [code, times] of world.count.refused) refused.set(code, (refused.get(code) ?? 0) + times);
      }),
      { numRuns: Number(process.env['MINIVOICE_TEST_RUNS'] ?? 16), endOnFailure: true },
    );
    // There was something to look at.
    expect(count.exact, JSON.stringify(count)).to.be.greaterThan(count.placed / 3);
    if (process.env['MINIVOICE_TEST_RUNS']) console.log(count, Object.fromEntries(refused));
  });
});

import { expect } from 'chai';
import fc from 'fast-check';
import { affordableSeconds, chargeOf, paidSeconds, type Tariff } from '../../../control/billing/charge.ts';

const tariffs = fc.record<Tariff>({
  priceMicros: fc.bigInt({ min: 0n, max: 10n ** 12n }),
  feeMicros: fc.bigInt({ min: 0n, max: 10n ** 9n }),
  minimumSeconds: fc.integer({ min: 0, max: 300 }),
  incrementSeconds: fc.integer({ min: 1, max: 300 }),
});
const seconds = fc.integer({ min: 0, max: 100_000 });

/** Counted out, in sixtieths of a micro-unit, without a division. */
function countedOut(tariff: Tariff, billsec: number): bigint {
  let paid = 0;
  while (paid < Math.max(billsec, tariff.minimumSeconds)) paid += tariff.incrementSeconds;
  const sixtieths = tariff.priceMicros * BigInt(paid);
  let micros = sixtieths / 60n;
  while (micros * 60n < sixtieths) micros++;
  return tariff.feeMicros + micros;
}

describe('the charge of a call', () => {
  it('is the fee and whole increments of time, and is rounded up to a micro-unit', () => {
    const minute: Tariff = {
      priceMicros: 100_000n,
      feeMicros: 10_000n,
      minimumSeconds: 30,
      incrementSeconds: 6,
    };
    expect([0, 1, 30, 31, 36, 37, 60].map((billsec) => chargeOf(minute, billsec))).to.deep.equal([
      60_000n,
      60_000n,
      60_000n,
      70_000n,
      70_000n,
      80_000n,
      110_000n,
    ]);
    const odd: Tariff = { priceMicros: 1n, feeMicros: 0n, minimumSeconds: 0, incrementSeconds: 1 };
    expect([0, 1, 60, 61].map((billsec) => chargeOf(odd, billsec))).to.deep.equal([0n, 1n, 1n, 2n]);
    expect(chargeOf({ ...odd, priceMicros: 0n, feeMicros: 5n }, 3600)).to.equal(5n);
    expect(
      chargeOf({ ...odd, minimumSeconds: 45, incrementSeconds: 60, priceMicros: 120n }, 1),
      'a minimum that is no whole increment',
    ).to.equal(120n);
  });

  it('is what counting it out gives', () => {
    fc.assert(
      fc.property(tariffs, fc.integer({ min: 0, max: 5000 }), (tariff, billsec) => {
        expect(chargeOf(tariff, billsec)).to.equal(countedOut(tariff, billsec));
      }),
      { numRuns: 1000 },
    );
  });

  it('never falls as a call gets longer, and what is held for some seconds covers every call up to there', () => {
    fc.assert(
      fc.property(tariffs, seconds, seconds, (tariff, a, b) => {
        const [short, long] = a < b ? [a, b] : [b, a];
        expect(chargeOf(tariff, short) <= chargeOf(tariff, long)).to.equal(true);
        expect(chargeOf(tariff, paidSeconds(tariff, long))).to.equal(chargeOf(tariff, long));
      }),
      { numRuns: 1000 },
    );
  });

  it('says how far money carries: as far as it goes, and not one increment further', () => {
    fc.assert(
      fc.property(
        tariffs,
        seconds,
        fc.integer({ min: 1, max: 100 }),
        fc.bigInt({ min: 0n, max: 10n ** 12n }),
        (tariff, start, increments, micros) => {
          const from = paidSeconds(tariff, start);
          const to = from + increments * tariff.incrementSeconds;
          const reached = affordableSeconds(tariff, from, to, micros);
          expect(reached).to.be.within(from, to);
          expect(reached % tariff.incrementSeconds).to.equal(0);
          expect(chargeOf(tariff, reached) - chargeOf(tariff, from) <= micros).to.equal(true);
          if (reached < to)
            expect(
              chargeOf(tariff, reached + tariff.incrementSeconds) - chargeOf(tariff, from) > micros,
            ).to.equal(true);
        },
      ),
      { numRuns: 1000 },
    );
  });
});

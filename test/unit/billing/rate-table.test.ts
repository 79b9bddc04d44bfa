import { expect } from 'chai';
import fc from 'fast-check';
import type { Rate } from '../../../control/billing/rates/rate.ts';
import { RateTable } from '../../../control/billing/rates/table.ts';

const NOW = new Date('2026-05-29T12:00:00Z');
const customer = { id: 'cust_1', currency: 'EUR' };

let n = 0;
const rate = (over: Partial<Rate>): Rate => ({
  id: `rate_${++n}`,
  customerId: undefined,
  direction: 'outbound',
  prefix: '+49',
  priceMicros: 1n,
  feeMicros: 0n,
  minimumSeconds: 0,
  incrementSeconds: 1,
  currency: 'EUR',
  validFrom: undefined,
  isActive: true,
  createdAt: NOW,
  updatedAt: NOW,
  ...over,
});

function tableOf(...rates: Rate[]): RateTable {
  const table = new RateTable();
  for (const rate of rates) table.put(rate.id, rate);
  return table;
}

/** Every rate that could apply, the best first: written down once more, as plainly as can be. */
function oracle(rates: readonly Rate[], direction: string, number: string): Rate | undefined {
  const matching = rates.filter(
    (r) =>
      r.isActive &&
      r.direction === direction &&
      r.currency === 'EUR' &&
      number.startsWith(r.prefix) &&
      (r.customerId === undefined || r.customerId === 'cust_1') &&
      (r.validFrom === undefined || r.validFrom <= NOW),
  );
  return matching.sort(
    (a, b) =>
      Number(b.customerId !== undefined) - Number(a.customerId !== undefined) ||
      b.prefix.length - a.prefix.length ||
      (b.validFrom?.getTime() ?? 0) - (a.validFrom?.getTime() ?? 0),
  )[0];
}

describe('the table of rates', () => {
  it('gives the longest of overlapping prefixes', () => {
    const [germany, mobile, one] = [
      rate({ prefix: '+49' }),
      rate({ prefix: '+4915' }),
      rate({ prefix: '+4915112345678' }),
    ];
    const table = tableOf(germany, mobile, one);
    expect(table.find(customer, 'outbound', '+493012345678', NOW)).to.equal(germany);
    expect(table.find(customer, 'outbound', '+4915112345679', NOW)).to.equal(mobile);
    expect(table.find(customer, 'outbound', '+4915112345678', NOW)).to.equal(one);
    expect(table.find(customer, 'outbound', '+441234567', NOW)).to.equal(undefined);
    expect(table.find(customer, 'inbound', '+493012345678', NOW)).to.equal(undefined);
  });

  it("looks at a customer's own rates first, and at the default table where none of them matches", () => {
    const [general, special, own, others] = [
      rate({ prefix: '+4915' }),
      rate({ prefix: '+44' }),
      rate({ customerId: 'cust_1' }),
      rate({ customerId: 'cust_2', prefix: '+4' }),
    ];
    const table = tableOf(general, special, own, others);
    expect(table.find(customer, 'outbound', '+4915112345678', NOW)).to.equal(own);
    expect(table.find(customer, 'outbound', '+441234567', NOW)).to.equal(special);
    expect(table.find({ ...customer, id: 'cust_2' }, 'outbound', '+4915112345678', NOW)).to.equal(others);
  });

  it('passes over what is not active, not yet valid, or in another currency', () => {
    const shorter = rate({ prefix: '+4' });
    const table = tableOf(
      shorter,
      rate({ isActive: false }),
      rate({ currency: 'USD' }),
      rate({ validFrom: new Date(NOW.getTime() + 1) }),
    );
    expect(table.find(customer, 'outbound', '+4930', NOW)).to.equal(shorter);
    expect(table.find({ ...customer, currency: 'USD' }, 'outbound', '+4930', NOW)).to.include({
      currency: 'USD',
    });
    expect(table.find({ ...customer, currency: 'CHF' }, 'outbound', '+4930', NOW)).to.equal(undefined);
  });

  it('takes the rate of a prefix that became valid last, and the next one when its time has come', () => {
    const [always, since, later] = [
      rate({}),
      rate({ validFrom: NOW }),
      rate({ validFrom: new Date(NOW.getTime() + 60_000) }),
    ];
    const table = tableOf(later, always, since);
    expect(table.find(customer, 'outbound', '+4930', new Date(NOW.getTime() - 1))).to.equal(always);
    expect(table.find(customer, 'outbound', '+4930', NOW)).to.equal(since);
    expect(table.find(customer, 'outbound', '+4930', new Date(NOW.getTime() + 60_000))).to.equal(later);
  });

  it('finds what looking at every rate finds, whatever was put in, changed and taken out', () => {
    const digits = fc
      .string({ unit: fc.constantFrom('4', '9', '1'), minLength: 1, maxLength: 4 })
      .map((text) => `+${text}`);
    const rates = fc.record({
      id: fc.integer({ min: 0, max: 15 }).map((id) => `rate_${id}`),
      customerId: fc.constantFrom(undefined, 'cust_1', 'cust_2'),
      direction: fc.constantFrom('inbound' as const, 'outbound' as const),
      prefix: digits,
      currency: fc.constantFrom('EUR', 'EUR', 'USD'),
      validFrom: fc.constantFrom(
        undefined,
        ...[-2, -1, 0, 1].map((days) => new Date(NOW.getTime() + days * 86_400_000)),
      ),
      isActive: fc.constantFrom(true, true, false),
      gone: fc.constantFrom(false, false, false, true),
    });
    fc.assert(
      fc.property(
        fc.array(rates, { maxLength: 40 }),
        fc.array(digits, { minLength: 1, maxLength: 5 }),
        (changes, numbers) => {
          const table = new RateTable();
          const known = new Map<string, Rate>();
          for (const { gone, ...over } of changes) {
            const changed = rate(over);
            // As the unique index of the database has it.
            const same = [...known.values()].some(
              (r) =>
                r.id !== changed.id &&
                r.customerId === changed.customerId &&
                r.direction === changed.direction &&
                r.prefix === changed.prefix &&
                r.currency === changed.currency &&
                r.validFrom?.getTime() === changed.validFrom?.getTime(),
            );
            if (same && !gone) continue;
            if (gone) known.delete(changed.id);
            else known.set(changed.id, changed);
            table.put(changed.id, gone ? undefined : changed);
          }
          for (const number of numbers.map((start) => `${start}914491`)) {
            for (const direction of ['inbound', 'outbound'] as const)
              expect(table.find(customer, direction, number, NOW)).to.equal(
                oracle([...known.values()], direction, number),
              );
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

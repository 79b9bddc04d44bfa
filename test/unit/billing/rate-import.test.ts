import { expect } from 'chai';
import fc from 'fast-check';
import { CsvError, parseCsv } from '../../../control/billing/rates/csv.ts';
import { planImport, readRates } from '../../../control/billing/rates/import.ts';
import { ApiError } from '../../../control/lib/errors.ts';

const defaults = { customerId: undefined, currency: 'EUR' };

const problemsOf = async (
  text: string,
  owner: { customerId: string | undefined; currency: string } = defaults,
): Promise<string[]> => {
  try {
    await readRates(text, owner);
    return [];
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return (error.details ?? []).map(({ path, message }) => `${path} ${message}`);
  }
};

describe('the CSV of a rate import', () => {
  it('reads back whatever a spreadsheet would have written', () => {
    const values = fc.string({ unit: fc.constantFrom('a', '1', ' ', ',', '"', '\n', 'é') });
    fc.assert(
      fc.property(
        fc.array(fc.array(values, { minLength: 1, maxLength: 4 }), { maxLength: 5 }),
        fc.constantFrom('\n', '\r\n'),
        (rows, newline) => {
          const text = rows
            .map((row) => row.map((value) => `"${value.replaceAll('"', '""')}"`).join(','))
            .join(newline);
          expect([...parseCsv(text)].map(({ values }) => values)).to.deep.equal(
            rows.filter((row) => row.some((value) => value !== '')),
          );
        },
      ),
    );
  });

  it('knows the line each record begins at', () => {
    expect(
      [...parseCsv('\uFEFFa, b \n\n"c\nd" , e\r\nf')].map(({ line, values }) => [line, ...values]),
    ).to.deep.equal([
      [1, 'a', 'b'],
      [3, 'c\nd', 'e'],
      [5, 'f'],
    ]);
  });

  it('is refused where a quote is out of place', () => {
    for (const text of ['a\nb"c"', 'a\n"b" c', 'a\n"b\n\n']) {
      expect(() => [...parseCsv(text)])
        .to.throw(CsvError)
        .with.property('line', 2);
    }
  });
});

describe('a rate import', () => {
  it('takes columns in any order, empty values as left out, and prefixes without their plus', async () => {
    const [first, second] = await readRates(
      'price_per_minute,prefix,minimum_seconds,valid_from,is_active,direction\n0.105,+49,,,,\n"1",4915,30,2026-06-01T00:00:00Z,false,inbound\n',
      defaults,
    );
    expect(first).to.deep.equal({
      line: 2,
      terms: {
        direction: 'outbound',
        prefix: '+49',
        priceMicros: 105_000n,
        feeMicros: 0n,
        minimumSeconds: 0,
        incrementSeconds: 1,
        currency: 'EUR',
        validFrom: undefined,
        isActive: true,
      },
    });
    expect(second?.terms).to.deep.include({
      prefix: '+4915',
      priceMicros: 1_000_000n,
      minimumSeconds: 30,
      validFrom: new Date('2026-06-01T00:00:00Z'),
      isActive: false,
      direction: 'inbound',
    });
  });

  it('names the line and the field of everything that is wrong', async () => {
    expect(
      await problemsOf(
        'prefix,price_per_minute,increment_seconds,currency,is_active\n49,"0,01",1,EUR,true\nabc,1,0,euro,yes\n+44,,1.5,EUR,\n1,2,3,EUR,true,6\n',
      ),
    ).to.deep.equal([
      'line 2: price_per_minute must be a decimal string such as "0.105", with at most six decimals',
      'line 3: prefix must be the start of an E.164 number with its plus sign',
      'line 3: increment_seconds must be at least 1',
      'line 3: currency must be an ISO 4217 code such as EUR',
      'line 3: is_active must be a boolean',
      'line 4: price_per_minute is required',
      'line 4: increment_seconds must be a number',
      'line 5 has 6 values for 5 columns',
    ]);
  });

  it('wants a head line with the columns it needs and none it does not know, and at least one rate', async () => {
    expect(await problemsOf('')).to.deep.equal(['line 1 must name the columns']);
    expect(await problemsOf('49,0.01\n')).to.include.members([
      'line 1: 49 is not a known column',
      'line 1: prefix is required',
      'line 1: price_per_minute is required',
    ]);
    expect(await problemsOf('prefix,price_per_minute,prefix\n')).to.deep.equal([
      'line 1: prefix is there twice',
    ]);
    expect(await problemsOf('prefix,price_per_minute\n')).to.deep.equal([
      'line 2 must be a rate: there is none',
    ]);
    expect(await problemsOf('prefix,price_per_minute\n49,"1\n')).to.deep.equal([
      'line 2 has a quote that is not closed',
    ]);
  });

  it('does not take the same rate twice, nor one that a customer could never use', async () => {
    expect(await problemsOf('prefix,price_per_minute,currency\n49,1,\n+49,2,EUR\n49,1,USD\n')).to.deep.equal([
      'line 3: prefix is the same rate as line 2',
    ]);
    expect(
      await problemsOf('prefix,price_per_minute,currency\n49,1,USD\n44,1,\n', {
        customerId: 'cust_1',
        currency: 'CHF',
      }),
    ).to.deep.equal(['line 2: currency must be CHF, the currency of the customer']);
  });

  it('names 100 problems and says how many more there are', async () => {
    const problems = await problemsOf(`prefix,price_per_minute\n${'x,1\n'.repeat(130)}`);
    expect(problems).to.have.length(101);
    expect(problems.at(-1)).to.equal(' and 30 more');
  });

  it('leaves others their turn all the while, and a reply names 1,000 lines and how many more change something', async () => {
    let turns = 0;
    let over = false;
    const spin = (): void => {
      turns++;
      if (!over) setImmediate(spin);
    };
    setImmediate(spin);
    const text = `prefix,price_per_minute\n${Array.from({ length: 5000 }, (_, n) => `1${String(n).padStart(5, '0')},1`).join('\n')}`;
    const read = await readRates(text, defaults);
    const { write, report } = await planImport(read, [], defaults, { id: () => 'rate_1', now: new Date() });
    over = true;
    expect(write).to.have.length(5000);
    expect(report).to.include({ created: 5000, lines_left_out: 4000 });
    expect(report.lines).to.have.length(1000);
    // One for each 500 lines, when they are read and again when they are compared.
    expect(turns).to.be.at.least(16);
  });
});

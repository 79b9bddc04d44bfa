import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { parse } from 'csv-parse/sync';

/**
 * How a call ended; `skipped`: this one may not be called; `not_called`: the campaign stopped before;
 * `unknown`: perhaps called.
 */
export const OUTCOMES = ['completed', 'failed', 'canceled', 'skipped', 'not_called', 'unknown'] as const;

const COLUMNS = [
  'to',
  'reference',
  'outcome',
  'code',
  'call_id',
  'billsec_seconds',
  'cost_amount',
  'cost_currency',
  'recording_url',
] as const;

/**
 * What became of a recipient: a line of the results. Fields are named as the API names them; `code` says why.
 */
export type Result = Partial<Record<(typeof COLUMNS)[number], string>> & {
  to: string;
  outcome: (typeof OUTCOMES)[number];
};

const cell = (value = ''): string => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
const lineOf = (result: Result): string => `${COLUMNS.map((column) => cell(result[column])).join(',')}\n`;
const HEADER = `${COLUMNS.join(',')}\n`;

/**
 * The results of a campaign, as a CSV file. It is also the campaign's memory: whoever stands in it with a
 * call is not called when the campaign is started again, however long after.
 */
export class ResultsFile {
  readonly #path: string;
  /** What earlier runs have left behind, by number. */
  readonly earlier: ReadonlyMap<string, Result>;

  constructor(path: string) {
    this.#path = path;
    // While a campaign runs a recipient may stand in it more than once, and the last line counts. One that
    // was cut off is passed over.
    const lines = existsSync(path)
      ? (parse(readFileSync(path), {
          columns: true,
          skip_empty_lines: true,
          skip_records_with_error: true,
        }) as Result[])
      : [];
    this.earlier = new Map(lines.map((result) => [result.to, result]));
    this.write([...this.earlier.values()]);
  }

  /** Adds what has become known, so that it is not lost whatever happens. */
  add(result: Result): void {
    appendFileSync(this.#path, lineOf(result));
  }

  /** The whole file anew, one line for each. */
  write(results: Iterable<Result>): void {
    writeFileSync(this.#path, HEADER + [...results].map(lineOf).join(''));
  }
}

/** A count for each of the values, the most frequent first: `busy 4, no_answer 1`. */
function tally(values: string[]): string {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([value, count]) => `${value} ${count}`)
    .join(', ');
}

/**
 * Amounts are decimal strings with six decimals at most: they are added in millionths, since floats are no
 * money.
 */
function total(results: Result[]): string {
  const sums = new Map<string, number>();
  for (const { cost_amount, cost_currency = '' } of results) {
    if (cost_amount)
      sums.set(cost_currency, (sums.get(cost_currency) ?? 0) + Math.round(Number(cost_amount) * 1e6));
  }
  return [...sums]
    .map(([currency, micros]) => `${(micros / 1e6).toFixed(6).replace(/0{1,4}$/, '')} ${currency}`)
    .join(', ');
}

/** What came of it all, in a few lines: counts by outcome and code, minutes, cost. */
export function summary(results: Result[]): string {
  const seconds = results.reduce((sum, { billsec_seconds }) => sum + Number(billsec_seconds ?? 0), 0);
  const lines = OUTCOMES.flatMap((outcome) => {
    const these = results.filter((result) => result.outcome === outcome);
    const codes = tally(these.flatMap(({ code }) => code || []));
    return these.length > 0
      ? [`  ${outcome.padEnd(11)}${String(these.length).padStart(6)}   ${codes}`.trimEnd()]
      : [];
  });
  const recordings = results.filter(({ recording_url }) => recording_url).length;
  return [
    ...lines,
    `  ${(seconds / 60).toFixed(1)} minutes, ${total(results) || 'no cost'}, ${recordings} recordings`,
  ].join('\n');
}

import type { z } from 'zod';
import { ApiError, type ErrorDetail } from '../../lib/errors.ts';
import { parseMicros } from '../../lib/money.ts';
import { detailsOf, plainWords } from '../../lib/zod-path.ts';
import { inPieces } from '../../lib/pieces.ts';
import { CsvError, parseCsv, type CsvRecord } from './csv.ts';
import type { Rate } from './rate.ts';
import { rateLine, termsToJson, type ImportReport, type RateLine } from './schema.ts';

const COLUMNS = Object.keys(rateLine.shape) as (keyof typeof rateLine.shape)[];
const NEEDED = ['prefix', 'price_per_minute'] as const;
const NUMBERS: readonly string[] = ['minimum_seconds', 'increment_seconds'];
/** A reply names so many problems at most. */
const MOST_DETAILS = 100;

export interface ReadLine {
  line: number;
  terms: Terms;
}

/** What is agreed in a rate. */
export type Terms = Omit<Rate, 'id' | 'customerId' | 'createdAt' | 'updatedAt'>;

/** Whose rates they are. */
export interface Owner {
  /** Absent: the default table. */
  customerId: string | undefined;
  /** What a rate without one is in; a customer's own rates can be in no other. */
  currency: string;
}

/** A reply names so many changed lines at most: each is some 100 bytes, and a price list may have 100,000. */
const MOST_LINES = 1000;

/**
 * The rates of a CSV text, read in pieces.
 * @throws ApiError invalid_request that names the line and the field of everything that is wrong
 */
export async function readRates(text: string, owner: Owner): Promise<ReadLine[]> {
  const problems = new Problems();
  const read: ReadLine[] = [];
  const seen = new Map<string, number>();
  let head: CsvRecord | undefined;
  for await (const records of inPieces(recordsOf(text))) {
    for (const record of records) {
      if (!head) {
        head = record;
        problems.add(headProblems(head));
        problems.refuse();
        continue;
      }
      const result = readLine(head.values, record);
      if (Array.isArray(result)) problems.add(result);
      else if (isForeign(result.currency, owner)) {
        problems.add([
          {
            path: `line ${record.line}: currency`,
            message: `must be ${owner.currency}, the currency of the customer`,
          },
        ]);
      } else {
        const terms = toTerms(result, owner.currency);
        const key = keyOf(terms);
        const earlier = seen.get(key);
        if (earlier === undefined) seen.set(key, record.line);
        else
          problems.add([
            { path: `line ${record.line}: prefix`, message: `is the same rate as line ${earlier}` },
          ]);
        read.push({ line: record.line, terms });
      }
    }
  }
  if (!head) problems.add([{ path: 'line 1', message: 'must name the columns' }]);
  else if (read.length === 0 && problems.none)
    problems.add([{ path: `line ${head.line + 1}`, message: 'must be a rate: there is none' }]);
  problems.refuse();
  return read;
}

/** What an import would make of the stored rates of one owner: those with the prefixes that were read. */
export async function planImport(
  read: readonly ReadLine[],
  stored: readonly Rate[],
  owner: Owner,
  make: { id: () => string; now: Date },
): Promise<{ write: Rate[]; report: Omit<ImportReport, 'dry_run'> }> {
  const known = new Map<string, Rate>();
  for await (const rates of inPieces(stored)) for (const rate of rates) known.set(keyOf(rate), rate);
  const write: Rate[] = [];
  const report: Omit<ImportReport, 'dry_run'> = { created: 0, updated: 0, unchanged: 0, lines: [] };
  for await (const lines of inPieces(read)) {
    for (const { line, terms } of lines) {
      const old = known.get(keyOf(terms));
      const rate: Rate = {
        id: old?.id ?? make.id(),
        customerId: owner.customerId,
        ...terms,
        createdAt: old?.createdAt ?? make.now,
        updatedAt: make.now,
      };
      const changes = old && differences(old, rate);
      if (changes?.length === 0) {
        report.unchanged++;
        continue;
      }
      if (changes) report.updated++;
      else report.created++;
      write.push(rate);
      if (report.lines.length < MOST_LINES) {
        report.lines.push({
          line,
          action: changes ? 'update' : 'create',
          direction: rate.direction,
          prefix: rate.prefix,
          changes,
        });
      }
    }
  }
  const left = write.length - report.lines.length;
  return { write, report: { ...report, ...(left > 0 && { lines_left_out: left }) } };
}

export function toTerms(terms: RateLine, currency: string): Terms {
  return {
    direction: terms.direction,
    prefix: terms.prefix,
    priceMicros: parseMicros(terms.price_per_minute),
    feeMicros: parseMicros(terms.connection_fee),
    minimumSeconds: terms.minimum_seconds,
    incrementSeconds: terms.increment_seconds,
    currency: terms.currency ?? currency,
    validFrom: terms.valid_from === undefined ? undefined : new Date(terms.valid_from),
    isActive: terms.is_active,
  };
}

function* recordsOf(text: string): Generator<CsvRecord, void> {
  try {
    yield* parseCsv(text);
  } catch (error) {
    if (error instanceof CsvError) throw refusal([{ path: `line ${error.line}`, message: error.message }]);
    throw error;
  }
}

function headProblems({ line, values }: CsvRecord): ErrorDetail[] {
  const problem = (field: string, message: string): ErrorDetail => ({
    path: `line ${line}: ${field}`,
    message,
  });
  return [
    ...values
      .filter((name) => !(COLUMNS as string[]).includes(name))
      .map((name) => problem(name, 'is not a known column')),
    ...values.filter((name, n) => values.indexOf(name) !== n).map((name) => problem(name, 'is there twice')),
    ...NEEDED.filter((name) => !values.includes(name)).map((name) => problem(name, 'is required')),
  ];
}

/** An empty value is one that is left out. */
function readLine(columns: readonly string[], { line, values }: CsvRecord): RateLine | ErrorDetail[] {
  if (values.length > columns.length)
    return [{ path: `line ${line}`, message: `has ${values.length} values for ${columns.length} columns` }];
  const given = Object.fromEntries(
    columns
      .map((name, n) => [name, typed(name, values[n] ?? '')] as const)
      .filter(([, value]) => value !== undefined),
  );
  const result: z.ZodSafeParseResult<RateLine> = rateLine.safeParse(given, { error: plainWords });
  return result.success
    ? result.data
    : detailsOf(result.error.issues).map(({ path, message }) => ({ path: `line ${line}: ${path}`, message }));
}

function typed(column: string, text: string): unknown {
  if (text === '') return undefined;
  if (NUMBERS.includes(column)) return /^\d{1,9}$/.test(text) ? Number(text) : text;
  if (column === 'is_active') return { true: true, false: false }[text] ?? text;
  // Price lists seldom have the plus sign.
  if (column === 'prefix') return /^[1-9]/.test(text) ? `+${text}` : text;
  return text;
}

function differences(old: Rate, rate: Rate): { field: string; from: string; to: string }[] {
  const before = termsToJson(old);
  return Object.entries(termsToJson(rate)).flatMap(([field, to]) => {
    const from = before[field as keyof typeof before];
    return from === to ? [] : [{ field, from: String(from), to: String(to) }];
  });
}

const keyOf = ({ direction, prefix, currency, validFrom }: Terms): string =>
  `${direction} ${prefix} ${currency} ${validFrom?.getTime() ?? ''}`;

/** Such a rate would match no call. */
export const isForeign = (currency: string | undefined, { customerId, currency: own }: Owner): boolean =>
  customerId !== undefined && currency !== undefined && currency !== own;

/** What is wrong with an import: the first of it, and how much more there is. */
class Problems {
  readonly #first: ErrorDetail[] = [];
  #count = 0;

  get none(): boolean {
    return this.#count === 0;
  }

  add(problems: readonly ErrorDetail[]): void {
    this.#count += problems.length;
    this.#first.push(...problems.slice(0, Math.max(0, MOST_DETAILS - this.#first.length)));
  }

  /** @throws ApiError invalid_request when there is any */
  refuse(): void {
    if (this.#count > 0) throw refusal(this.#first, this.#count - this.#first.length);
  }
}

function refusal(problems: readonly ErrorDetail[], left = 0): ApiError {
  const details = [...problems, ...(left > 0 ? [{ path: '', message: `and ${left} more` }] : [])];
  return new ApiError('invalid_request', `${problems[0]?.path} ${problems[0]?.message}`, { details });
}

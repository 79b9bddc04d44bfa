import type { z } from 'zod';
import { ApiError, type ErrorDetail } from '../../lib/errors.ts';
import { parseMicros } from '../../lib/money.ts';
import { detailsOf, plainWords } from '../../lib/zod-path.ts';
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

/**
 * The rates of a CSV text.
 * @throws ApiError invalid_request that names the line and the field of everything that is wrong
 */
export function readRates(text: string, owner: Owner): ReadLine[] {
  const [head, ...records] = recordsOf(text);
  if (!head) throw refusal([{ path: 'line 1', message: 'must name the columns' }]);
  const problems = headProblems(head);
  if (problems.length > 0) throw refusal(problems);
  const read: ReadLine[] = [];
  for (const record of records) {
    const result = readLine(head.values, record);
    if (Array.isArray(result)) problems.push(...result);
    else if (isForeign(result.currency, owner)) problems.push({ path: `line ${record.line}: currency`, message: `must be ${owner.currency}, the currency of the customer` });
    else read.push({ line: record.line, terms: toTerms(result, owner.currency) });
  }
  if (problems.length === 0) problems.push(...repetitions(read));
  if (problems.length > 0) throw refusal(problems);
  if (read.length === 0) throw refusal([{ path: `line ${head.line + 1}`, message: 'must be a rate: there is none' }]);
  return read;
}

/** What an import would make of the stored rates of one owner. */
export function planImport(
  read: readonly ReadLine[], stored: readonly Rate[], owner: Owner, make: { id: () => string; now: Date },
): { write: Rate[]; report: Omit<ImportReport, 'dry_run'> } {
  const known = new Map(stored.map((rate) => [keyOf(rate), rate]));
  const write: Rate[] = [];
  const report: Omit<ImportReport, 'dry_run'> = { created: 0, updated: 0, unchanged: 0, lines: [] };
  for (const { line, terms } of read) {
    const old = known.get(keyOf(terms));
    const rate: Rate = { id: old?.id ?? make.id(), customerId: owner.customerId, ...terms, createdAt: old?.createdAt ?? make.now, updatedAt: make.now };
    const changes = old && differences(old, rate);
    if (changes?.length === 0) {
      report.unchanged++;
      continue;
    }
    if (changes) report.updated++;
    else report.created++;
    report.lines.push({ line, action: changes ? 'update' : 'create', direction: rate.direction, prefix: rate.prefix, changes });
    write.push(rate);
  }
  return { write, report };
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

function recordsOf(text: string): CsvRecord[] {
  try {
    return parseCsv(text);
  } catch (error) {
    if (error instanceof CsvError) throw refusal([{ path: `line ${error.line}`, message: error.message }]);
    throw error;
  }
}

function headProblems({ line, values }: CsvRecord): ErrorDetail[] {
  const problem = (field: string, message: string): ErrorDetail => ({ path: `line ${line}: ${field}`, message });
  return [
    ...values.filter((name) => !(COLUMNS as string[]).includes(name)).map((name) => problem(name, 'is not a known column')),
    ...values.filter((name, n) => values.indexOf(name) !== n).map((name) => problem(name, 'is there twice')),
    ...NEEDED.filter((name) => !values.includes(name)).map((name) => problem(name, 'is required')),
  ];
}

/** An empty value is one that is left out. */
function readLine(columns: readonly string[], { line, values }: CsvRecord): RateLine | ErrorDetail[] {
  if (values.length > columns.length) return [{ path: `line ${line}`, message: `has ${values.length} values for ${columns.length} columns` }];
  const given = Object.fromEntries(columns.map((name, n) => [name, typed(name, values[n] ?? '')] as const).filter(([, value]) => value !== undefined));
  const result: z.ZodSafeParseResult<RateLine> = rateLine.safeParse(given, { error: plainWords });
  return result.success ? result.data : detailsOf(result.error.issues).map(({ path, message }) => ({ path: `line ${line}: ${path}`, message }));
}

function typed(column: string, text: string): unknown {
  if (text === '') return undefined;
  if (NUMBERS.includes(column)) return /^\d{1,9}$/.test(text) ? Number(text) : text;
  if (column === 'is_active') return { true: true, false: false }[text] ?? text;
  // Price lists seldom have the plus sign.
  if (column === 'prefix') return /^[1-9]/.test(text) ? `+${text}` : text;
  return text;
}

function repetitions(read: readonly ReadLine[]): ErrorDetail[] {
  const seen = new Map<string, number>();
  return read.flatMap(({ line, terms }) => {
    const key = keyOf(terms);
    const earlier = seen.get(key);
    if (earlier === undefined) seen.set(key, line);
    return earlier === undefined ? [] : [{ path: `line ${line}: prefix`, message: `is the same rate as line ${earlier}` }];
  });
}

function differences(old: Rate, rate: Rate): { field: string; from: string; to: string }[] {
  const before = termsToJson(old);
  return Object.entries(termsToJson(rate)).flatMap(([field, to]) => {
    const from = before[field as keyof typeof before];
    return from === to ? [] : [{ field, from: String(from), to: String(to) }];
  });
}

const keyOf = ({ direction, prefix, currency, validFrom }: Terms): string => `${direction} ${prefix} ${currency} ${validFrom?.getTime() ?? ''}`;

/** Such a rate would match no call. */
export const isForeign = (currency: string | undefined, { customerId, currency: own }: Owner): boolean => customerId !== undefined && currency !== undefined && currency !== own;

function refusal(problems: readonly ErrorDetail[]): ApiError {
  const left = problems.length - MOST_DETAILS;
  const details = [...problems.slice(0, MOST_DETAILS), ...(left > 0 ? [{ path: '', message: `and ${left} more` }] : [])];
  return new ApiError('invalid_request', `${problems[0]?.path} ${problems[0]?.message}`, { details });
}

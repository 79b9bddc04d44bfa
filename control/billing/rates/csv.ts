/** A record of a CSV text. */
export interface CsvRecord {
  /** Where it begins in the text, from 1. */
  line: number;
  values: string[];
}

/** What is wrong with a CSV text as such. */
export class CsvError extends Error {
  readonly line: number;

  constructor(line: number, message: string) {
    super(message);
    this.line = line;
  }
}

/**
 * The records of a comma-separated text (RFC 4180): quoted values may hold commas, doubled quotes and line
 * breaks. Blanks around values and empty lines are passed over. They are read as they are asked for.
 * @throws CsvError
 */
export function* parseCsv(source: string): Generator<CsvRecord, void> {
  const text = source.replace(/^\uFEFF/, '').replaceAll(/\r\n?/g, '\n');
  let record: CsvRecord = { line: 1, values: [] };
  let value = '';
  let quote: 'none' | 'open' | 'closed' = 'none';
  let line = 1;
  const endValue = (): void => {
    record.values.push(quote === 'none' ? value.trim() : value);
    value = '';
    quote = 'none';
  };
  const endRecord = (): CsvRecord => {
    endValue();
    const ended = record;
    record = { line, values: [] };
    return ended;
  };
  const holdsSomething = ({ values }: CsvRecord): boolean => values.some((one) => one !== '');
  for (let at = 0; at < text.length; at++) {
    const char = text.charAt(at);
    if (char === '\n') line++;
    if (quote === 'open') {
      if (char !== '"') value += char;
      else if (text[at + 1] === '"') value += text.charAt(++at);
      else quote = 'closed';
    } else if (char === ',') {
      endValue();
    } else if (char === '\n') {
      const ended = endRecord();
      if (holdsSomething(ended)) yield ended;
    } else if (char === '"' && quote === 'none' && value.trim() === '') {
      value = '';
      quote = 'open';
    } else if (char === '"' || (quote === 'closed' && char.trim() !== '')) {
      throw new CsvError(record.line, 'has a quote that does not stand around a whole value');
    } else if (quote === 'none') {
      value += char;
    }
  }
  if (quote === 'open') throw new CsvError(record.line, 'has a quote that is not closed');
  const last = endRecord();
  if (holdsSomething(last)) yield last;
}

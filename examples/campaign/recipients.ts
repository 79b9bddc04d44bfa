import { parse } from 'csv-parse/sync';

/** Who is called. */
export interface Recipient {
  /** E.164. */
  to: string;
  /**
   * The recipient's name in your own records, if there is one. It travels in the call's metadata, and so in
   * its webhooks.
   */
  reference?: string;
}

export interface Recipients {
  recipients: Recipient[];
  /** What is wrong with a line, as `line 7: …`. Nobody is called for it. */
  bad: string[];
  /** Lines with a number that an earlier one has: it is called once. */
  repeated: string[];
}

export const E164 = /^\+[1-9]\d{6,14}$/;

/**
 * Reads a list with a header line, a column `to` and, if you like, one `reference`; others are passed over.
 * Comma or semicolon, as spreadsheets write them. A bad line does not spoil the others.
 * @throws Error when there is no column `to`, or a quote is not closed
 */
export function readRecipients(csv: string): Recipients {
  const found: Recipients = { recipients: [], bad: [], repeated: [] };
  const lineOf = new Map<string, number>();
  let header: string[] = [];
  const records = parse(csv, {
    bom: true,
    trim: true,
    delimiter: [',', ';'],
    skip_empty_lines: true,
    relax_column_count: true,
    info: true,
    columns: (names: string[]) => (header = names.map((name) => name.toLowerCase())),
    skip_records_with_error: true,
    on_skip: (error) => {
      // It has taken all lines after it along.
      if (error?.code === 'CSV_QUOTE_NOT_CLOSED') throw new Error('a quote is opened and never closed');
      found.bad.push(`line ${String(error?.lines)}: ${String(error?.message)}`);
    },
  }) as unknown as { record: Partial<Record<string, string>>; info: { lines: number } }[];
  if (!header.includes('to'))
    throw new Error('the first line must name the columns, and one of them must be "to"');

  for (const {
    record: { to = '', reference },
    info: { lines: line },
  } of records) {
    const earlier = lineOf.get(to);
    if (!E164.test(to)) found.bad.push(`line ${line}: "${to}" is not a number such as +15551230002`);
    else if (earlier) found.repeated.push(`line ${line}: ${to} is in line ${earlier} too`);
    else {
      lineOf.set(to, line);
      found.recipients.push({ to, ...(reference && { reference }) });
    }
  }
  return found;
}

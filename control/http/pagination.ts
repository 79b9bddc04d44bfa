import { z } from 'zod';

// Ids grow with time, so the last id of a page says where the next one starts. Clients see it as opaque.
const cursor = z
  .string()
  .max(128)
  .transform((text, context) => {
    const id = Buffer.from(text, 'base64url').toString('latin1');
    if (/^[a-z]+_[0-9A-Za-z._]{1,48}$/.test(id)) return id;
    context.addIssue({ code: 'custom', message: 'is not a cursor of this API' });
    return z.NEVER;
  });

/** The query of every list; extend it with the filters of a list. */
export const pageQuery = z.strictObject({
  limit: z.coerce
    .number()
    .int('must be a whole number')
    .min(1)
    .max(200)
    .default(50)
    .describe('how many to return, 1 to 200'),
  cursor: cursor.optional().describe('`next_cursor` of the page before'),
});

export const listOf = <T extends z.ZodType>(item: T) =>
  z.strictObject({
    count: z.int().describe('how many are on this page'),
    data: z.array(item),
    next_cursor: z.string().optional().describe('present when there are more'),
  });

/**
 * A page of a list, newest first.
 * @param load gets how many rows to read (one more than shown, to know whether there are more) and the id to
 *   start after.
 */
export async function page<T extends { readonly id: string }, J>(
  query: z.output<typeof pageQuery>,
  load: (limit: number, before?: string) => Promise<T[]>,
  toJson: (row: T) => J,
): Promise<{ count: number; data: J[]; next_cursor?: string }> {
  const rows = await load(query.limit + 1, query.cursor);
  const data = rows.slice(0, query.limit);
  const last = data.at(-1);
  return {
    count: data.length,
    data: data.map(toJson),
    next_cursor: rows.length > query.limit && last ? Buffer.from(last.id).toString('base64url') : undefined,
  };
}

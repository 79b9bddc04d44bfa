/** RFC 3339 in UTC with second precision, as every `_at` field of the API shows it. */
export const rfc3339 = (date: Date): string => date.toISOString().slice(0, 19) + 'Z';

/** RFC 3339 in UTC with milliseconds, for timelines. */
export const rfc3339ms = (date: Date): string => date.toISOString();

/**
 * Whole seconds from one time to another, begun ones counted: what is billed. 0 where either is not known.
 */
export const wholeSeconds = (from: Date | undefined, to: Date | undefined): number =>
  from && to ? Math.max(0, Math.ceil((to.getTime() - from.getTime()) / 1000)) : 0;

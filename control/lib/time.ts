/** RFC 3339 in UTC with second precision, as every `_at` field of the API shows it. */
export const rfc3339 = (date: Date): string => date.toISOString().slice(0, 19) + 'Z';

/** RFC 3339 in UTC with milliseconds, for timelines. */
export const rfc3339ms = (date: Date): string => date.toISOString();

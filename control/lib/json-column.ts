/**
 * A JSON column's value: MySQL 8 hands it over parsed, MariaDB as a string. What we wrote ourselves needs no
 * further check.
 */
export function parseJson<T>(value: unknown): T {
  return (typeof value === 'string' ? JSON.parse(value) : value) as T;
}

/**
 * JSON for a column. Half of a surrogate pair, which is left where a text of others was cut, is replaced:
 * MySQL takes none, and with it the whole row would be refused.
 */
export function jsonColumn(value: unknown): string {
  const text = JSON.stringify(value);
  if (!text.includes('\\ud')) return text;
  return JSON.stringify(value, (_name, inner: unknown) =>
    typeof inner === 'string' ? inner.replaceAll(/\p{Surrogate}/gu, '\ufffd') : inner,
  );
}

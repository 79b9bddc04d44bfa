/** A JSON column's value: MySQL 8 hands it over parsed, MariaDB as a string. What we wrote ourselves needs no further check. */
export function parseJson<T>(value: unknown): T {
  return (typeof value === 'string' ? JSON.parse(value) : value) as T;
}

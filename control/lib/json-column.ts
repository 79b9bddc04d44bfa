/** A JSON column: MySQL 8 hands over the parsed value, MariaDB its text. */
export function parseJsonColumn(value: unknown): unknown {
  return typeof value === 'string' ? JSON.parse(value) : value;
}

export function parseJsonObject(value: unknown): Record<string, unknown> {
  const parsed = parseJsonColumn(value);
  return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed) ? { ...parsed } : {};
}

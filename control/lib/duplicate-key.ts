/** The name of the unique index a write ran into (MySQL error 1062), or undefined for any other error. */
export function duplicateKey(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('errno' in error) || error.errno !== 1062) return undefined;
  // MySQL 8 says 'table.index', MariaDB 'index'.
  return /for key '(?:[^'.]+\.)?([^'.]+)'/.exec(error.message)?.[1] ?? '';
}

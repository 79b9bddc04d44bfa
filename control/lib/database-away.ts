/** Deadlock, lock wait timeout, and a row that has changed since it was read. */
const UNDONE = new Set([1213, 1205, 1020]);
const AWAY = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ETIMEDOUT',
  'EPIPE',
  'PROTOCOL_CONNECTION_LOST',
  'PROTOCOL_ENQUEUE_AFTER_FATAL_ERROR',
  'ER_CON_COUNT_ERROR',
  'ER_SERVER_SHUTDOWN',
]);

/** Whether the database has undone a transaction in favour of another one: it may run again. */
export const wasUndone = (error: unknown): boolean =>
  error instanceof Error && 'errno' in error && UNDONE.has(Number(error.errno));

/** Whether the database could not be reached or was too busy, as opposed to having refused the statement. */
export const isAway = (error: unknown): boolean =>
  error instanceof Error &&
  (error.name === 'KnexTimeoutError' ||
    wasUndone(error) ||
    ('code' in error && AWAY.has(String(error.code))) ||
    ('fatal' in error && error.fatal === true));

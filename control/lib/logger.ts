import { pino, type Logger } from 'pino';

export type { Logger };

/** A healthy system logs nothing above `info`. Secrets never reach a log line: these paths are removed. */
export function createLogger(level: string): Logger {
  return pino({
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: {
      paths: ['password', 'secret', 'token', 'api_key', 'webhook_secret', 'authorization', '*.password', '*.secret', '*.token', '*.api_key', '*.webhook_secret', '*.authorization', 'headers.authorization'],
      remove: true,
    },
  });
}

import { pino, type Logger } from 'pino';

export type { Logger };

/** A healthy system logs nothing above `info`. Secrets never reach a log line: these paths are removed. */
export function createLogger(level: string): Logger {
  return pino({
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: plainError },
    formatters: { level: (label) => ({ level: label }) },
    redact: {
      paths: [
        'password',
        'secret',
        'token',
        'api_key',
        'webhook_secret',
        'authorization',
        '*.password',
        '*.secret',
        '*.token',
        '*.api_key',
        '*.webhook_secret',
        '*.authorization',
        'headers.authorization',
      ],
      remove: true,
    },
  });
}

const KEPT = ['code', 'errno', 'sqlState', 'status', 'kind'] as const;
const LONGEST = 500;

/**
 * What of an error may be logged. What libraries hang on to errors (a request with its headers, a statement
 * with its values) may not.
 */
export function plainError(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: String(error).slice(0, LONGEST) };
  const own = error as Error & Partial<Record<(typeof KEPT)[number], unknown>>;
  return {
    type: error.name,
    message: error.message.slice(0, LONGEST),
    ...Object.fromEntries(KEPT.filter((key) => own[key] !== undefined).map((key) => [key, own[key]])),
    stack: error.stack
      ?.split('\n')
      .filter((line) => /^\s+at /.test(line))
      .slice(0, 12)
      .join('\n'),
    ...(error.cause !== undefined && { cause: plainError(error.cause) }),
  };
}

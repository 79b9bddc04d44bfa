import { Refusal } from './guarded-agent.ts';
import { FetchError, type FetchErrorKind } from './guarded-url.ts';

/**
 * A kept connection that the server had closed: nothing came back, and the request may be sent again by who
 * knows it is safe.
 */
export class StaleConnection extends FetchError {
  constructor(error: FetchError) {
    super(error.kind, error.message, error);
  }
}

/** What node's HTTP parser complains of, in words for the developer whose server it is. */
const PARSER: Record<string, string> = {
  HPE_INVALID_CONSTANT: 'it does not begin with "HTTP/", or there is more than Content-Length says',
  HPE_INVALID_VERSION: 'its HTTP version is neither 1.0 nor 1.1',
  HPE_INVALID_STATUS: 'its status is not a number',
  HPE_INVALID_HEADER_TOKEN: 'the name of a header holds a character that is not allowed',
  HPE_INVALID_CONTENT_LENGTH: 'its Content-Length is not a number, or stands beside a Transfer-Encoding',
  HPE_UNEXPECTED_CONTENT_LENGTH: 'it has two Content-Length headers',
  HPE_INVALID_TRANSFER_ENCODING: 'its Transfer-Encoding does not end with chunked',
  HPE_INVALID_CHUNK_SIZE: 'the size of a chunk is not a hexadecimal number',
  HPE_CR_EXPECTED: 'a line does not end with CR and LF',
  HPE_LF_EXPECTED: 'a line does not end with CR and LF',
  HPE_STRICT: 'a line does not end with CR and LF',
};

/** What node says of a failure, in words for the developer whose server it is. */
export function explain(
  error: unknown,
  state: { connected: boolean; secured: boolean },
): [FetchErrorKind, string] {
  let cause = error;
  while (cause instanceof Error && !(cause instanceof Refusal) && cause.cause instanceof Error)
    cause = cause.cause;
  if (cause instanceof Refusal) return [cause.kind, cause.message];
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const text = code || (cause instanceof Error ? cause.message : 'unknown failure');
  if (code === 'HPE_HEADER_OVERFLOW') return ['too_large', 'the headers of the reply are too large'];
  if (code.startsWith('HPE_'))
    return [
      'bad_response',
      `the reply is not valid HTTP${PARSER[code] ? `: ${PARSER[code]}` : ''} (${text})`,
    ];
  if (!state.connected)
    return [code === 'ETIMEDOUT' ? 'connect_timeout' : 'connect', `could not connect (${text})`];
  if (!state.secured)
    return [
      'tls',
      `no TLS connection (${code === 'EPROTO' || !(cause instanceof Error) ? text : cause.message})`,
    ];
  return ['reset', `the connection was closed before the reply was complete (${text})`];
}

import { isAway } from '../lib/database-away.ts';
import { ApiError, type ErrorCode, type ErrorDetail } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { TookTooLong } from '../lib/within.ts';

/** A finished answer of the API. */
export interface Reply {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
}

export interface ErrorBody {
  error: { code: ErrorCode; message: string; details?: ErrorDetail[]; request_id: string };
}

/**
 * What express and its body parser throw, as errors of ours (http-errors: `status`, and `type` from the
 * parser).
 */
const PARSER: Record<string, ErrorCode> = {
  'entity.too.large': 'payload_too_large',
  'entity.parse.failed': 'invalid_json',
  'encoding.unsupported': 'unsupported_media_type',
  'charset.unsupported': 'unsupported_media_type',
};

function known(error: unknown): ApiError | undefined {
  if (error instanceof ApiError) return error;
  if (
    !(error instanceof Error) ||
    !('status' in error) ||
    typeof error.status !== 'number' ||
    error.status >= 500
  )
    return undefined;
  const code = 'type' in error && typeof error.type === 'string' ? PARSER[error.type] : undefined;
  if (code) return new ApiError(code);
  // A path with broken percent-encoding, a body that ended early or could not be inflated.
  return new ApiError(
    'invalid_request',
    error instanceof URIError ? 'the path is not validly encoded' : 'the request could not be read',
  );
}

/**
 * The one place that turns an error into HTTP. What nobody foresaw is logged with the request's id and says
 * nothing to the client, except that it is worth another try where the database was away, or has not answered
 * in time.
 */
export function errorReply(error: unknown, requestId: string, logger: Logger): Reply {
  const shown =
    known(error) ??
    (isAway(error) || error instanceof TookTooLong
      ? new ApiError('service_unavailable', undefined, { retryAfter: 1 })
      : new ApiError('internal_error'));
  if (shown.code === 'internal_error' || (shown !== error && shown.status >= 500))
    logger.error({ err: error, request_id: requestId }, 'request failed');
  const body: ErrorBody = {
    error: { code: shown.code, message: shown.message, details: shown.details, request_id: requestId },
  };
  const headers: Record<string, string> = {};
  if (shown.retryAfter !== undefined)
    headers['Retry-After'] = String(Math.max(1, Math.ceil(shown.retryAfter)));
  if (shown.status === 401) headers['WWW-Authenticate'] = 'Bearer';
  return { status: shown.status, body, headers };
}

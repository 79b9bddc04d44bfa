/**
 * The registry of public error codes and the one error class that carries them. Documentation and OpenAPI are
 * generated from this table.
 */
export const ERRORS = {
  invalid_json: [400, 'the body is not valid JSON'],
  invalid_request: [400, 'the request is not valid'],
  invalid_action: [400, 'the action is not valid'],
  rate_not_found: [400, 'no active rate matches the destination'],
  no_active_trunk: [400, 'the customer has no active outbound trunk'],
  unauthorized: [401, 'the API key is missing or not valid'],
  insufficient_balance: [402, 'balance is too low to create call'],
  customer_suspended: [403, 'the customer is suspended'],
  application_disabled: [403, 'the application is disabled'],
  spend_control_exceeded: [403, 'outbound spend limit exceeded'],
  not_found: [404, 'not found'],
  call_not_found: [404, 'call not found'],
  active_call_not_found: [404, 'active call not found'],
  delivery_not_found: [404, 'webhook delivery not found'],
  recording_not_started: [404, 'recording is not currently started'],
  transcription_not_found: [404, 'transcription not found'],
  ai_summary_not_found: [404, 'AI summary not found'],
  ai_score_not_found: [404, 'AI score not found'],
  ai_topics_not_found: [404, 'AI topics not found'],
  method_not_allowed: [405, 'this method is not allowed here'],
  call_not_active: [409, 'the call is not active'],
  call_uuid_missing: [409, 'the call has no media channel yet'],
  recording_in_progress: [409, 'the recording has not ended yet'],
  number_exists: [409, 'number_e164 already exists'],
  gateway_name_exists: [409, 'gateway_name already exists'],
  inbound_ip_exists: [409, 'inbound_ip already exists'],
  webhook_not_configured: [409, 'the application has no webhook_url'],
  webhook_disabled: [409, 'the webhook endpoint is disabled; enable it first'],
  rate_exists: [409, 'a rate with this prefix and start exists'],
  idempotency_in_progress: [409, 'a request with this Idempotency-Key is still running'],
  payload_too_large: [413, 'the body is larger than 256 KiB'],
  unsupported_media_type: [415, 'the body must be application/json'],
  range_not_satisfiable: [416, 'the range lies outside of the content'],
  idempotency_mismatch: [422, 'this Idempotency-Key was used with another body'],
  upgrade_required: [426, 'this is a WebSocket: ask for an upgrade'],
  rate_limited: [429, 'too many requests'],
  cps_limit_reached: [429, 'calls per second limit reached'],
  concurrent_call_limit_reached: [429, 'concurrent call limit reached'],
  internal_error: [500, 'internal error'],
  originate_failed: [502, 'the call could not be placed'],
  recording_start_failed: [502, 'the recording could not be started'],
  recording_stop_failed: [502, 'the recording could not be stopped'],
  service_unavailable: [503, 'the service is not available right now'],
} as const satisfies Record<string, readonly [status: number, message: string]>;

export type ErrorCode = keyof typeof ERRORS;
export const ERROR_CODES = Object.keys(ERRORS) as ErrorCode[];

/** One problem of a request, at a path such as `actions[2].gather.timeout_seconds`. */
export interface ErrorDetail {
  path: string;
  message: string;
}

/** Every refusal a client can see. `retryAfter` is in seconds and becomes the Retry-After header. */
export class ApiError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly details: ErrorDetail[] | undefined;
  readonly retryAfter: number | undefined;

  constructor(
    code: ErrorCode,
    message?: string,
    extra: { details?: ErrorDetail[]; retryAfter?: number } = {},
  ) {
    super(message ?? ERRORS[code][1]);
    this.name = 'ApiError';
    this.code = code;
    this.status = ERRORS[code][0];
    this.details = extra.details;
    this.retryAfter = extra.retryAfter;
  }
}

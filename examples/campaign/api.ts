/** A call as the API shows it, as far as a campaign looks at it. */
export interface Call {
  id: string;
  status: string;
  billsec_seconds?: number;
  cost_amount?: string;
  cost_currency?: string;
  failure?: { code: string };
}

export interface NewCall {
  from: string;
  to: string;
  metadata: Record<string, unknown>;
  record: boolean;
}

export interface Reply {
  /** 0 when none came. */
  status: number;
  call?: Call;
  /** Of an error, and what it says. */
  code: string;
  message: string;
  /** The paths of `error.details`. */
  paths: string[];
  /** What Retry-After says, in seconds. */
  retryAfter?: number;
  /** It is the answer to an earlier request with the same Idempotency-Key. */
  replayed: boolean;
}

/** What an answer to `POST /v1/calls` means for a campaign. */
export type Verdict =
  | 'placed'
  /** There was a call, and it has failed. */
  | 'failed'
  /** No call to this recipient; others may be called. */
  | 'skip'
  /** No call, and the next one would fare no better. */
  | 'stop'
  /** No call so far: the same again after Retry-After. */
  | 'wait'
  /** Nobody knows whether there is a call: the same again, with the same Idempotency-Key. */
  | 'again';

export function judge({ status, call, code, paths }: Reply): Verdict {
  if (status === 201) return call ? 'placed' : 'again';
  if (code === 'originate_failed') return 'failed';
  // A cap on what is spent concerns everybody, a rule on prefixes or prices this number.
  if (code === 'spend_control_exceeded')
    return paths.some((path) => /^spend\.(daily|monthly)$/.test(path)) ? 'stop' : 'skip';
  // No price for this number; or this campaign has called it before, from another number or with another
  // reference.
  if (code === 'rate_not_found' || code === 'idempotency_mismatch') return 'skip';
  if (status === 429 || status === 503 || code === 'idempotency_in_progress') return 'wait';
  // 402 insufficient_balance, 403 customer_suspended, 401, a request that is not valid …
  return status === 0 || status >= 500 ? 'again' : 'stop';
}

/** Two requests of MiniVoice's API. They do not throw: no reply is one, too. */
export class Api {
  readonly #url: string;
  readonly #key: string;

  constructor(url: string, key: string) {
    this.#url = url.replace(/\/+$/, '');
    this.#key = key;
  }

  placeCall(call: NewCall, idempotencyKey: string): Promise<Reply> {
    return this.#request('/v1/calls', {
      method: 'POST',
      body: JSON.stringify(call),
      headers: { 'content-type': 'application/json', 'idempotency-key': idempotencyKey },
    });
  }

  call(id: string): Promise<Reply> {
    return this.#request(`/v1/calls/${encodeURIComponent(id)}`, {});
  }

  async #request(path: string, { headers, ...init }: RequestInit): Promise<Reply> {
    try {
      const response = await fetch(this.#url + path, {
        ...init,
        headers: { ...headers, authorization: `Bearer ${this.#key}` },
        signal: AbortSignal.timeout(30_000),
      });
      const body = (await response.json().catch(() => ({}))) as Partial<Call> & {
        error?: { code: string; message: string; details?: { path: string; message: string }[] };
      };
      const {
        code = `http_${response.status}`,
        message = response.statusText,
        details = [],
      } = body.error ?? {};
      return {
        status: response.status,
        code,
        message: [message, ...details.map((detail) => detail.message)].join(': '),
        paths: details.map(({ path }) => path),
        call: response.ok && body.id ? (body as Call) : undefined,
        retryAfter: secondsOf(response.headers.get('retry-after')),
        replayed: response.headers.get('idempotency-replayed') === 'true',
      };
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
      return { status: 0, code: 'no_reply', message: String(cause), paths: [], replayed: false };
    }
  }
}

/** Retry-After is a number of seconds or a date (RFC 9110 §10.2.3). */
function secondsOf(header: string | null): number | undefined {
  if (header === null) return undefined;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? undefined : Math.max(0, seconds);
}

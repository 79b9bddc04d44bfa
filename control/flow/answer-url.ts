import type { Call } from '../calls/call.ts';
import type { Calls } from '../calls/calls.ts';
import { envelope } from '../calls/events.ts';
import { inspectJson } from '../lib/exact-json.ts';
import { FetchError, type FetchReply, type GuardedFetch } from '../lib/guarded-fetch.ts';
import { LONGEST_SENT } from '../lib/guarded-url.ts';
import { UnreadableBody, utf8 } from '../lib/reply-body.ts';
import { sign } from '../webhooks/signature.ts';
import { FlowFailure, type Step } from './action.ts';
import { InvalidActions, parseActions } from './schema.ts';
import type { FlowState } from './state.ts';

/** What of an application the answer_url exchange needs. */
export interface Instructing {
  fallbackUrl: string | undefined;
  webhookSecrets: readonly string[];
}

interface Options {
  calls: Calls;
  fetch: GuardedFetch;
  applicationOf: (applicationId: string) => Instructing | undefined;
  now?: () => Date;
}

type Gathered = NonNullable<FlowState['gathered']>;

/** A request for instructions; `gathered` tells of the keys that the last gather got. */
export interface Question {
  call: Call;
  url: string;
  method: 'GET' | 'POST';
  gathered: Gathered | undefined;
  signal: AbortSignal;
}

/** Of one exchange with a customer's server; the documentation names them. */
export const ANSWER_URL_LIMITS = { timeoutMs: 5000, maxBodyBytes: 256 * 1024, maxRedirects: 3 } as const;
/** So much of a bad reply is shown in the timeline. */
const SHOWN_BYTES = 4096;

class Refused extends Error {}

/**
 * Asks customers' servers what to do with a call (contract §3): 5 s for the whole exchange, one retry and
 * only when no connection was made, then the application's fallback_url once. Every request and reply is in
 * the call's timeline.
 */
export class AnswerUrl {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  /** @throws FlowFailure with `answer_url_error` when neither the URL nor the fallback gave valid actions. */
  async ask(question: Question): Promise<Step[]> {
    const { call, url, signal } = question;
    const application = call.applicationId ? this.#options.applicationOf(call.applicationId) : undefined;
    const secrets = application?.webhookSecrets ?? [];
    try {
      return await this.#tryTwice(question, secrets);
    } catch (error) {
      if (signal.aborted || !(error instanceof Refused || error instanceof FetchError)) throw error;
      const fallback = application?.fallbackUrl;
      if (!fallback) throw new FlowFailure('answer_url_error', error.message);
      try {
        return await this.#once({ ...question, url: fallback }, secrets, {
          error_code: 'answer_url_error',
          error_url: url,
        });
      } catch (second) {
        if (signal.aborted || !(second instanceof Refused || second instanceof FetchError)) throw second;
        throw new FlowFailure('answer_url_error', `${error.message}; fallback_url: ${second.message}`);
      }
    }
  }

  async #tryTwice(question: Question, secrets: readonly string[]): Promise<Step[]> {
    try {
      return await this.#once(question, secrets);
    } catch (error) {
      const worthATry =
        error instanceof FetchError &&
        !error.connected &&
        ['connect', 'connect_timeout', 'dns'].includes(error.kind);
      if (!worthATry) throw error;
      return this.#once(question, secrets);
    }
  }

  /** @param failed what the fallback_url is told of the URL that failed */
  async #once(
    { call, url, method, gathered, signal }: Question,
    secrets: readonly string[],
    failed?: Record<string, string>,
  ): Promise<Step[]> {
    const { calls, now = () => new Date() } = this.#options;
    const at = now();
    const seconds = Math.floor(at.getTime() / 1000);
    const headers: Record<string, string> = { accept: 'application/json', 'x-minivoice-call-id': call.id };
    let body: string | undefined;
    let target = url;
    if (method === 'GET') {
      const told = queryOf(call, gathered);
      target = failed
        ? withWhatFits(url, { ...told.call, ...failed, ...told.results, ...told.variables })
        : withQuery(url, { ...told.call, ...told.variables, ...told.results });
    } else {
      if (failed) target = withWhatFits(url, failed);
      headers['content-type'] = 'application/json';
      body = JSON.stringify(
        envelope(call, 'call.instructions', at, gathered ? { gather: gatherJson(gathered) } : {}),
      );
    }
    if (sentLength(target) > LONGEST_SENT) {
      const message = `the URL with what is added to it is longer than ${LONGEST_SENT} characters: POST has no such limit`;
      calls.note(call, 'answer_url.failed', { url, error: 'invalid_url', message });
      throw new Refused(message);
    }
    calls.note(call, 'answer_url.requested', { method, url: target }, at);
    let reply: FetchReply;
    try {
      reply = await this.#options.fetch.fetch(target, {
        method,
        headers,
        body,
        signal,
        sign: (signed) => sign(secrets, signed, seconds),
        ...ANSWER_URL_LIMITS,
        idempotent: true,
      });
    } catch (error) {
      if (error instanceof FetchError && !signal.aborted) {
        calls.note(call, 'answer_url.failed', {
          url: target,
          error: error.kind,
          message: error.message,
          took_ms: error.tookMs,
        });
      }
      throw error;
    }
    return this.#read(call, target, reply);
  }

  #read(call: Call, url: string, reply: FetchReply): Step[] {
    const { calls } = this.#options;
    const seen = { url, status: reply.status, took_ms: reply.tookMs, bytes: reply.body.length };
    const refuse = (message: string, extra: Record<string, unknown> = {}): never => {
      calls.note(call, 'answer_url.failed', {
        ...seen,
        message,
        ...extra,
        reply: reply.body.toString('utf8', 0, SHOWN_BYTES),
      });
      throw new Refused(message);
    };
    if (reply.status < 200 || reply.status > 299)
      return refuse(`the server answered ${reply.status}`, { error: 'status' });
    let payload: unknown;
    let text: string;
    try {
      if (reply.unreadable) throw reply.unreadable;
      text = utf8(reply.body, reply.headers['content-type']);
      payload = JSON.parse(text);
    } catch (error) {
      if (error instanceof UnreadableBody) return refuse(error.message, { error: error.kind });
      return refuse('the reply is not valid JSON', { error: 'invalid_json' });
    }
    try {
      const problem = inspectJson(text);
      if (problem) throw new InvalidActions([{ ...problem, path: problem.path || 'actions' }]);
      const steps = parseActions(payload);
      calls.note(call, 'answer_url.replied', { ...seen, actions: steps.map((step) => step.action) });
      return steps;
    } catch (error) {
      if (!(error instanceof InvalidActions)) throw error;
      return refuse(`invalid action payload: ${error.message}`.slice(0, 400), {
        error: 'invalid_actions',
        details: error.details,
      });
    }
  }
}

/** The customer's own query stays byte for byte: what is added stands behind it. */
function withQuery(url: string, parameters: Record<string, string>): string {
  const [base = ''] = url.trim().split('#', 1);
  const added = new URLSearchParams(parameters).toString();
  return base + (!base.includes('?') ? '?' : /[?&]$/.test(base) ? '' : '&') + added;
}

/**
 * For the URL that is asked when another has failed: a parameter for which there is no room must not make it
 * fail, too.
 */
function withWhatFits(url: string, parameters: Record<string, string>): string {
  let target = url;
  for (const [name, value] of Object.entries(parameters)) {
    const longer = withQuery(target, { [name]: value });
    if (sentLength(longer) <= LONGEST_SENT) target = longer;
  }
  return target;
}

/** In characters, as it is sent: others than ASCII are percent-encoded. */
const sentLength = (url: string): number =>
  URL.canParse(url) ? Math.max(url.length, new URL(url).href.length) : url.length;

/** What a request tells, by how much the fallback_url needs to know it. */
function queryOf(
  call: Call,
  gathered: Gathered | undefined,
): Record<'call' | 'variables' | 'results', Record<string, string>> {
  return {
    call: {
      call_id: call.id,
      customer_id: call.customerId,
      application_id: call.applicationId ?? '',
      direction: call.direction,
      from: call.from,
      to: call.to,
      status: call.status,
    },
    variables: Object.fromEntries(
      Object.entries(call.variables).map(([name, value]) => [`var_${name}`, value]),
    ),
    results: gathered
      ? { digits: gathered.digits, gather_status: gathered.status, timed_out: String(gathered.timedOut) }
      : {},
  };
}

const gatherJson = (gathered: Gathered) => ({
  digits: gathered.digits,
  status: gathered.status,
  timed_out: gathered.timedOut,
});

import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '../failure.ts';

/** A refusal of the REST API, as the demo sees it. */
export class Refused extends Failure {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The REST API through plain HTTP, as a customer or an operator uses it. */
export class Api {
  readonly #base: string;
  readonly #token: string;

  constructor(base: string, token: string) {
    this.#base = base;
    this.#token = token;
  }

  /** @throws Refused when it answers with an error; Failure when it does not answer. */
  async call<T>(method: 'GET' | 'POST' | 'PATCH', path: string, body?: unknown): Promise<T> {
    const response = await fetch(this.#base + path, {
      method,
      headers: {
        authorization: `Bearer ${this.#token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(10_000),
    }).catch((error: Error) => {
      // fetch says why in the cause alone.
      const reason = error.cause instanceof Error ? error.cause.message : error.message;
      throw new Failure(
        `The API at ${this.#base} does not answer: ${reason}. ./minivoice logs control tells more.`,
      );
    });
    const reply = (await response.json().catch(() => ({}))) as T & {
      error?: { code?: string; message?: string };
    };
    if (!response.ok)
      throw new Refused(
        response.status,
        reply.error?.code ?? '',
        `${method} ${path}: ${reply.error?.message ?? response.status}`,
      );
    return reply;
  }

  /** As `call`, and undefined where the refusal has one of these codes. */
  async unless<T>(
    codes: readonly string[],
    method: 'GET' | 'POST' | 'PATCH',
    path: string,
    body?: unknown,
  ): Promise<T | undefined> {
    return this.call<T>(method, path, body).catch((error: unknown) => {
      if (error instanceof Refused && codes.includes(error.code)) return undefined;
      throw error;
    });
  }
}

/** Asks again and again until there is an answer. @throws Failure with `otherwise` after `limitMs`. */
export async function eventually<T>(
  question: () => Promise<T | undefined>,
  limitMs: number,
  otherwise: string,
): Promise<T> {
  const until = Date.now() + limitMs;
  for (;;) {
    const answer = await question();
    if (answer !== undefined) return answer;
    if (Date.now() > until) throw new Failure(otherwise);
    await sleep(50);
  }
}

import { ApiError } from '../lib/errors.ts';
import { isTerminal, type Call } from './call.ts';
import type { Calls } from './calls.ts';
import type { CallFilter, CallStore } from './store.ts';

/** Whose calls may be seen: an application's own, or everybody's for the operator. */
export interface Scope {
  applicationId?: string;
}

interface Story {
  at: Date;
  kind: string;
  detail: Record<string, unknown>;
}

interface Options {
  calls: Calls;
  store: CallStore;
  /** Attempts to deliver a call's webhooks, for its timeline. */
  attemptsOf: (callId: string) => Promise<Story[]>;
  /** Ends a call at whatever holds it: its flow, or Kamailio. False where nothing does. */
  hangup: (call: Call) => Promise<boolean>;
}

/** What the API does with calls. Another application's call does not exist: `call_not_found`. */
export class CallService {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  list(filter: CallFilter & Scope, limit: number, before?: string): Promise<Call[]> {
    return this.#options.store.list(filter, limit, before);
  }

  /** @throws ApiError call_not_found */
  async get(id: string, scope: Scope): Promise<Call> {
    const call = this.#options.calls.get(id) ?? (await this.#options.store.find(id));
    if (!call || (scope.applicationId !== undefined && call.applicationId !== scope.applicationId))
      throw new ApiError('call_not_found');
    return call;
  }

  /** The call's own timeline and its webhook attempts as one story. @throws ApiError call_not_found */
  async timeline(id: string, scope: Scope): Promise<Story[]> {
    await this.get(id, scope);
    const [own, attempts] = await Promise.all([
      this.#options.store.timeline(id),
      this.#options.attemptsOf(id),
    ]);
    return [...own, ...attempts].sort((a, b) => a.at.getTime() - b.at.getTime());
  }

  /** @throws ApiError call_not_found, call_not_active */
  async hangup(id: string, scope: Scope): Promise<Call> {
    const call = await this.get(id, scope);
    if (isTerminal(call.status) || !(await this.#options.hangup(call))) throw new ApiError('call_not_active');
    return call;
  }
}

import type { FailureCode, Hangup } from '../calls/call.ts';
import type { Step } from './action.ts';

/** Why the platform ends a channel, noted before it does, for when the channel's end is reported. */
export interface Intent extends Pick<Hangup, 'by'> {
  failure?: { code: FailureCode; message: string };
  /** In place of the node's. */
  cause?: string;
}

/**
 * How far a flow is. It runs until somebody intends to end it: its last action has been run, it has failed,
 * or the API, the platform or a bound hangs up. From then on no other actions can take the place of those
 * that run. It has ended when its channel has, or the call without one.
 */
export class Course {
  /** Aborted when the flow has ended. */
  readonly #ended = new AbortController();
  /** Aborted when other actions take the place of those that run. */
  #action = new AbortController();
  #replacement: Step[] | undefined;
  #intent: Intent | undefined;

  get phase(): 'running' | 'ending' | 'ended' {
    return this.hasEnded ? 'ended' : this.#intent ? 'ending' : 'running';
  }

  get hasEnded(): boolean {
    return this.#ended.signal.aborted;
  }

  /** Why the flow is being ended: the first reason that was given. */
  get intent(): Intent | undefined {
    return this.#intent;
  }

  /** Other actions wait for the running one to give way. */
  get replaced(): boolean {
    return this.#replacement !== undefined && !this.hasEnded;
  }

  /** For what runs now: aborted with the reason `ended` or `replaced`. */
  signal(): AbortSignal {
    return AbortSignal.any([this.#ended.signal, this.#action.signal]);
  }

  /** The flow is to end for this reason, unless one has been given before. */
  intend(intent: Intent): void {
    this.#intent ??= intent;
  }

  /** Nothing of the flow goes on. */
  end(): void {
    this.#ended.abort('ended');
  }

  /** Has these actions take the place of what runs. Returns false when it is too late. */
  replace(steps: Step[]): boolean {
    if (this.phase !== 'running') return false;
    this.#replacement = steps;
    this.#action.abort('replaced');
    return true;
  }

  /** The actions that take the place of those that ran, once; undefined where there are none. */
  takeReplacement(): Step[] | undefined {
    if (!this.replaced) return undefined;
    const steps = this.#replacement;
    this.#replacement = undefined;
    this.#action = new AbortController();
    return steps;
  }
}

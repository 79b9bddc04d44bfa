import type { Logger } from '../lib/logger.ts';
import type { Call } from './call.ts';

/** What follows the answer of a call, in this order. */
export const AFTER_ANSWER = [
  // From the answer on the call is paid for by time: its hold has to be extended before it runs out.
  'money',
] as const;

/** What follows the end of a call, in this order. The end itself is in the journal by then. */
export const AFTER_END = [
  // First, since a call that cannot be charged, or whose places stay taken, costs the customer most.
  'money',
  // The channel is gone, and the recording with it: its file can be finished.
  'recordings',
  // Streams are told to stop while the call is still known, so that `stream.stopped` follows the call's end.
  'streams',
  // Nobody waits for the last try of a trunk any more.
  'tries',
  // The flow cancels its requests; its stored state is removed.
  'flow',
  // After the flow: a media node that comes back may not dial for a call that was given up.
  'given up calls',
  // A hang-up that was being repeated has happened.
  'relayed ends',
  // A decision that no media node took up is waited for no more.
  'decisions',
  // Last, since it starts new work: SIP dialogs of a call whose media node died are ended.
  'dialogs',
] as const;

export type AnswerStep = (typeof AFTER_ANSWER)[number];
export type EndStep = (typeof AFTER_END)[number];

type OnAnswer = (call: Call, at: Date) => unknown;
type OnEnd = (call: Call) => unknown;

/**
 * Runs what follows an answer and an end. The order is that of the lists above, whatever the order in which
 * rooms have taken their steps. A step that throws, or rejects, stops no other: it is logged with its name
 * and the call.
 */
export class Lifecycle {
  readonly #logger: Logger;
  readonly #onAnswer = new Map<AnswerStep, OnAnswer>();
  readonly #onEnd = new Map<EndStep, OnEnd>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** @throws Error when the step is taken: each has one owner */
  afterAnswer(step: AnswerStep, run: OnAnswer): void {
    take(this.#onAnswer, step, run);
  }

  /** @throws Error when the step is taken: each has one owner */
  afterEnd(step: EndStep, run: OnEnd): void {
    take(this.#onEnd, step, run);
  }

  /** Steps that no room has taken. A control process has none of them: it checks that before it starts. */
  get missing(): string[] {
    return [
      ...AFTER_ANSWER.filter((step) => !this.#onAnswer.has(step)).map((step) => `after an answer: ${step}`),
      ...AFTER_END.filter((step) => !this.#onEnd.has(step)).map((step) => `after an end: ${step}`),
    ];
  }

  answered(call: Call, at: Date): void {
    for (const step of AFTER_ANSWER)
      this.#run('answer', step, call, () => this.#onAnswer.get(step)?.(call, at));
  }

  ended(call: Call): void {
    for (const step of AFTER_END) this.#run('end', step, call, () => this.#onEnd.get(step)?.(call));
  }

  #run(after: 'answer' | 'end', step: string, call: Call, run: () => unknown): void {
    const failed = (err: unknown): void =>
      this.#logger.error({ err, call: call.id, after, step }, 'a step after a change of a call failed');
    try {
      const result = run();
      if (result instanceof Promise) result.catch(failed);
    } catch (error) {
      failed(error);
    }
  }
}

function take<Step extends string, Run>(taken: Map<Step, Run>, step: Step, run: Run): void {
  if (taken.has(step)) throw new Error(`the step "${step}" of a call's lifecycle is registered twice`);
  taken.set(step, run);
}

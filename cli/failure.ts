/**
 * A refusal a person can act on: printed as one sentence, without a stack. `log` is what the failing part
 * said last.
 */
export class Failure extends Error {
  readonly log: string | undefined;

  constructor(sentence: string, log?: string) {
    super(sentence);
    this.name = 'Failure';
    this.log = log;
  }
}

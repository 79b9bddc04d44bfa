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

/** What the system refuses for reasons that lie with the machine, by the code of the error. */
const REASONS: Record<string, string> = {
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOSPC: 'no space is left on the disk',
  EDQUOT: 'the disk quota is used up',
  EMFILE: 'too many files are open',
  ENFILE: 'too many files are open',
  ENOTDIR: 'a file is in the place of a folder',
  ENOENT: 'no such folder can be made there',
  ENAMETOOLONG: 'the name is too long',
};

/** Why the system refused, in words. */
export const reasonOf = (error: NodeJS.ErrnoException): string =>
  REASONS[error.code ?? ''] ?? `${error.message}`;

/** The sentence for a failure that was foreseen; undefined for a fault of ours, which needs its stack. */
export function sentenceOf(error: unknown): string | undefined {
  if (error instanceof Failure) return error.message;
  if (!(error instanceof Error)) return undefined;
  const { code = '', path } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT' || REASONS[code] === undefined) return undefined;
  return `${path === undefined ? 'The system refuses' : `${path} cannot be used`}: ${REASONS[code]}.`;
}

import { core } from 'zod';
import type { ErrorDetail } from './errors.ts';

/**
 * A place in a JSON document as people write it: `actions[2].gather.timeout_seconds`; empty for the document
 * itself.
 */
export function pathOf(path: readonly PropertyKey[]): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else text += text === '' ? String(step) : `.${String(step)}`;
  }
  return text;
}

/**
 * The `error` option of a parse call: a missing field is said to be missing, in the words of the documented
 * product ("name is required"), instead of being of the wrong type. Messages set in a schema win over it.
 */
export const plainWords: core.$ZodErrorMap = (issue) => {
  if (
    issue.input === undefined &&
    (issue.code === 'invalid_type' || issue.code === 'invalid_value' || issue.code === 'invalid_union')
  )
    return 'is required';
  if (issue.code === 'invalid_type')
    return `must be ${issue.expected === 'int' ? 'a whole number' : withArticle(issue.expected === 'record' ? 'object' : issue.expected)}`;
  if (issue.code === 'invalid_value')
    return `must be ${issue.values.length > 1 ? 'one of ' : ''}${issue.values.join(', ')}`;
  if (issue.code === 'unrecognized_keys') return `is not a known field${knownTo(issue.inst)}`;
  if (issue.code === 'too_small')
    return issue.minimum === 1 && issue.origin !== 'number' && issue.origin !== 'int'
      ? 'must not be empty'
      : `must ${size(issue.origin)} at least ${issue.minimum}${unit(issue.origin)}`;
  if (issue.code === 'too_big')
    return `must ${size(issue.origin)} at most ${issue.maximum}${unit(issue.origin)}`;
  return undefined;
};

/** The fields that an object has, for who has written another. */
function knownTo(schema: unknown): string {
  const known = schema instanceof core.$ZodObject ? Object.keys(schema._zod.def.shape) : [];
  return known.length > 0 ? `; the known ones are ${known.join(', ')}` : '';
}

/** Every problem with its path; each unknown field is a problem of its own. */
export function detailsOf(issues: readonly core.$ZodIssue[]): ErrorDetail[] {
  return issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => ({ path: pathOf([...issue.path, key]), message: issue.message }))
      : [{ path: pathOf(issue.path), message: issue.message }],
  );
}

/** The first problem as a sentence, for `error.message`. */
export function summaryOf(details: readonly ErrorDetail[]): string | undefined {
  const first = details[0];
  return first && `${first.path} ${first.message}`.trim();
}

const size = (origin: string): string => (origin === 'number' || origin === 'int' ? 'be' : 'have');
const unit = (origin: string): string =>
  origin === 'string' ? ' characters' : origin === 'array' ? ' items' : '';
const withArticle = (word: string): string => `${/^[aeio]/.test(word) ? 'an' : 'a'} ${word}`;

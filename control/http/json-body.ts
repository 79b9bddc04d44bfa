import { isUtf8 } from 'node:buffer';
import { ApiError } from '../lib/errors.ts';
import { inspectJson } from '../lib/exact-json.ts';

/**
 * The value of a JSON body. What would not be the same any more when it comes back, and what would take code
 * that walks through it too long or too deep, is refused with its place.
 * @throws ApiError `invalid_json`, `invalid_request`
 */
export function parseJsonBody(body: Buffer): unknown {
  if (!isUtf8(body)) throw new ApiError('invalid_json', 'the body is not valid UTF-8');
  const text = new TextDecoder().decode(body); // without a byte order mark
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ApiError('invalid_json');
  }
  const problem = inspectJson(text);
  if (problem) {
    const place = problem.path === '' ? 'the body' : problem.path;
    throw new ApiError('invalid_request', `${place} ${problem.message}`, { details: [problem] });
  }
  return value;
}

import { z } from 'zod';
import { idField, type CustomerCaller } from '../http/endpoint.ts';
import { e164 } from '../http/fields.ts';
import { actionList } from '../flow/language.ts';
import type { Step } from '../flow/action.ts';
import type { CallOrder } from './outbound.ts';

const METADATA_BYTES = 4096;
/** MariaDB takes 32, in the columns it is kept in. */
const METADATA_DEPTH = 16;
const RING_SECONDS = 60;
const LONGEST_CALL_SECONDS = 24 * 3600;

/** The body of `POST /v1/calls`. */
export const callBody = z
  .strictObject({
    from: e164.describe(
      'the number that is shown; any is taken, and what a carrier does with one that is not yours is its own affair',
    ),
    to: e164.describe('the number that is called; it needs a rate and a trunk'),
    metadata: z
      .record(z.string(), z.unknown())
      .superRefine((value, context) => {
        const message = fits(value, METADATA_DEPTH)
          ? Buffer.byteLength(JSON.stringify(value)) > METADATA_BYTES &&
            `must not be longer than ${METADATA_BYTES} bytes as JSON`
          : `must be of whole characters, and not nested deeper than ${METADATA_DEPTH} levels`;
        if (message) context.addIssue({ code: 'custom', message });
      })
      .optional()
      .describe(
        `any JSON object of at most ${METADATA_BYTES} bytes and ${METADATA_DEPTH} levels; every event carries it`,
      ),
    record: z
      .boolean()
      .optional()
      .describe(
        'records from the answer on; `metadata.record` is true then. A `record` in the metadata alone records nothing',
      ),
    answer_url: z
      .string()
      .min(1)
      .max(2048)
      .meta({ format: 'uri' })
      .optional()
      .describe("asked once the call is answered, in place of the application's"),
    actions: z.array(z.unknown()).optional(),
    ring_timeout_seconds: z
      .int()
      .min(5)
      .max(120)
      .default(RING_SECONDS)
      .describe('how long it may ring; then the call ends `failed`, `no_answer`'),
    max_duration_seconds: z
      .int()
      .min(1)
      .max(LONGEST_CALL_SECONDS)
      .optional()
      .describe('after the answer; then it is hung up'),
    trunk_id: idField.optional().describe('goes out by this trunk alone'),
    application_id: z.unknown().optional().describe('ignored: the key names the application'),
  })
  .refine((body) => body.answer_url === undefined || body.actions === undefined, {
    path: ['actions'],
    message: 'cannot be given together with answer_url',
  });

/** As the documentation shows it: `parseActions` checks the actions, which says better what is wrong. */
export const documentedCallBody = callBody
  .safeExtend({
    actions: actionList
      .optional()
      .describe('what the call does once it is answered, in place of an answer_url'),
  })
  .meta({
    id: 'CallCreate',
    examples: [
      {
        from: '+15551230001',
        to: '+15551230002',
        metadata: { campaign: 'spring' },
        actions: [{ say: { text: 'Your appointment is tomorrow at nine.' } }],
      },
      {
        from: '+15551230001',
        to: '+15551230002',
        answer_url: 'https://example.com/answer',
        ring_timeout_seconds: 30,
        record: true,
      },
    ],
  });

/**
 * Whether the database can keep it: objects and lists no deeper than `levels`, and no half of a surrogate
 * pair.
 */
function fits(value: unknown, levels: number): boolean {
  if (typeof value === 'string') return !/\p{Surrogate}/u.test(value);
  if (typeof value !== 'object' || value === null) return true;
  return levels > 0 && Object.entries(value).every(([key, inner]) => fits(key, 0) && fits(inner, levels - 1));
}

/** @param steps the body's actions as parsed */
export const orderOf = (
  { customerId, applicationId }: CustomerCaller,
  body: z.output<typeof callBody>,
  steps?: Step[],
): CallOrder => ({
  customerId,
  applicationId,
  from: body.from,
  to: body.to,
  metadata: { ...body.metadata, ...(body.record && { record: true }) },
  answerUrl: body.answer_url,
  actions: body.actions && JSON.stringify({ actions: body.actions }),
  ...(steps && { steps }),
  ringSeconds: body.ring_timeout_seconds,
  recordFromAnswer: body.record === true,
  maxDurationSeconds: body.max_duration_seconds,
  trunkId: body.trunk_id,
});

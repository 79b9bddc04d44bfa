import { z } from 'zod';
import { envelopeSchema, gathered } from '../calls/event-schemas.ts';
import { callReply } from '../calls/schema.ts';
import { signatureHeaders, type RequestDoc } from '../http/sent-requests.ts';
import { CONNECT_TIMEOUT_MS } from '../lib/guarded-fetch.ts';
import { LONGEST_CONFIGURED, LONGEST_SENT } from '../lib/guarded-url.ts';
import { exampleOf } from '../lib/zod-example.ts';
import { ANSWER_URL_LIMITS } from './answer-url.ts';
import { instructions } from './language.ts';
import { MOST_ACTIONS } from './schema.ts';

// What an answer_url is asked and may reply, for the documentation; the tests hold what is sent against it.

const { timeoutMs, maxBodyBytes, maxRedirects } = ANSWER_URL_LIMITS;

const DESCRIPTION = `
The \`answer_url\` of the application, or of the call where \`POST /v1/calls\` names one, is asked what a call \
shall do: an inbound call's as soon as the call arrives, an outbound call's when it is answered. A \`redirect\` \
asks its own URL in the same way. The application's \`answer_method\` says whether the request is a GET or a POST.

The server has ${timeoutMs / 1000} s for the whole exchange, ${CONNECT_TIMEOUT_MS / 1000} s of them to be \
connected; up to ${maxRedirects} HTTP redirects are followed. A request is made a second time only where no \
connection could be made.

The reply has a status of 2xx and a body of JSON with the \`actions\`: UTF-8, plain or gzip, at most \
${maxBodyBytes / 1024} KiB and ${MOST_ACTIONS} actions. The actions run in order. One that is not valid refuses \
the whole reply; \`GET /v1/calls/{id}/events\` shows which field it was, and what was replied. When the list has \
come to its end and the caller is still there, the call is hung up. An inbound call is answered before its first \
action, unless that is \`reject\`; an empty list refuses it with 480.

Where there is no valid reply, the application's \`fallback_url\` is asked once, by the same method, with \
\`error_code\` and \`error_url\` added to its query. Where that has no valid reply either, the call ends \
\`failed\` with \`answer_url_error\`: an inbound call that is not answered is refused with 480, an answered \
call is hung up.

A URL has at most ${LONGEST_CONFIGURED} characters as it is configured, and must lead to a public address. Its \
own query stays as it was written; what is added stands behind it. A GET has at most ${LONGEST_SENT} characters \
in all: calls with long variables want POST.
`.trim();

/** What the `fallback_url` is told in its query, by GET and by POST. */
const failed = {
  error_code: z.literal('answer_url_error').optional().describe('to the `fallback_url` alone'),
  error_url: z.string().optional().describe('to the `fallback_url` alone: the URL that gave no valid reply'),
};

const query = z.object({
  call_id: z.string(),
  customer_id: z.string(),
  application_id: z.string(),
  direction: callReply.shape.direction,
  from: z.string().describe('who calls: a number, or `anonymous`'),
  to: z.string().describe('who is called'),
  status: callReply.shape.status,
  digits: gathered.digits.optional().describe('after a `gather`: the keys that were pressed, or nothing'),
  gather_status: gathered.status.optional().describe('after a `gather`: how it came to its end'),
  timed_out: z.enum(['true', 'false']).optional().describe('after a `gather`: no key came in time'),
  var_NAME: z.string().optional().describe('each variable of the call, with its name in place of `NAME`'),
  ...failed,
});

const body = envelopeSchema('call.instructions', ['in_progress', 'ringing'], {
  gather: z.strictObject(gathered).optional().describe('of the last `gather`, where there was one'),
});

const common = {
  name: 'call.instructions',
  tag: 'The answer_url',
  description: DESCRIPTION,
  reply: {
    status: '200',
    description: 'What the call does next',
    content: {
      schema: instructions,
      example: {
        actions: [
          { gather: { prompt: 'For sales press 1, for support press 2.', num_digits: 1 } },
          { redirect: { url: 'https://example.com/menu', method: 'POST' } },
        ],
      },
    },
  },
} as const;

const headers = (signed: string) =>
  z.object({
    'X-MiniVoice-Call-Id': z.string().describe('as `call_id`, or `call.id` in the body'),
    ...signatureHeaders(signed),
  });

/** The request for instructions, by either method. */
export const answerUrlRequests = [
  {
    ...common,
    method: 'get',
    operationId: 'instructions_by_get',
    summary: 'What shall the call do? (`answer_method` GET, as it is when nothing else is said)',
    headers: headers('the raw query string'),
    query,
  },
  {
    ...common,
    method: 'post',
    operationId: 'instructions_by_post',
    summary: 'What shall the call do? (`answer_method` POST)',
    headers: headers('the raw body'),
    query: z.object(failed),
    body: { schema: body.meta({ id: 'InstructionsRequest' }), example: exampleOf(body) },
  },
] as const satisfies readonly RequestDoc[];

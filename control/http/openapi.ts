import { OpenAPIRegistry, OpenApiGeneratorV31 } from '@asteasolutions/zod-to-openapi';
import { z } from 'zod';
import { ERROR_CODES, ERRORS, type ErrorCode } from '../lib/errors.ts';
import { groupBy } from '../lib/group-by.ts';
import type { Endpoint } from './endpoint.ts';
import { eventRequest, registerRequest, type EventDoc, type RequestDoc } from './sent-requests.ts';

export type OpenApiDocument = ReturnType<OpenApiGeneratorV31['generateDocument']>;

/** What no endpoint answers with, as the request is for none. */
const OUTSIDE: readonly ErrorCode[] = ['not_found', 'method_not_allowed'];

/** @param codes those that the document's endpoints can answer with */
const errorSchema = (codes: ReadonlySet<ErrorCode>) =>
  z
    .strictObject({
      error: z.strictObject({
        code: z.enum(ERROR_CODES.filter((code) => codes.has(code))),
        message: z.string(),
        details: z
          .array(
            z.strictObject({
              path: z.string().describe('where it is, such as `actions[1].gather.timeout_seconds`'),
              message: z.string(),
            }),
          )
          .optional()
          .describe('each problem of a request that is not valid'),
        request_id: z.string(),
      }),
    })
    .meta({
      id: 'Error',
      description:
        'Branch on `code`; `message` is for people. `request_id` is also in the X-Request-Id header. ' +
        'With 429 and 503 a Retry-After header says when to try again.',
    });

/**
 * Every code an endpoint can answer with: its own, and those that come with its authentication, method and
 * input.
 */
export function errorCodes(endpoint: Endpoint): ErrorCode[] {
  const codes = new Set<ErrorCode>(endpoint.errors);
  if (endpoint.auth !== 'none') codes.add('unauthorized');
  codes.add('rate_limited');
  if (endpoint.auth === 'customer') codes.add('application_disabled');
  if (endpoint.auth === 'customer' && endpoint.method !== 'get' && !endpoint.allowSuspendedCustomer)
    codes.add('customer_suspended');
  if (endpoint.query || endpoint.body || endpoint.method === 'post') codes.add('invalid_request');
  if (endpoint.body)
    for (const code of ['payload_too_large', 'unsupported_media_type'] as const) codes.add(code);
  if (endpoint.body && !endpoint.consumes) codes.add('invalid_json');
  if (endpoint.method === 'post')
    for (const code of ['idempotency_in_progress', 'idempotency_mismatch'] as const) codes.add(code);
  if (endpoint.produces !== undefined) codes.add('range_not_satisfiable');
  for (const code of ['internal_error', 'service_unavailable'] as const) codes.add(code);
  return [...codes];
}

const idempotencyKey = z
  .string()
  .min(1)
  .max(255)
  .optional()
  .describe('makes a retry safe: the same key with the same body gets the stored answer for 24 hours');

const headersOf = ({ method, produces }: Endpoint): z.ZodObject | undefined => {
  if (produces !== undefined)
    return z.object({
      Range: z
        .string()
        .optional()
        .describe('`bytes=0-1023`, `bytes=1024-` or `bytes=-1024`: one range (RFC 9110 §14)'),
    });
  return method === 'post' ? z.object({ 'Idempotency-Key': idempotencyKey }) : undefined;
};

const NOTES: Record<string, string> = {
  101: 'A WebSocket',
  200: 'Done',
  201: 'Created',
  202: 'Accepted',
  204: 'Done; there is no body',
};

interface Documented {
  version: string;
  publicUrl?: string | undefined;
  /** What customers are sent of its own accord. */
  events?: readonly EventDoc[];
  /** What else customers' servers are asked. */
  requests?: readonly RequestDoc[];
}

/** The OpenAPI 3.1 document of these endpoints, made from the very schemas that validate their requests. */
export function openApiDocument(
  endpoints: readonly Endpoint[],
  { version, publicUrl, events = [], requests = [] }: Documented,
): OpenApiDocument {
  const registry = new OpenAPIRegistry();
  const security = {
    customer: registry.registerComponent('securitySchemes', 'ApplicationKey', {
      type: 'http',
      scheme: 'bearer',
      description: 'API key of an application, `mv_live_…`',
    }),
    operator: registry.registerComponent('securitySchemes', 'OperatorToken', {
      type: 'http',
      scheme: 'bearer',
      description: 'the operator token',
    }),
  };
  const error = errorSchema(new Set([...OUTSIDE, ...endpoints.flatMap(errorCodes)]));
  for (const endpoint of endpoints) {
    registry.registerPath({
      method: endpoint.method,
      path: endpoint.path.replaceAll(/:([a-z0-9_]+)/gi, '{$1}'),
      operationId: operationId(endpoint),
      tags: [endpoint.tag],
      summary: endpoint.summary,
      description: endpoint.description,
      security: endpoint.auth === 'none' ? [] : [{ [security[endpoint.auth].name]: [] }],
      request: {
        params: endpoint.params instanceof z.ZodObject ? endpoint.params : undefined,
        query: endpoint.query instanceof z.ZodObject ? endpoint.query : undefined,
        headers: headersOf(endpoint),
        body: endpoint.body && {
          required: !endpoint.body.safeParse({}).success,
          content: {
            [endpoint.consumes ?? 'application/json']: { schema: endpoint.documentedBody ?? endpoint.body },
          },
        },
      },
      responses: {
        ...successResponses(endpoint),
        ...errorResponses(errorCodes(endpoint), error),
      },
    });
  }
  const sent = [...requests, ...events.map(eventRequest)];
  for (const request of sent) registerRequest(registry, request);
  return new OpenApiGeneratorV31(registry.definitions).generateDocument({
    openapi: '3.1.0',
    info: {
      title: 'MiniVoice API',
      version,
      description:
        'Every object of a customer is seen by that customer only. Times are RFC 3339 in UTC; fields that are not known are left out.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: publicUrl ?? '/' }],
    tags: [...new Set([...endpoints, ...sent].map(({ tag }) => tag))].map((name) => ({ name })),
  });
}

function successResponses({ status, reply, produces }: Endpoint) {
  const bytes =
    produces === undefined
      ? undefined
      : { [produces]: { schema: { type: 'string' as const, format: 'binary' } } };
  const content = bytes ?? (reply && { 'application/json': { schema: reply } });
  return {
    [status]: { description: NOTES[status] ?? 'Done', content },
    ...(bytes && { 206: { description: 'The part that `Range` asks for', content: bytes } }),
  };
}

function errorResponses(codes: readonly ErrorCode[], schema: z.ZodType) {
  const byStatus = groupBy(codes, (code) => ERRORS[code][0]);
  return Object.fromEntries(
    [...byStatus]
      .sort(([a], [b]) => a - b)
      .map(([status, group]) => [
        status,
        {
          description: group.map((code) => `\`${code}\`: ${ERRORS[code][1]}`).join('; '),
          content: {
            'application/json': {
              schema,
              examples: Object.fromEntries(
                group.map((code) => [
                  code,
                  {
                    value: {
                      error: { code, message: ERRORS[code][1], request_id: 'req_20260529T120000.000000000' },
                    },
                  },
                ]),
              ),
            },
          },
        },
      ]),
  );
}

const operationId = ({ method, path }: Endpoint): string =>
  [
    method,
    ...path
      .split('/')
      .filter(Boolean)
      .map((part) => part.replace(':', 'by_').replaceAll(/[^A-Za-z0-9]/g, '_')),
  ].join('_');

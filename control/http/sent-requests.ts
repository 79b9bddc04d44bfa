import type { OpenAPIRegistry } from '@asteasolutions/zod-to-openapi';
import { z } from 'zod';

/** A request that MiniVoice makes to a server of a customer: an entry of the document's `webhooks`. */
export interface RequestDoc {
  name: string;
  method: 'get' | 'post';
  operationId: string;
  tag: string;
  summary: string;
  /** Paragraphs, with an empty line between them. */
  description?: string;
  headers: z.ZodObject;
  query?: z.ZodObject;
  body?: Content;
  /** What the server is to answer. */
  reply: { status: string; description: string; content?: Content };
}

interface Content {
  schema: z.ZodType;
  example: unknown;
}

/** An event, as it is sent to a customer's webhook_url and over the live stream. */
export interface EventDoc {
  event: string;
  summary: string;
  /** The whole body, strict. */
  schema: z.ZodType;
  example: unknown;
}

/** @param signed what the signature is over, beside the timestamp */
export const signatureHeaders = (signed: string) => ({
  'X-MiniVoice-Timestamp': z
    .string()
    .optional()
    .describe('Unix seconds, new on every attempt; only with a webhook secret'),
  'X-MiniVoice-Signature': z
    .string()
    .optional()
    .describe(
      `\`v1=\` and the hex HMAC-SHA256 of timestamp, a dot and ${signed}, under the webhook secret; ` +
        'two of them, comma-separated, while a secret is rotating',
    ),
});

const eventHeaders = z.object({
  'X-MiniVoice-Event': z.string().describe('as `event` in the body'),
  'X-MiniVoice-Event-Id': z
    .string()
    .describe('the same on every attempt: what has come twice is known by it'),
  'X-MiniVoice-Attempt': z.string().describe('1 for the first'),
  ...signatureHeaders('the raw body'),
});

export const eventRequest = ({ event, summary, schema, example }: EventDoc): RequestDoc => ({
  name: event,
  method: 'post',
  operationId: `event_${event.replaceAll('.', '_')}`,
  tag: 'Events',
  summary,
  headers: eventHeaders,
  body: { schema, example },
  reply: { status: '2XX', description: 'Taken; anything else is tried again' },
});

const json = (content: Content | undefined) => content && { 'application/json': content };

export function registerRequest(registry: OpenAPIRegistry, request: RequestDoc): void {
  const { name, method, operationId, tag, summary, description, headers, query, body, reply } = request;
  registry.registerWebhook({
    method,
    path: name,
    operationId,
    tags: [tag],
    summary,
    description,
    security: [],
    request: {
      headers,
      query,
      body: body && { required: true, content: { 'application/json': body } },
    },
    responses: { [reply.status]: { description: reply.description, content: json(reply.content) } },
  });
}

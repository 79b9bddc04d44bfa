import { z } from 'zod';

/** JSON Schema as the document holds it. */
export type JsonSchema = Record<string, unknown>;

interface Response {
  content?: Record<string, { schema: JsonSchema; examples?: Record<string, unknown> }>;
}

export interface ApiDocument {
  openapi: string;
  paths: Record<
    string,
    Record<
      string,
      {
        operationId: string;
        parameters?: { name: string; in: string }[];
        security?: unknown[];
        responses: Record<string, Response>;
      }
    >
  >;
  components: { schemas: Record<string, JsonSchema>; securitySchemes: Record<string, unknown> };
}

/**
 * The schema with every reference replaced by what it points to.
 * @throws Error for one that points nowhere.
 */
export function resolved(schema: unknown, document: ApiDocument): unknown {
  if (Array.isArray(schema)) return schema.map((item) => resolved(item, document));
  if (typeof schema !== 'object' || schema === null) return schema;
  const { $ref, ...rest } = schema as JsonSchema & { $ref?: string };
  if ($ref === undefined)
    return Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, resolved(value, document)]));
  const target = document.components.schemas[$ref.replace('#/components/schemas/', '')];
  if (!target) throw new Error(`${$ref} points nowhere`);
  return { ...(resolved(target, document) as JsonSchema), ...rest };
}

/**
 * Holds a reply against the published document: its operation, status, body and, for an error, its code.
 * @throws Error saying what does not match
 */
export function checkReply(
  document: ApiDocument,
  method: string,
  path: string,
  status: number,
  body: unknown,
): void {
  const where = `${method} ${path} → ${status}`;
  // As the router does it: of the paths that match, the one with the fewest parameters.
  const matching = Object.entries(document.paths)
    .filter(
      ([template, item]) =>
        method.toLowerCase() in item &&
        new RegExp(`^${template.replaceAll(/\{[^}]+\}/g, '[^/]+')}$`).test(path),
    )
    .sort(([a], [b]) => a.split('{').length - b.split('{').length);
  const operation = matching[0]?.[1][method.toLowerCase()];
  if (!operation) throw new Error(`${where}: not in the document`);
  const response = operation.responses[status];
  if (!response) throw new Error(`${where}: the document does not know this status`);
  const content = response.content?.['application/json'];
  if (!content) {
    if (body !== undefined) throw new Error(`${where}: the document promises no body`);
    return;
  }
  const result = z.fromJSONSchema(resolved(content.schema, document) as JsonSchema).safeParse(body);
  if (!result.success)
    throw new Error(`${where}: ${JSON.stringify(body)} does not match: ${z.prettifyError(result.error)}`);
  const code = status >= 400 ? (body as { error: { code: string } }).error.code : undefined;
  if (code !== undefined && !(code in (content.examples ?? {})))
    throw new Error(`${where}: the document does not know ${code} here`);
}

// The OpenAPI document is our own, but the page reads it as what it is: JSON. Only the parts that are shown
// are named.

export interface Schema {
  $ref?: string;
  type?: string | string[];
  description?: string;
  enum?: unknown[];
  const?: unknown;
  default?: unknown;
  examples?: unknown[];
  format?: string;
  pattern?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  allOf?: Schema[];
}

interface Content {
  schema: Schema;
  example?: unknown;
  /** Of a refusal: one for each error code. */
  examples?: Record<string, { value: { error: { message: string } } }>;
}

export interface Parameter {
  name: string;
  in: string;
  required?: boolean;
  schema?: Schema;
  description?: string;
}

export interface Operation {
  operationId: string;
  summary?: string;
  description?: string;
  tags?: string[];
  security?: Record<string, string[]>[];
  parameters?: Parameter[];
  requestBody?: { content: Record<string, Content> };
  responses: Record<string, { description: string; content?: Record<string, Content> }>;
}

type Operations = Record<string, Record<string, Operation>>;

export interface Document {
  info: { title: string; version: string; description?: string };
  paths: Operations;
  webhooks?: Operations;
  components?: { schemas?: Record<string, Schema> };
}

/** One operation of the document, with the path or the name it stands at. */
export interface Entry {
  path: string;
  method: string;
  operation: Operation;
}

export const entriesOf = (operations: Operations | undefined): Entry[] =>
  Object.entries(operations ?? {}).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
  );

export const refName = ({ $ref }: Schema): string | undefined => $ref?.split('/').at(-1);

/** The schema itself, where it is a reference to one. */
export function resolve(schema: Schema, document: Document): Schema {
  const name = refName(schema);
  return (name === undefined ? undefined : document.components?.schemas?.[name]) ?? schema;
}

import { z } from 'zod';

interface JsonSchema {
  examples?: unknown[];
  default?: unknown;
  const?: unknown;
  enum?: unknown[];
  anyOf?: JsonSchema[];
  type?: string;
  properties?: Record<string, JsonSchema>;
  items?: JsonSchema;
}

/**
 * A value that the schema describes, for the documentation: of every field its first `.meta({ examples })`,
 * or else what its type allows. Optional fields are there; lists have one entry.
 */
export const exampleOf = (schema: z.ZodType): unknown =>
  valueOf(z.toJSONSchema(schema, { io: 'output', reused: 'inline', unrepresentable: 'any' }) as JsonSchema);

function valueOf(schema: JsonSchema): unknown {
  if (schema.examples) return schema.examples[0];
  if (schema.const !== undefined) return schema.const;
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  const [choice] = schema.anyOf ?? [];
  if (choice) return valueOf(choice);
  switch (schema.type) {
    case 'object':
      return Object.fromEntries(
        Object.entries(schema.properties ?? {}).map(([name, field]) => [name, valueOf(field)]),
      );
    case 'array':
      return schema.items ? [valueOf(schema.items)] : [];
    case 'integer':
    case 'number':
      return 0;
    case 'boolean':
      return false;
    default:
      return 'text';
  }
}

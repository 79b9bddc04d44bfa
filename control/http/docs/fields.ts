import { refName, resolve, type Document, type Schema } from './document.ts';
import { code, escape, link, prose, table } from './html.ts';

/** Where the page describes a schema once, instead of wherever it is used. */
const DESCRIBED: Readonly<Record<string, string>> = { Action: 'actions' };

/** @param needed how a field is marked that is always there: `required` of a request, `always` of a reply */
export function fieldsHtml(schema: Schema, document: Document, needed: 'required' | 'always'): string {
  const { properties, required } = flatten(schema, document);
  return table(
    Object.entries(properties).map(([name, field]) => {
      const nested = resolve(field, document);
      const inner = fieldsHtml(nested.items ?? nested, document, needed);
      const about = [describe(field, document), prose(field.description)].filter((text) => text !== '');
      return `<td>${code(name)}<td>${required.has(name) ? needed : ''}<td>${about.join(': ')}${inner}`;
    }),
  );
}

/** Type and limits of a field, and what it is when it is left out. */
export function describe(schema: Schema | undefined, document: Document): string {
  if (!schema) return '';
  const rest = schema.default === undefined ? [] : [`default ${code(JSON.stringify(schema.default))}`];
  return [typeOf(schema, document), ...limitsOf(schema), ...rest].filter((text) => text !== '').join(', ');
}

/** The fields of an object: through references and extensions, and of what may be null instead. */
function flatten(
  schema: Schema,
  document: Document,
): { properties: Record<string, Schema>; required: ReadonlySet<string> } {
  const [choice, ...more] = (schema.anyOf ?? []).filter(({ type }) => type !== 'null');
  const target = resolve(schema, document);
  const parts = [
    ...(target === schema ? [] : [target]),
    ...(choice && more.length === 0 ? [choice] : []),
    ...(schema.allOf ?? []),
  ].map((part) => flatten(part, document));
  return {
    properties: Object.assign({}, ...parts.map((part) => part.properties), schema.properties) as Record<
      string,
      Schema
    >,
    required: new Set([...parts.flatMap((part) => [...part.required]), ...(schema.required ?? [])]),
  };
}

function typeOf(schema: Schema, document: Document): string {
  const name = refName(schema);
  const anchor = name === undefined ? undefined : DESCRIBED[name];
  if (name !== undefined && anchor !== undefined) return link(anchor, escape(name));
  if (name !== undefined) return typeOf(resolve(schema, document), document);
  if (schema.const !== undefined) return code(JSON.stringify(schema.const));
  if (schema.enum) return schema.enum.map((value) => code(String(value))).join(' | ');
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return choices.map((choice) => describe(choice, document)).join(' or ');
  if (schema.items) return `list of ${describe(schema.items, document)}`;
  return escape([schema.type ?? 'any value'].flat().join(' or '));
}

/** What a value may be beyond its type, in words. */
function limitsOf(schema: Schema): string[] {
  const { minimum, maximum, minLength, maxLength, minItems, maxItems, pattern, format } = schema;
  const safe = (bound: number | undefined): number | undefined =>
    bound !== undefined && Math.abs(bound) < Number.MAX_SAFE_INTEGER ? bound : undefined;
  return [
    range(safe(minimum), safe(maximum), ''),
    range(minLength, maxLength, ' characters'),
    range(minItems, maxItems, ' items'),
    format === undefined ? '' : escape(format),
    pattern === undefined ? '' : `matching ${code(pattern)}`,
  ];
}

function range(least: number | undefined, most: number | undefined, unit: string): string {
  if (least === undefined && most === undefined) return '';
  if (least === most) return `${least}${unit}`;
  if (most === undefined) return `at least ${least}${unit}`;
  return least === undefined ? `at most ${most}${unit}` : `${least} to ${most}${unit}`;
}

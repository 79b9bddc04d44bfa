import { ERRORS } from '../lib/errors.ts';
import { groupBy } from '../lib/group-by.ts';
import type { OpenApiDocument } from './openapi.ts';

// The document is our own, but it is read here as what it is: JSON. Only the parts that are shown are named.
interface Schema {
  $ref?: string;
  type?: string | string[];
  description?: string;
  enum?: unknown[];
  const?: unknown;
  default?: unknown;
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  allOf?: Schema[];
}

interface Operation {
  summary?: string;
  description?: string;
  tags?: string[];
  security?: Record<string, string[]>[];
  parameters?: { name: string; in: string; required?: boolean; schema?: Schema; description?: string }[];
  requestBody?: { content: Record<string, { schema: Schema; example?: unknown }> };
  responses: Record<string, { description: string; content?: Record<string, { schema: Schema }> }>;
}

interface Document {
  info: { title: string; version: string; description?: string };
  paths: Record<string, Record<string, Operation>>;
  webhooks?: Record<string, Record<string, Operation>>;
  components?: { schemas?: Record<string, Schema> };
}

/** The API reference as one page that needs nothing from anywhere else, not even a script. */
export function docsPage(openApi: OpenApiDocument): string {
  const document = openApi as unknown as Document;
  const operations = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
  );
  const tags = groupBy(operations, ({ operation }) => operation.tags?.[0] ?? 'Other');
  const sections = [...tags].map(
    ([tag, group]) =>
      `<h2>${escape(tag)}</h2>${group.map((entry) => operationHtml(entry, document)).join('')}`,
  );
  const errors = Object.entries(ERRORS).map(
    ([code, [status, message]]) => `<tr><td><code>${code}</code><td>${status}<td>${escape(message)}`,
  );
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escape(document.info.title)}</title><style>${STYLE}</style>
<h1>${escape(document.info.title)} <small>${escape(document.info.version)}</small></h1>
<p>${escape(document.info.description ?? '')} The same as data: <a href="/openapi.json">openapi.json</a>.</p>
${sections.join('\n')}
${eventsHtml(document)}
<h2>Errors</h2><table><tr><th>code<th>status<th>message${errors.join('')}</table></html>`;
}

function operationHtml(
  { path, method, operation }: { path: string; method: string; operation: Operation },
  document: Document,
): string {
  const inputs = (operation.parameters ?? []).map(
    (p) =>
      `<tr><td><code>${escape(p.name)}</code><td>${p.in}${p.required ? ', required' : ''}<td>${typeOf(p.schema)} ${code(p.description ?? p.schema?.description)}`,
  );
  const [[type, { schema: body }] = ['', {}]] = Object.entries(operation.requestBody?.content ?? {});
  const [status, success] = Object.entries(operation.responses).find(([s]) => /^[12]/.test(s)) ?? [];
  const reply = success?.content?.['application/json']?.schema;
  const refusals = Object.entries(operation.responses)
    .filter(([s]) => !/^[12]/.test(s))
    .map(([s, r]) => `<li>${s} ${code(r.description)}`);
  const needs = Object.keys(operation.security?.[0] ?? {})[0];
  return `<details><summary><b>${method.toUpperCase()}</b> <code>${escape(path)}</code> ${escape(operation.summary ?? '')}</summary>
<p>${code(operation.description)} ${needs ? `Authorization: Bearer <i>${escape(needs)}</i>.` : 'No authorization.'}</p>
${inputs.length > 0 ? `<table>${inputs.join('')}</table>` : ''}
${body ? `<h4>Body</h4>${type === 'application/json' ? fieldsHtml(body, document) : `<p><code>${escape(type)}</code>: ${code(body.description)}`}` : ''}
<h4>Reply ${status ?? ''}</h4>${reply ? fieldsHtml(reply, document) : `<p>${escape(Object.keys(success?.content ?? {})[0] ?? 'No body')}.</p>`}
<h4>Refusals</h4><ul>${refusals.join('')}</ul></details>`;
}

/** What is sent to a webhook_url and over the live stream: an example of each, and its fields. */
function eventsHtml(document: Document): string {
  const events = Object.entries(document.webhooks ?? {}).map(([event, item]) => {
    const { summary, parameters = [], requestBody } = item.post ?? { responses: {} };
    const { schema = {}, example } = requestBody?.content['application/json'] ?? {};
    const headers = parameters.map(
      (p) => `<tr><td><code>${escape(p.name)}</code><td>${code(p.description ?? p.schema?.description)}`,
    );
    return `<details><summary><code>${escape(event)}</code> ${code(summary)}</summary>
<pre>${escape(JSON.stringify(example, null, 2))}</pre><h4>Headers</h4><table>${headers.join('')}</table><h4>Body</h4>${fieldsHtml(schema, document)}</details>`;
  });
  return events.length === 0
    ? ''
    : `<h2>Events</h2><p>Sent by POST to the application's <code>webhook_url</code>, and live over <code>GET /v1/events</code>.</p>${events.join('')}`;
}

function fieldsHtml(schema: Schema, document: Document): string {
  const { properties, required } = flatten(schema, document);
  const rows = Object.entries(properties).map(([name, field]) => {
    const nested = field.items ?? field;
    const inner =
      Object.keys(flatten(nested, document).properties).length > 0 ? fieldsHtml(nested, document) : '';
    return `<tr><td><code>${escape(name)}</code><td>${required.has(name) ? 'always' : ''}<td>${typeOf(field)} ${code(field.description)}${inner}`;
  });
  return rows.length > 0 ? `<table>${rows.join('')}</table>` : '';
}

/** The fields of an object, through references and extensions. */
function flatten(
  schema: Schema,
  document: Document,
): { properties: Record<string, Schema>; required: Set<string> } {
  const name = schema.$ref?.split('/').at(-1);
  const target = name === undefined ? undefined : document.components?.schemas?.[name];
  const parts = [...(target ? [target] : []), ...(schema.allOf ?? [])].map((part) => flatten(part, document));
  return {
    properties: Object.assign({}, ...parts.map((p) => p.properties), schema.properties) as Record<
      string,
      Schema
    >,
    required: new Set([...parts.flatMap((p) => [...p.required]), ...(schema.required ?? [])]),
  };
}

function typeOf(schema: Schema | undefined): string {
  if (!schema) return '';
  if (schema.$ref !== undefined) return escape(schema.$ref.split('/').at(-1) ?? '');
  if (schema.const !== undefined) return escape(JSON.stringify(schema.const));
  if (schema.enum) return schema.enum.map((value) => `<code>${escape(String(value))}</code>`).join(' | ');
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return choices.map(typeOf).join(' or ');
  if (schema.items) return `list of ${typeOf(schema.items)}`;
  const type = escape([schema.type ?? ''].flat().join(' or '));
  return schema.default === undefined ? type : `${type}, default ${escape(JSON.stringify(schema.default))}`;
}

const escape = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
const code = (text: string | undefined): string =>
  escape(text ?? '').replaceAll(/`([^`]+)`/g, '<code>$1</code>');

const STYLE = `:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
summary{cursor:pointer;padding:.3rem 0}details[open]{border-left:3px solid #8888;padding-left:1rem}small{opacity:.6}h4{margin:.8rem 0 .2rem}
table{border-collapse:collapse;width:100%}td,th{border-top:1px solid #8884;padding:.2rem .6rem .2rem 0;text-align:left;vertical-align:top}code{font-size:.9em}pre{overflow:auto}`;

import { resolve, type Document, type Entry, type Operation, type Parameter } from './document.ts';
import { describe, fieldsHtml } from './fields.ts';
import { code, escape, folded, json, link, paragraphs, prose, table } from './html.ts';

const JSON_TYPE = 'application/json';

/** One endpoint of the API, folded. */
export function operationHtml({ path, method, operation }: Entry, document: Document): string {
  const needs = Object.keys(operation.security?.[0] ?? {})[0];
  return folded(
    operation.operationId,
    `<b>${method.toUpperCase()}</b> ${code(path)} ${prose(operation.summary)}`,
    `${paragraphs(operation.description)}
<p>${needs ? `Authorization: Bearer <i>${escape(needs)}</i>.` : 'No authorization.'}</p>
${parametersHtml(operation.parameters ?? [], document)}
${bodyHtml(operation, document)}
${replyHtml(operation, document)}
<h4>Refusals</h4><ul>${refusalsHtml(operation)}</ul>`,
  );
}

/** A request that customers' servers get: an example of its body, its headers and its fields. */
export function requestHtml({ operation }: Entry, document: Document): string {
  const { schema, example } = operation.requestBody?.content[JSON_TYPE] ?? {};
  const inside = (place: string) => (operation.parameters ?? []).filter((p) => p.in === place);
  const [query, headers] = [inside('query'), inside('header')].map((p) => parametersHtml(p, document));
  return `${example === undefined ? '' : json(example)}
${query ? `<h4>Query</h4>${query}` : ''}
${headers ? `<h4>Headers</h4>${headers}` : ''}
${schema ? `<h4>Body</h4>${fieldsHtml(schema, document, 'always')}` : ''}`;
}

const parametersHtml = (parameters: readonly Parameter[], document: Document): string =>
  table(
    parameters.map((parameter) => {
      const about = [
        describe(parameter.schema, document),
        prose(parameter.description ?? parameter.schema?.description),
      ];
      return `<td>${code(parameter.name)}<td>${parameter.in}${parameter.required ? ', required' : ''}
<td>${about.filter((text) => text !== '').join(': ')}`;
    }),
  );

function bodyHtml({ requestBody }: Operation, document: Document): string {
  const [[type, content] = ['', undefined]] = Object.entries(requestBody?.content ?? {});
  if (!content) return '';
  const { schema } = content;
  if (type !== JSON_TYPE) return `<h4>Body</h4><p>${code(type)}: ${prose(schema.description)}</p>`;
  const { description, examples = [] } = resolve(schema, document);
  return `<h4>Body</h4>${description === undefined ? '' : paragraphs(description)}
${examples.map(json).join('')}${fieldsHtml(schema, document, 'required')}`;
}

function replyHtml({ responses }: Operation, document: Document): string {
  const [status, success] = Object.entries(responses).find(([s]) => /^[12]/.test(s)) ?? [];
  const schema = success?.content?.[JSON_TYPE]?.schema;
  const other = Object.keys(success?.content ?? {})[0] ?? 'No body';
  return `<h4>Reply ${status ?? ''}</h4>
${schema ? fieldsHtml(schema, document, 'always') : `<p>${escape(other)}.</p>`}`;
}

const refusalsHtml = ({ responses }: Operation): string =>
  Object.entries(responses)
    .filter(([status]) => !/^[12]/.test(status))
    .flatMap(([status, { content }]) =>
      Object.entries(content?.[JSON_TYPE]?.examples ?? {}).map(
        ([name, { value }]) =>
          `<li>${status} ${link(errorAnchor(name), code(name))}: ${escape(value.error.message)}`,
      ),
    )
    .join('');

export const errorAnchor = (name: string): string => `error_${name}`;

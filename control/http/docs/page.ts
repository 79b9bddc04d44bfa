import { ERRORS } from '../../lib/errors.ts';
import { groupBy } from '../../lib/group-by.ts';
import type { OpenApiDocument } from '../openapi.ts';
import { entriesOf, resolve, type Document, type Entry } from './document.ts';
import { fieldsHtml } from './fields.ts';
import { code, escape, folded, json, link, paragraphs, prose, STYLE, table } from './html.ts';
import { errorAnchor, operationHtml, requestHtml } from './operations.ts';

const EVENTS = 'Events';

/** A chapter of the page, and what of it the contents name. */
interface Chapter {
  title: string;
  anchor: string;
  entries: { anchor: string; title: string }[];
  html: string;
}

/** The API reference as one page that needs nothing from anywhere else, not even a script. */
export function docsPage(openApi: OpenApiDocument): string {
  const document = openApi as unknown as Document;
  const { title, version, description } = document.info;
  const sent = entriesOf(document.webhooks);
  const [events, asked] = [true, false].map((wanted) =>
    sent.filter(({ operation }) => (operation.tags?.[0] === EVENTS) === wanted),
  );
  const chapters = [
    ...askedChapters(asked ?? [], document),
    ...actionsChapter(document),
    ...eventsChapter(events ?? [], document),
    ...endpointChapters(document),
    errorsChapter(document),
  ];
  return `<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>${escape(title)}</title><style>${STYLE}</style>
<h1>${escape(title)} <small>${escape(version)}</small></h1>
<p>${prose(description)} The same as data: <a href="openapi.json">openapi.json</a>.</p>
<nav><h2>Contents</h2>${chapters.map(contentsOf).join('\n')}</nav>
${chapters.map((chapter) => `<h2 id="${chapter.anchor}">${escape(chapter.title)}</h2>${chapter.html}`).join('\n')}
</html>`;
}

const contentsOf = ({ title, anchor, entries }: Chapter): string =>
  `<p>${link(anchor, `<b>${escape(title)}</b>`)} ${entries
    .map((entry) => link(entry.anchor, code(entry.title)))
    .join(' ')}</p>`;

/** What customers' servers are asked beside events: a chapter for each tag. */
const askedChapters = (entries: readonly Entry[], document: Document): Chapter[] =>
  [...groupBy(entries, ({ operation }) => operation.tags?.[0] ?? 'Other')].map(([tag, group]) => {
    const [first] = group;
    const [status, reply] = Object.entries(first?.operation.responses ?? {})[0] ?? [];
    const { schema, example } = reply?.content?.['application/json'] ?? {};
    const requests = group.map(
      (entry) =>
        `<h3 id="${entry.operation.operationId}">${entry.method.toUpperCase()}</h3>
<p>${prose(entry.operation.summary)}</p>${requestHtml(entry, document)}`,
    );
    return {
      title: tag,
      anchor: anchorOf(tag),
      entries: group.map(({ method, operation }) => ({
        anchor: operation.operationId,
        title: method.toUpperCase(),
      })),
      html: `${paragraphs(first?.operation.description)}${requests.join('\n')}
<h3>Reply ${escape(status ?? '')}</h3><p>${prose(reply?.description)}</p>
${example === undefined ? '' : json(example)}${schema ? fieldsHtml(schema, document, 'required') : ''}`,
    };
  });

/** Every action of the answer_url language, with its fields as they stand in the keyed encoding. */
function actionsChapter(document: Document): Chapter[] {
  const actions = Object.entries(document.components?.schemas?.KeyedAction?.properties ?? {});
  if (actions.length === 0) return [];
  const html = actions.map(([name, reference]) => {
    const { description, examples = [] } = resolve(reference, document);
    const fields = fieldsHtml(reference, document, 'required');
    return `<h3 id="action_${name}">${code(name)}</h3>${paragraphs(description)}
${examples.map((example) => json({ [name]: example })).join('')}${fields || '<p>No fields.</p>'}`;
  });
  return [
    {
      title: 'Actions',
      anchor: 'actions',
      entries: actions.map(([name]) => ({ anchor: `action_${name}`, title: name })),
      html: `<p>What the reply of an answer_url holds, and the <code>actions</code> of the API. Each action is
written keyed, as <code>{"say": {"text": "Hello"}}</code>, or typed, as
<code>{"type": "say", "text": "Hello"}</code>; a list may mix both. A field that is not known is refused.</p>
${html.join('\n')}`,
    },
  ];
}

/** What is sent to a webhook_url and over the live stream, and the endpoint of that. */
function eventsChapter(events: readonly Entry[], document: Document): Chapter[] {
  const endpoints = endpointsOf(document).get(EVENTS) ?? [];
  if (events.length + endpoints.length === 0) return [];
  const shown = events.map((event) => {
    const { operationId, summary } = event.operation;
    return folded(operationId, `${code(event.path)} ${prose(summary)}`, requestHtml(event, document));
  });
  return [
    {
      title: EVENTS,
      anchor: anchorOf(EVENTS),
      entries: [
        ...events.map(({ path, operation }) => ({ anchor: operation.operationId, title: path })),
        ...endpoints.map(contentOf),
      ],
      html: `<p>Sent by POST to the application's <code>webhook_url</code>, and live over
<code>GET /v1/events</code>.</p>${shown.join('')}${endpoints.map((entry) => operationHtml(entry, document)).join('')}`,
    },
  ];
}

const endpointsOf = (document: Document): Map<string, Entry[]> =>
  groupBy(entriesOf(document.paths), ({ operation }) => operation.tags?.[0] ?? 'Other');

const contentOf = ({ method, path, operation }: Entry) => ({
  anchor: operation.operationId,
  title: `${method.toUpperCase()} ${path}`,
});

const endpointChapters = (document: Document): Chapter[] =>
  [...endpointsOf(document)]
    .filter(([tag]) => tag !== EVENTS)
    .map(([tag, group]) => ({
      title: tag,
      anchor: anchorOf(tag),
      entries: group.map(contentOf),
      html: group.map((entry) => operationHtml(entry, document)).join(''),
    }));

function errorsChapter(document: Document): Chapter {
  const error = document.components?.schemas?.Error;
  const codes = (error?.properties?.error?.properties?.code?.enum ?? []) as (keyof typeof ERRORS)[];
  const rows = codes.map((name) => {
    const [status, message] = ERRORS[name];
    return `<td id="${errorAnchor(name)}">${code(name)}<td>${status}<td>${escape(message)}`;
  });
  return {
    title: 'Errors',
    anchor: 'errors',
    entries: codes.map((name) => ({ anchor: errorAnchor(name), title: name })),
    html: `${paragraphs(error?.description)}${table(['<th>code<th>status<th>message', ...rows])}
${error ? fieldsHtml(error, document, 'always') : ''}`,
  };
}

const anchorOf = (title: string): string => title.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');

const LINE = 100;

/** Text as HTML shows it. */
export const escape = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

export const code = (text: string): string => `<code>${escape(text)}</code>`;

/** Prose of the document, in which names stand in backticks. */
export const prose = (text = ''): string => escape(text).replaceAll(/`([^`]+)`/g, '<code>$1</code>');

/** Prose with empty lines between its paragraphs. */
export const paragraphs = (text = ''): string =>
  text
    .split('\n\n')
    .map((paragraph) => `<p>${prose(paragraph)}</p>`)
    .join('');

/** JSON that fits into a line stands in one. */
export function json(value: unknown): string {
  const text = JSON.stringify(value, null, 2);
  const line = text.replaceAll(/\n\s*/g, ' ');
  return `<pre>${escape(line.length <= LINE ? line : text)}</pre>`;
}

export const link = (anchor: string, html: string): string => `<a href="#${escape(anchor)}">${html}</a>`;

/**
 * What opens at a click. The anchor is inside of it, as a browser opens what a link leads into, not what it
 * leads to.
 */
export const folded = (anchor: string, summary: string, html: string): string =>
  `<details><summary>${summary}</summary><div id="${escape(anchor)}">${html}</div></details>`;

export const table = (rows: readonly string[]): string =>
  rows.length > 0 ? `<table>${rows.map((row) => `<tr>${row}`).join('')}</table>` : '';

export const STYLE = [
  ':root{color-scheme:light dark}',
  'body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}',
  'summary{cursor:pointer;padding:.3rem 0}',
  'details[open]{border-left:3px solid #8888;padding-left:1rem}',
  'details>div,h3{scroll-margin-top:3rem}',
  'small{opacity:.6}h4{margin:.8rem 0 .2rem}nav p{margin:.3rem 0}nav a{margin-right:.6rem}',
  'table{border-collapse:collapse;width:100%}',
  'td,th{border-top:1px solid #8884;padding:.2rem .6rem .2rem 0;text-align:left;vertical-align:top}',
  'code{font-size:.9em;overflow-wrap:anywhere}pre{overflow:auto}',
].join('\n');

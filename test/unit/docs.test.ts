import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect } from 'chai';
import { callEvents, legEvents } from '../../control/calls/event-schemas.ts';
import { ACTIONS, parseActions } from '../../control/flow/schema.ts';
import { callBody } from '../../control/placing/call-order.ts';

const TOP = join(import.meta.dirname, '../..');
const read = (file: string): string => readFileSync(join(TOP, file), 'utf8');
const under = (folder: string, extensions: RegExp): string[] =>
  readdirSync(join(TOP, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => extensions.test(file))
    .map((file) => join(folder, file));

const PAGES = [...readdirSync(TOP).filter((file) => file.endsWith('.md')), ...under('docs', /\.md$/)].sort();
/** Pages about the code: a path that they name in backticks is one of this repository. */
const ON_THE_CODE = /^(CONTRIBUTING|SECURITY)\.md$|^docs\/((architecture|glossary)\.md|decisions\/)/;

/** A page without its code blocks. */
const prose = (page: string): string => read(page).replaceAll(/^```[^]*?^```$/gm, '');

/** Code blocks of a language, with the line in the page at which each begins. */
const blocks = (page: string, language: string): { at: string; text: string }[] =>
  [...read(page).matchAll(/^```(\w+)[^\n]*\n([^]*?)^```$/gm)]
    .filter(([, its]) => its === language)
    .map(({ 2: text = '', index, input }) => ({
      at: `${page}:${input.slice(0, index).split('\n').length}`,
      text,
    }));

/** The anchors of a page as GitHub makes them of its headings. */
function anchorsOf(page: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading = ''] of prose(page).matchAll(/^#{1,6} +(.+?) *$/gm)) {
    const slug = heading
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\p{Pc}\- ]/gu, '')
      .replaceAll(' ', '-');
    let anchor = slug;
    for (let again = 1; anchors.has(anchor); again++) anchor = `${slug}-${again}`;
    anchors.add(anchor);
  }
  return anchors;
}

/** Why a link of a page leads nowhere, or undefined. Links to other sites are not followed. */
function problemOf(page: string, link: string): string | undefined {
  if (/^[a-z]+:/.test(link)) return undefined;
  const [path = '', anchor] = link.split('#', 2);
  const target = path === '' ? page : relative(TOP, resolve(TOP, dirname(page), path));
  if (!existsSync(join(TOP, target))) return 'no such file';
  if (anchor === undefined) return undefined;
  return target.endsWith('.md') && anchorsOf(target).has(anchor) ? undefined : 'no such heading';
}

describe('the documentation', () => {
  it('has no link to a file or a heading that is not there', () => {
    const links = PAGES.flatMap((page) =>
      [...prose(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => ({ page, link })),
    );
    expect(links.length).to.be.greaterThan(30);
    const dead = links.flatMap(({ page, link }) => {
      const problem = problemOf(page, link);
      return problem ? [`${page}: ${link}: ${problem}`] : [];
    });
    expect(dead).to.deep.equal([]);
  });

  it('can be reached from the README, every page of it', () => {
    const reached = new Set(['README.md']);
    for (const page of reached)
      for (const [, link = ''] of prose(page).matchAll(/\]\(([^)\s#]+\.md)[^)]*\)/g))
        if (!/^[a-z]+:/.test(link)) reached.add(relative(TOP, resolve(TOP, dirname(page), link)));
    expect(PAGES.filter((page) => !reached.has(page))).to.deep.equal([]);
  });

  it('has every section of the contract that is cited anywhere', () => {
    const sections = new Set(
      [...read('docs/contract.md').matchAll(/^#{2,3} (\d+(?:\.\d+)?)\.? /gm)].map(([, number]) => number),
    );
    expect(sections).to.include('13');
    const files = ['control', 'cli', 'db', 'kamailio', 'rtpengine', 'freeswitch', 'examples', 'test', 'docs']
      .flatMap((folder) => under(folder, /\.(ts|cfg|conf|lua|xml|sh|md)$/))
      .filter((file) => file !== 'docs/contract.md');
    const cited = files.flatMap((file) =>
      [...read(file).matchAll(/contract(?:\.md)?,? §(\d+(?:\.\d+)?)/gi)].map(([, section = '']) => ({
        file,
        section,
      })),
    );
    expect(cited.length).to.be.greaterThan(10);
    const missing = cited.filter(({ section }) => !sections.has(section));
    expect(missing.map(({ file, section }) => `${file}: §${section}`)).to.deep.equal([]);
  });

  it('names no file of the code that is not there', () => {
    const named = PAGES.filter((page) => ON_THE_CODE.test(page)).flatMap((page) =>
      [...prose(page).matchAll(/`((?:\.?[\w-]+\/)+[\w.-]*)`/g)].map(([, path = '']) => ({ page, path })),
    );
    expect(named.length).to.be.greaterThan(30);
    const missing = named.filter(
      ({ page, path }) =>
        !existsSync(join(TOP, path)) &&
        !existsSync(join(TOP, dirname(page), path)) &&
        !/^\.minivoice/.test(path),
    );
    expect(missing.map(({ page, path }) => `${page}: ${path}`)).to.deep.equal([]);
  });

  it('has examples that are JSON: actions, orders of calls and events as the schemas have them', () => {
    const checked = { actions: 0, orders: 0, events: 0 };
    for (const { at, text } of PAGES.flatMap((page) => blocks(page, 'json'))) {
      let value: Record<string, unknown> = {};
      expect(() => (value = JSON.parse(text) as Record<string, unknown>), at).not.to.throw();
      const event = Object.values({ ...callEvents, ...legEvents }).find(
        ({ event: name }) => name === value.event,
      );
      if (event) {
        checked.events++;
        expect(() => event.schema.parse(value), at).not.to.throw();
      }
      if ('to' in value) {
        checked.orders++;
        expect(() => callBody.parse(value), at).not.to.throw();
      }
      if ('actions' in value) {
        checked.actions++;
        expect(() => parseActions('to' in value ? { actions: value.actions } : value), at).not.to.throw();
      }
    }
    expect(Math.min(...Object.values(checked)), JSON.stringify(checked)).to.be.greaterThan(0);
  });

  it('shows each action in a section of its own, with an example', () => {
    const text = read('docs/developers/answer-url-and-actions.md');
    for (const name of ACTIONS.keys()) {
      const section = new RegExp(`^### ${name}\\n([^]*?)(?=^##)`, 'm').exec(text)?.[1] ?? '';
      const example = /^```json\n([^]*?)^```$/m.exec(section)?.[1];
      expect(example, `the section of ${name}`).to.be.a('string');
      const steps = parseActions(JSON.parse(example ?? ''));
      expect(
        steps.map(({ action }) => action),
        name,
      ).to.include(name);
    }
  });
});

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Validator } from '@seriousme/openapi-schema-validator';
import { expect } from 'chai';
import { z } from 'zod';
import { docsPage } from '../../../control/http/docs/page.ts';
import type { OpenApiDocument } from '../../../control/http/openapi.ts';
import { ACTIONS, parseActions } from '../../../control/flow/schema.ts';
import { wholeDocument } from '../../support/api-document.ts';
import { EVENTS } from '../../support/events.ts';
import { resolved, type ApiDocument, type JsonSchema } from '../../integration/http/openapi-check.ts';

const CONTROL = join(import.meta.dirname, '../../../control');

/** Every object in the document, with the path to it. */
function* objectsIn(node: unknown, path = '#'): Generator<[string, Record<string, unknown>]> {
  if (typeof node !== 'object' || node === null) return;
  if (!Array.isArray(node)) yield [path, node as Record<string, unknown>];
  for (const [key, value] of Object.entries(node)) yield* objectsIn(value, `${path}/${key}`);
}

const isSchema = (path: string): boolean =>
  /\/(schema|items|schemas\/\w+|properties\/\w+|(any|one|all)Of\/\d+)$/.test(path);

describe('the OpenAPI document of the whole API', () => {
  let made: OpenApiDocument;
  let document: ApiDocument;
  before(async () => {
    made = await wholeDocument();
    document = JSON.parse(JSON.stringify(made)) as ApiDocument;
  });

  const takes = (schema: unknown, value: unknown): string | undefined => {
    const result = z.fromJSONSchema(resolved(schema, document) as JsonSchema).safeParse(value);
    return result.success ? undefined : z.prettifyError(result.error);
  };

  it('is valid OpenAPI 3.1', async () => {
    const { valid, errors } = await new Validator().validate(JSON.parse(JSON.stringify(made)));
    expect(valid, JSON.stringify(errors)).to.equal(true);
  });

  it('says of every value what it is, but for one that is ignored', () => {
    const anything = [...objectsIn(document)]
      .filter(([path, schema]) => isSchema(path) && Object.keys(schema).every((key) => key === 'description'))
      .map(([path]) => path);
    expect(anything).to.deep.equal(['#/components/schemas/CallCreate/properties/application_id']);
  });

  it('has examples that its own schemas take', () => {
    let checked = 0;
    for (const [path, node] of objectsIn(document)) {
      const { schema = isSchema(path) ? node : undefined, example, examples } = node;
      if (schema === undefined) continue;
      const values = Array.isArray(examples)
        ? examples
        : Object.values((examples ?? {}) as Record<string, { value: unknown }>).map(({ value }) => value);
      for (const value of example === undefined ? values : [...values, example]) {
        expect(takes(schema, value), `${path}: ${JSON.stringify(value)}`).to.equal(undefined);
        checked++;
      }
    }
    expect(checked).to.be.greaterThan(500);
  });

  for (const [name, { summary, example, schema }] of ACTIONS) {
    it(`describes ${name}: what it does, every field, and an example in both encodings that can be sent`, () => {
      const { schemas } = document.components;
      const keyed = { [name]: example };
      const typed = { type: name, ...example };
      expect(parseActions({ actions: [keyed, typed] }).map(({ action }) => action)).to.deep.equal([
        name,
        name,
      ]);
      expect(takes(schemas.Action, keyed)).to.equal(undefined);
      expect(takes(schemas.Action, typed)).to.equal(undefined);
      const { properties } = schemas.KeyedAction as { properties: Record<string, JsonSchema> };
      const shown = resolved(properties[name], document) as JsonSchema & {
        properties: Record<string, JsonSchema>;
      };
      expect(shown).to.deep.include({ description: summary, examples: [example] });
      expect(Object.keys(shown.properties)).to.have.members(Object.keys(schema.shape));
      for (const [field, { description }] of Object.entries(shown.properties))
        expect(description, field).to.be.a('string').that.is.not.equal('');
    });
  }

  it('has the actions wherever they stand: in both requests of the API and in the reply of an answer_url', () => {
    const list = (schema: unknown): unknown =>
      (resolved(schema, document) as { properties: { actions: { items: JsonSchema } } }).properties.actions
        .items;
    const bodyOf = (path: string): unknown =>
      (made.paths?.[path]?.post?.requestBody as { content: Record<string, { schema: unknown }> }).content[
        'application/json'
      ]?.schema;
    const action = resolved(document.components.schemas.Action, document);
    expect(list(bodyOf('/v1/calls'))).to.deep.equal(action);
    expect(list(bodyOf('/v1/calls/{id}/actions'))).to.deep.equal(action);
    const asked = made.webhooks?.['call.instructions'] as unknown as Record<
      string,
      { responses: Record<string, { content: Record<string, { schema: unknown }> }> }
    >;
    expect(Object.keys(asked)).to.deep.equal(['get', 'post']);
    for (const { responses } of Object.values(asked))
      expect(list(responses['200']?.content['application/json']?.schema)).to.deep.equal(action);
  });

  it('names no error code that is answered nowhere', () => {
    const [, error] = [...objectsIn(document.components.schemas.Error)].find(([path]) =>
      path.endsWith('/code'),
    ) ?? ['', {}];
    const source = readdirSync(CONTROL, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && !['lib/errors.ts', 'http/openapi.ts'].includes(file))
      .map((file) => readFileSync(join(CONTROL, file), 'utf8').replaceAll(/^ *errors: \[[^\]]*\]/gm, ''))
      .join('\n');
    const codes = error.enum as string[];
    expect(codes).to.include.members(['not_found', 'method_not_allowed', 'insufficient_balance']);
    expect(codes.filter((code) => !source.includes(`'${code}'`))).to.deep.equal([]);
  });

  describe('as a page', () => {
    let page: string;
    before(() => {
      page = docsPage(made);
    });
    const ids = () => [...page.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id);

    it('has every anchor that its links lead to, each once', () => {
      const links = [...page.matchAll(/ href="#([^"]*)"/g)].map(([, anchor]) => anchor);
      expect(links).to.have.length.greaterThan(150);
      expect(ids()).to.include.members(links);
      expect(new Set(ids()).size).to.equal(ids().length);
    });

    it('names in its contents every endpoint, event, action and error code', () => {
      const [, contents = ''] = /<nav>(.*?)<\/nav>/s.exec(page) ?? [];
      const wanted = [
        ...Object.entries(document.paths).flatMap(([path, item]) =>
          Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`),
        ),
        ...Object.keys(EVENTS),
        ...ACTIONS.keys(),
        'insufficient_balance',
        'call_not_found',
      ];
      for (const title of wanted) expect(contents).to.contain(`<code>${title}</code></a>`);
    });

    it('shows the limits of fields, and what they are when they are left out', () => {
      const [, gather = ''] = /<h3 id="action_gather">(.*?)<h3/s.exec(page) ?? [];
      expect(gather).to.contain(
        '<code>timeout_seconds</code><td><td>number, 1 to 30, default <code>5</code>: ',
      );
      expect(gather).to.contain('string, 1 to 4000 characters');
      expect(gather).to.contain('matching <code>^[0-9*#A-D]?$</code>');
      expect(page).to.contain('<code>room</code><td>required<td>');
    });

    it('says what an answer_url is asked, how long it has, and what is asked next', () => {
      const [, chapter = ''] = /<h2 id="the-answer-url">(.*?)<h2/s.exec(page) ?? [];
      for (const name of [
        'call_id',
        'digits',
        'gather_status',
        'timed_out',
        'var_NAME',
        'X-MiniVoice-Signature',
      ])
        expect(chapter).to.contain(`<code>${name}</code>`);
      expect(chapter).to.contain('5 s for the whole exchange');
      expect(chapter).to.contain('<code>fallback_url</code> is asked once');
    });

    it('fetches nothing, and runs nothing', () => {
      expect(page).to.not.match(/<script|src=|<link|@import|url\(/);
    });
  });
});

import { z } from 'zod';
import { ACTIONS, MOST_ACTIONS } from './schema.ts';

// The answer_url language as the documentation shows it, made of the schemas by which `parseActions` reads
// it. What parses is parseActions: of an action that is not valid it tells what is wrong, and a union cannot.

/** `start_recording` becomes `StartRecording`. */
const pascal = (name: string): string =>
  name.replaceAll(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());

const definitions = [...ACTIONS.values()];

/** Each action by its name: its fields as they stand in the keyed encoding. */
const fields = Object.fromEntries(
  definitions.map(({ name, schema, summary, example }) => [
    name,
    schema.meta({ id: `${pascal(name)}Fields`, description: summary, examples: [example] }),
  ]),
);

const keyed = z
  .strictObject(fields)
  .partial()
  .refine((action) => Object.keys(action).length === 1)
  .meta({
    id: 'KeyedAction',
    description: 'Exactly one key, the name of the action, with its fields.',
    minProperties: 1,
    maxProperties: 1,
    examples: definitions.map(({ name, example }) => ({ [name]: example })),
  });

const typed = definitions.map(({ name, schema, summary, example }) =>
  schema.safeExtend({ type: z.literal(name) }).meta({
    id: `${pascal(name)}Action`,
    description: summary,
    examples: [{ type: name, ...example }],
  }),
);

const typedUnion = z
  .discriminatedUnion('type', typed as [(typeof typed)[number], ...typeof typed])
  .meta({ id: 'TypedAction', description: 'The name of the action as `type` beside its fields.' });

/** One action in either encoding. Lazy, as the document's generator would flatten a union inside a union. */
export const actionSchema = z
  .union([keyed, z.lazy(() => typedUnion)])
  .meta({ id: 'Action', description: 'One action, keyed or typed; a list may mix both.' });

export const actionList = z
  .array(actionSchema)
  .max(MOST_ACTIONS)
  .describe('run in order; one that is not valid refuses the whole list');

const [keyedExample, typedExample] = [
  { say: { text: 'Thanks for calling.' } },
  { type: 'gather', prompt: 'For sales press 1, for support press 2.', num_digits: 1 },
];

/** What a customer's server replies, and what takes the place of a running flow. */
export const instructions = z.strictObject({ actions: actionList }).meta({
  id: 'Instructions',
  examples: [{ actions: [keyedExample, typedExample, { redirect: { url: 'https://example.com/menu' } }] }],
});

import { expect } from 'chai';
import fc from 'fast-check';
import { instructions } from '../../../control/flow/language.ts';
import { ACTIONS, InvalidActions, parseActions } from '../../../control/flow/schema.ts';

/** What a field takes and what it does not, from the contract's words and not from the schema. */
interface Field {
  good: fc.Arbitrary<unknown>;
  bad: fc.Arbitrary<unknown>;
  required?: true;
}

const notString = fc.oneof(
  fc.integer(),
  fc.double({ noNaN: true }),
  fc.boolean(),
  fc.constant(null),
  fc.array(fc.string()),
  fc.dictionary(fc.string(), fc.string()),
);
const notNumber = fc.oneof(
  fc.string(),
  fc.boolean(),
  fc.constant(null),
  fc.array(fc.integer()),
  fc.dictionary(fc.string(), fc.integer()),
);
const notBoolean = fc.oneof(fc.string(), fc.integer(), fc.constant(null), fc.array(fc.boolean()));
const chars = (letters: string, most: number, least = 1) =>
  fc.string({ unit: fc.constantFrom(...letters), minLength: least, maxLength: most });
const text = (most: number, least = 1) =>
  fc.string({ minLength: least, maxLength: most }).filter((value) => value.trim().length >= least);
const tooLong = (most: number) => fc.integer({ min: 1, max: 5000 }).map((more) => 'a'.repeat(most + more));
const oneOf = (...values: string[]): Field => ({
  good: fc.constantFrom(...values),
  bad: fc.oneof(
    notString,
    fc.string().filter((value) => !values.includes(value)),
  ),
});
const whole = (min: number, max: number): Field => ({
  good: fc.integer({ min, max }),
  bad: fc.oneof(
    notNumber,
    fc.integer({ max: min - 1 }),
    fc.integer({ min: max + 1 }),
    fc.double({ min, max, noInteger: true, noNaN: true }),
  ),
});
const number = (min: number, max: number): Field => ({
  good: fc.double({ min, max, noNaN: true }),
  bad: fc.oneof(
    notNumber,
    fc.double({ max: min, maxExcluded: true, noNaN: true }),
    fc.double({ min: max, minExcluded: true, noNaN: true }),
  ),
});
const boolean: Field = { good: fc.boolean(), bad: notBoolean };
const spoken: Field = {
  good: text(4000),
  bad: fc.oneof(notString, fc.constantFrom('', ' ', '\n\t ', 'half \ud800 of a letter'), tooLong(4000)),
};
const needed = (field: Field): Field => ({ ...field, required: true });

const URLS = [
  'http://example.com',
  'https://example.com/a?b=c#d',
  'https://[2001:db8::1]:8443/',
  'http://example.com:8080/x',
];
const NO_URLS = [
  '',
  'example.com',
  '/relative',
  'ftp://example.com',
  'file:///etc/passwd',
  'javascript:alert(1)',
  'http://',
  'wss://example.com',
  'data:,a',
];
const url: Field = {
  good: fc.constantFrom(...URLS),
  bad: fc.oneof(
    notString,
    fc.constantFrom(...NO_URLS),
    tooLong(2048).map((path) => `https://example.com/${path}`),
  ),
};
const streamUrl: Field = {
  good: fc.constant('wss://example.com/audio'),
  bad: fc.oneof(notString, fc.constantFrom('', 'ws://example.com', 'https://example.com', 'wss//x')),
};
const e164 = fc
  .tuple(fc.constantFrom('1', '4', '9'), chars('0123456789', 14, 6))
  .map(([first, rest]) => `+${first}${rest}`);
const noE164 = fc.oneof(
  notString,
  fc.constantFrom(
    '',
    '+',
    '15551230001',
    '+0555123000',
    '+12345',
    '+1234567890123456',
    '+1555 1230001',
    '+1555123000a',
    '+15551230001\r\n',
    '١٢٣٤٥٦٧٨',
  ),
);
const destination: Field = {
  good: fc.oneof(
    e164,
    fc.constantFrom(
      'sip:desk@pbx.example',
      'sips:a@192.0.2.1:5061',
      'sip:pbx.example;transport=tcp',
      'sip:a@[2001:db8::1]',
    ),
  ),
  bad: fc.oneof(
    noE164,
    fc.constantFrom(
      'sip:',
      'sip:@x',
      'sip:a@b?Route=x',
      'sip:a b@c',
      'sip:a@b\r\nX: y',
      'tel:+15551230001',
      'http://example.com',
      'sip:a@b:99999',
      'sip:a@b;maddr=10.0.0.1',
    ),
    tooLong(255).map((user) => `sip:${user}@example.com`),
  ),
};
const from: Field = { good: e164, bad: noE164 };
const NAME = 'abcXYZ_09.-';
const variable: Field = {
  good: fc.tuple(fc.constantFrom('a', 'Z', '_'), chars(NAME, 127, 0)).map(([first, rest]) => first + rest),
  bad: fc.oneof(notString, fc.constantFrom('', '1a', '-a', '.a', 'a b', 'ä', 'a\n', 'a$'), tooLong(128)),
};
const direction = needed(oneOf('read', 'write', 'both'));
const legs: Record<string, Field> = {
  destination: needed(destination),
  from,
  timeout_seconds: whole(5, 120),
};

const LANGUAGE: Record<string, Record<string, Field>> = {
  say: {
    text: needed(spoken),
    loop: whole(1, 10),
    voice: {
      good: chars('abZ09+_-', 64),
      bad: fc.oneof(notString, fc.constantFrom('', 'a b', '../x', 'a;b'), tooLong(64)),
    },
    language: {
      good: fc.constantFrom('en', 'de-AT', 'zh-Hant-TW'),
      bad: fc.oneof(
        notString,
        fc.constantFrom('', 'e', 'EN', 'en_GB', 'en-', 'english'),
        tooLong(2).map((tail) => `en${'-aa'.repeat(tail.length)}x!`),
      ),
    },
  },
  gather: {
    prompt: spoken,
    timeout_seconds: number(1, 30),
    max_digits: whole(1, 64),
    min_digits: whole(0, 64),
    finish_on_key: {
      good: fc.constantFrom('', ...'0123456789*#ABCD'),
      bad: fc.oneof(notString, fc.constantFrom('##', 'E', 'a', ' ', '12')),
    },
  },
  play: { url: needed(url), loop: whole(1, 10) },
  pause: { seconds: number(1, 60) },
  send_digits: {
    digits: needed({
      good: chars('0123456789*#ABCDwW,', 128),
      bad: fc.oneof(
        notString,
        fc.constantFrom('', 'E', '12 3', 'abcd', '1\n'),
        tooLong(128).map((long) => long.replaceAll('a', '1')),
      ),
    }),
    pause_before_ms: whole(0, 60_000),
  },
  redirect: { url: needed(url), method: oneOf('GET', 'POST'), max_redirects: whole(0, 20) },
  transfer: legs,
  bridge: legs,
  conference: {
    room: needed({
      good: chars('aZ09._-', 64),
      bad: fc.oneof(notString, fc.constantFrom('', 'a b', 'a/b', 'ä', 'a\n'), tooLong(64)),
    }),
    mute: boolean,
    end_on_exit: boolean,
  },
  mute: { direction },
  unmute: { direction },
  hold: {},
  resume: {},
  start_recording: {},
  stop_recording: {},
  hangup: {},
  start_stream: { stream_url: needed(streamUrl), track: oneOf('inbound', 'outbound', 'both') },
  stop_stream: { stream_url: streamUrl, track: oneOf('inbound', 'outbound', 'both') },
  set_variable: {
    name: needed(variable),
    value: needed({
      good: fc.string({ maxLength: 4096 }),
      bad: fc.oneof(notString, tooLong(4096), fc.constant('\udc00')),
    }),
  },
  unset_variable: { name: needed(variable) },
  reject: {
    sip_code: {
      good: fc.constantFrom(403, 404, 480, 486, 603),
      bad: fc.oneof(
        notNumber,
        fc.integer().filter((code) => ![403, 404, 480, 486, 603].includes(code)),
      ),
    },
  },
};

type Encoding = 'keyed' | 'typed';
const write = (name: string, fields: object, encoding: Encoding) =>
  encoding === 'keyed' ? { [name]: fields } : { type: name, ...fields };
const encodings = fc.constantFrom<Encoding>('keyed', 'typed');
const pathTo = (at: number, name: string, encoding: Encoding, field: string) =>
  `actions[${at}].${encoding === 'keyed' ? `${name}.` : ''}${field}`;

/** An action with every required field and some of the others, all good. */
const goodFields = (name: string): fc.Arbitrary<Record<string, unknown>> => {
  const fields = Object.entries(LANGUAGE[name] ?? {});
  return fc
    .record(Object.fromEntries(fields.map(([key, { good }]) => [key, good])), {
      requiredKeys: fields.filter(([, { required }]) => required).map(([key]) => key),
    })
    .filter((given) => Number(given.min_digits ?? 0) <= Number(given.max_digits ?? 64));
};
const goodAction = fc
  .constantFrom(...Object.keys(LANGUAGE))
  .chain((name) =>
    fc
      .tuple(goodFields(name), encodings)
      .map(([fields, encoding]) => ({ name, fields, written: write(name, fields, encoding) })),
  );

function problems(payload: unknown): InvalidActions {
  const sent: unknown = JSON.parse(JSON.stringify(payload));
  expect(instructions.safeParse(sent).success, 'the documentation takes it').to.equal(false);
  try {
    parseActions(sent);
  } catch (error) {
    if (error instanceof InvalidActions) return error;
    throw error;
  }
  throw new Error(`accepted: ${JSON.stringify(payload).slice(0, 300)}`);
}

describe('every field of every action', () => {
  it('is in the table of this test', () => {
    expect(Object.keys(LANGUAGE).sort()).to.deep.equal([...ACTIONS.keys()].sort());
  });

  it('is taken where it is good, in both encodings, mixed in one array', () => {
    fc.assert(
      fc.property(fc.array(goodAction, { maxLength: 20 }), (actions) => {
        const sent: unknown = JSON.parse(JSON.stringify({ actions: actions.map(({ written }) => written) }));
        const steps = parseActions(sent);
        expect(instructions.safeParse(sent).success, 'the documentation takes it').to.equal(true);
        expect(steps.map(({ action }) => action)).to.deep.equal(actions.map(({ name }) => name));
        for (const [at, { fields }] of actions.entries())
          expect(Object.keys(steps[at]?.fields ?? {})).to.include.members(Object.keys(fields));
      }),
      { numRuns: 300 },
    );
  });

  for (const [name, fields] of Object.entries(LANGUAGE)) {
    it(`${name}: refused with the path of what is wrong, missing or unknown`, () => {
      for (const [key, { bad, required }] of Object.entries(fields)) {
        fc.assert(
          fc.property(
            fc.array(goodAction, { maxLength: 3 }),
            goodFields(name),
            bad,
            encodings,
            (before, good, wrong, encoding) => {
              const actions = [
                ...before.map(({ written }) => written),
                write(name, { ...good, [key]: wrong }, encoding),
              ];
              const { details } = problems({ actions });
              expect(details.map(({ path }) => path)).to.include(pathTo(before.length, name, encoding, key));
              expect(details.every(({ message }) => message.length > 3 && message.length < 300)).to.equal(
                true,
              );
            },
          ),
          { numRuns: 60 },
        );
        if (!required) continue;
        fc.assert(
          fc.property(goodFields(name), encodings, ({ [key]: _missing, ...rest }, encoding) => {
            expect(problems({ actions: [write(name, rest, encoding)] }).details).to.deep.include({
              path: pathTo(0, name, encoding, key),
              message: 'is required',
            });
          }),
          { numRuns: 20 },
        );
      }
      const stranger = fc
        .oneof(
          fc.string({ minLength: 1, maxLength: 30 }),
          fc.constantFrom('__proto__', 'constructor', 'toString'),
        )
        .filter(
          (key) =>
            !(key in fields) && !['type', 'to', 'num_digits'].includes(key) && !Object.hasOwn(fields, key),
        );
      fc.assert(
        fc.property(goodFields(name), stranger, encodings, (good, key, encoding) => {
          const written =
            JSON.stringify(good).slice(0, -1) +
            `${Object.keys(good).length > 0 ? ',' : ''}${JSON.stringify(key)}:1}`;
          const action =
            encoding === 'keyed' ? `{"${name}":${written}}` : `{"type":"${name}",${written.slice(1)}`;
          const { details } = problems(JSON.parse(`{"actions":[${action}]}`));
          expect(details.map(({ path }) => path)).to.deep.equal([pathTo(0, name, encoding, key)]);
          const message = details[0]?.message ?? '';
          expect(message).to.match(/^is not a known field/);
          for (const known of Object.keys(fields)) expect(message).to.contain(known);
        }),
        { numRuns: 40 },
      );
      for (const value of [null, [], 'x', 1, true])
        expect(problems({ actions: [{ [name]: value }] }).details[0]?.path).to.equal(`actions[0].${name}`);
    });
  }

  it('to and num_digits are taken in place of destination and the range', () => {
    fc.assert(
      fc.property(destination.good, fc.integer({ min: 1, max: 64 }), (to, num_digits) => {
        expect(
          parseActions({
            actions: [{ transfer: { to } }, { type: 'bridge', to }, { gather: { num_digits } }],
          }),
        ).to.have.length(3);
      }),
    );
    expect(problems({ actions: [{ type: 'gather', num_digits: 0 }] }).details[0]?.path).to.equal(
      'actions[0].num_digits',
    );
  });
});

describe('the parser of the answer_url language, whatever it is given', () => {
  const parse = (payload: unknown): void => {
    try {
      parseActions(payload);
    } catch (error) {
      expect(error).to.be.instanceOf(InvalidActions);
      const { details, message } = error as InvalidActions;
      expect(details.length).to.be.within(1, 50);
      expect(JSON.stringify(details).length, 'what is kept of it').to.be.below(40_000);
      expect(message.length).to.be.below(40_000);
    }
  };

  it('refuses nothing but with InvalidActions', () => {
    const almost = fc
      .tuple(goodAction, fc.string(), fc.jsonValue())
      .map(([{ written }, key, value]) => ({ ...written, [key]: value }));
    const item = fc.oneof(
      almost,
      fc.jsonValue(),
      fc.dictionary(fc.constantFrom('type', ...ACTIONS.keys()), fc.jsonValue()),
    );
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue({ maxDepth: 6 }), fc.record({ actions: fc.array(item) })), parse),
      { numRuns: 2000 },
    );
  });

  it('takes 200 actions and refuses 300', () => {
    const actions = (count: number) => ({ actions: Array.from({ length: count }, () => ({ hold: {} })) });
    expect(parseActions(actions(200))).to.have.length(200);
    expect(problems(actions(300)).details).to.deep.equal([
      { path: 'actions', message: 'must hold at most 200 actions' },
    ]);
  });

  const size = 250 * 1024;
  const deep = (open: string, close: string) => open.repeat(size / 2) + close.repeat(size / 2);
  const huge: [string, string][] = [
    [
      'many unknown fields beside actions',
      `{"actions":[],${Array.from({ length: 20_000 }, (_, i) => `"k${i}":0`).join()}}`,
    ],
    [
      'many unknown fields in an action',
      `{"actions":[{"say":{${Array.from({ length: 20_000 }, (_, i) => `"k${i}":0`).join()}}}]}`,
    ],
    ['many actions that are none', `{"actions":[${'0,'.repeat(size / 2)}0]}`],
    ['a field with an endless name', `{"actions":[{"hold":{"${'k'.repeat(size)}":1}}]}`],
    ['an action with an endless name', `{"actions":[{"${'k'.repeat(size)}":{}}]}`],
    ['a type nested without end', `{"actions":[{"type":${deep('[', ']')}}]}`],
    ['a text nested without end', `{"actions":[{"say":{"text":${deep('[', ']')}}}]}`],
    ['an endless text', `{"actions":[{"say":{"text":"${'a '.repeat(size / 2)}"}}]}`],
    ['an endless language', `{"actions":[{"say":{"text":"a","language":"en${'-aa'.repeat(size / 3)}!"}}]}`],
    ['endless digits', `{"actions":[{"send_digits":{"digits":"${'1'.repeat(size)}x"}}]}`],
    ['an endless SIP URI', `{"actions":[{"transfer":{"to":"sip:${'a.'.repeat(size / 2)}@x"}}]}`],
    ['an endless URL', `{"actions":[{"play":{"url":"https://${'a.'.repeat(size / 2)}"}}]}`],
    ['an endless room', `{"actions":[{"conference":{"room":"${'a'.repeat(size)} "}}]}`],
  ];
  for (const [what, payload] of huge)
    it(`refuses ${what}, within 256 KiB, and keeps little of it`, () => parse(JSON.parse(payload)));
});

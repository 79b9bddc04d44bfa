import { expect } from 'chai';
import { parseJsonBody } from '../../../control/http/json-body.ts';
import { ApiError } from '../../../control/lib/errors.ts';

/** What is said of a body, or undefined where it is taken. */
const wrong = (text: string | Buffer): string | undefined => {
  try {
    parseJsonBody(Buffer.from(text));
    return undefined;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return error.code === 'invalid_request' ? error.message : error.code;
  }
};

describe('a JSON body', () => {
  it('is taken as it is, with a byte order mark too', () => {
    const value = { a: [1, -2.5, 'text \\ " \u{1f600}', true, null, { b: {} }], 'c d': '', 1: [] };
    expect(parseJsonBody(Buffer.from(JSON.stringify(value)))).to.deep.equal(value);
    expect(parseJsonBody(Buffer.from(`\ufeff{"a":"\\ud83d\\ude00"}`))).to.deep.equal({ a: '\u{1f600}' });
  });

  it('keeps every number that a double holds, however it is written', () => {
    for (const number of [
      '0',
      '-0',
      '-0.0',
      '1.0',
      '1e2',
      '1E+2',
      '100000000000000000000',
      '9007199254740991',
      '9007199254740992',
      '0.1',
      '1.7976931348623157e308',
      '5e-324',
      '123456789.123456',
      '1.50000000000000000000000000',
      '0e99999',
      '12345678901234567000',
    ]) {
      expect(wrong(`{"n":${number}}`), number).to.equal(undefined);
    }
  });

  it('refuses, with its place, a number that would come back as another one', () => {
    for (const number of [
      '12345678901234567890',
      '9007199254740993',
      '-9007199254740993',
      '1e400',
      '-1e400',
      '1e-400',
      '0.1000000000000000055511151231257827',
      '3.14159265358979323846',
      `1e${'9'.repeat(400)}`,
    ]) {
      expect(wrong(`{"metadata":{"list":[1,{"x":2,"n":${number}}]}}`), number).to.equal(
        'metadata.list[1].n is a number that cannot be kept as it is written: send it as a string',
      );
    }
    expect(
      wrong('{"a":"12345678901234567890 1e400","b":["9007199254740993"]}'),
      'inside of strings',
    ).to.equal(undefined);
  });

  it('refuses half characters, in names too, and a name that is no name', () => {
    expect(wrong('{"metadata":{"a":"x\\ud83dy"}}')).to.equal(
      'metadata.a must be of whole Unicode characters',
    );
    expect(wrong('["\\ude00\\ud83d"]')).to.equal('[0] must be of whole Unicode characters');
    expect(wrong('{"a":{"\\ud83d":1}}')).to.match(/is a name that must be of whole Unicode characters$/);
    expect(wrong('{"metadata":{"__proto__":{"a":1}}}')).to.equal(
      'metadata.__proto__ is a name that cannot be used',
    );
    expect(wrong('{"metadata":{"\\u005f_proto__":1}}')).to.equal(
      'metadata.__proto__ is a name that cannot be used',
    );
  });

  it('is bounded in depth and in width, and says by what', () => {
    const nested = (levels: number, open: string, close: string): string =>
      open.repeat(levels) + '1' + close.repeat(levels);
    expect(wrong(nested(32, '[', ']'))).to.equal(undefined);
    for (const levels of [33, 60_000, 131_000]) {
      expect(wrong(nested(levels, '[', ']')), String(levels)).to.equal(
        'the body must not be nested deeper than 32 levels',
      );
    }
    expect(wrong(nested(40_000, '{"a":', '}'))).to.equal('the body must not be nested deeper than 32 levels');
    expect(wrong(`[${'1,'.repeat(49_998)}1]`)).to.equal(undefined);
    expect(wrong(`[${'1,'.repeat(130_000)}1]`)).to.equal('the body must not hold more than 50000 values');
  });

  it('must be UTF-8 and JSON', () => {
    expect(wrong(Buffer.from('{"a":"\u00e4"}', 'latin1'))).to.equal('invalid_json');
    expect(wrong(Buffer.from('{"a":1}', 'utf16le'))).to.equal('invalid_json');
    for (const text of ['{"a":', 'hello', '{"a":1}x', '\u0000', '{"a":01}', "{'a':1}", '[1,]'])
      expect(wrong(text), text).to.equal('invalid_json');
  });
});

import { expect } from 'chai';
import { z } from 'zod';
import { detailsOf, pathOf, plainWords, summaryOf } from '../../../control/lib/zod-path.ts';

const problems = (schema: z.ZodType, value: unknown) => {
  const result = schema.safeParse(value, { error: plainWords });
  return result.success ? [] : detailsOf(result.error.issues);
};

describe('paths of validation problems', () => {
  it('are written as people write them', () => {
    expect(pathOf(['actions', 2, 'gather', 'timeout_seconds'])).to.equal('actions[2].gather.timeout_seconds');
    expect(pathOf([0, 'name'])).to.equal('[0].name');
    expect(pathOf([])).to.equal('');
  });

  it('name every unknown field, wherever it is, and those that are known there', () => {
    const schema = z.strictObject({ limits: z.strictObject({ cps: z.int(), burst: z.int().optional() }) });
    expect(problems(schema, { limits: { cps: 1, a: 1, b: 2 }, c: 3 })).to.deep.equal([
      { path: 'limits.a', message: 'is not a known field; the known ones are cps, burst' },
      { path: 'limits.b', message: 'is not a known field; the known ones are cps, burst' },
      { path: 'c', message: 'is not a known field; the known ones are limits' },
    ]);
    expect(problems(z.strictObject({}), { a: 1 })).to.deep.equal([
      { path: 'a', message: 'is not a known field' },
    ]);
  });

  it('come with plain words', () => {
    const schema = z.object({
      name: z.string(),
      mode: z.enum(['a', 'b']),
      n: z.int(),
      on: z.boolean(),
      short: z.string().max(2),
      few: z.array(z.int()).min(1),
      big: z.number().min(5),
    });
    expect(problems(schema, { mode: 'c', n: 1.5, on: 'yes', short: 'long', few: [], big: 1 })).to.deep.equal([
      { path: 'name', message: 'is required' },
      { path: 'mode', message: 'must be one of a, b' },
      { path: 'n', message: 'must be a whole number' },
      { path: 'on', message: 'must be a boolean' },
      { path: 'short', message: 'must have at most 2 characters' },
      { path: 'few', message: 'must not be empty' },
      { path: 'big', message: 'must be at least 5' },
    ]);
  });

  it('leave the words of a schema alone', () => {
    expect(problems(z.object({ a: z.string().regex(/x/, 'must hold an x') }), { a: 'y' })).to.deep.equal([
      { path: 'a', message: 'must hold an x' },
    ]);
  });

  it('make a sentence of the first problem', () => {
    expect(summaryOf(problems(z.object({ name: z.string() }), {}))).to.equal('name is required');
    expect(summaryOf(problems(z.object({}), 'text'))).to.equal('must be an object');
    expect(summaryOf([])).to.equal(undefined);
  });
});

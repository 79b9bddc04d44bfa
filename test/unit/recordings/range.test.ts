import { expect } from 'chai';
import fc from 'fast-check';
import { parseRange } from '../../../control/http/download.ts';

describe('the range a client asks for', () => {
  const cases: [string | undefined, ReturnType<typeof parseRange>][] = [
    [undefined, undefined],
    ['bytes=0-0', { start: 0, end: 0 }],
    ['bytes=0-99', { start: 0, end: 99 }],
    ['bytes=10-', { start: 10, end: 99 }],
    ['bytes=90-1000', { start: 90, end: 99 }],
    ['bytes=-10', { start: 90, end: 99 }],
    ['bytes=-1000', { start: 0, end: 99 }],
    ['BYTES=5-6', { start: 5, end: 6 }],
    ['bytes=100-', 'unsatisfiable'],
    ['bytes=100-200', 'unsatisfiable'],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=6-5', undefined],
    ['bytes=-', undefined],
    ['bytes=a-b', undefined],
    ['bytes=0-1,5-6', undefined],
    ['items=0-5', undefined],
  ];
  for (const [header, range] of cases) {
    it(`${header ?? 'none'} of 100 bytes is ${typeof range === 'object' ? `${range.start} to ${range.end}` : (range ?? 'the whole')}`, () => {
      expect(parseRange(header, 100)).to.deep.equal(range);
    });
  }

  it('whatever is asked for, lies within the content', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1e9 }),
        fc.option(fc.nat(), { nil: '' }),
        fc.option(fc.nat(), { nil: '' }),
        (size, first, last) => {
          const range = parseRange(`bytes=${first}-${last}`, size);
          if (typeof range !== 'object') return;
          expect(range.start).to.be.within(0, range.end);
          expect(range.end).to.be.below(size);
        },
      ),
    );
  });
});

import { expect } from 'chai';
import { deferred } from '../../../control/lib/deferred.ts';
import { Turns } from '../../../control/lib/turns.ts';

describe('turns', () => {
  let turns: Turns;
  let log: string[];
  beforeEach(() => {
    turns = new Turns();
    log = [];
  });

  /** Work that notes when it begins, and ends when it is told to. */
  const work = (name: string) => {
    const end = deferred<string>();
    return {
      ...end,
      run: () => {
        log.push(name);
        return end.promise;
      },
    };
  };
  /** Everything that can go on without anything else happening has gone on. */
  const settled = (): Promise<void> => new Promise(setImmediate);

  it('work of one key is done one after the other, in the order in which it was asked for', async () => {
    const [first, second, third] = [work('first'), work('second'), work('third')];
    const all = [first, second, third].map(({ run }) => turns.take('a', run));
    await settled();
    expect(log).to.deep.equal(['first']);
    first.resolve('one');
    await settled();
    expect(log).to.deep.equal(['first', 'second']);
    second.resolve('two');
    third.resolve('three');
    expect(await Promise.all(all)).to.deep.equal(['one', 'two', 'three']);
    expect(log).to.deep.equal(['first', 'second', 'third']);
  });

  it('work of different keys does not wait for each other', async () => {
    const other = work('other');
    void turns.take('a', work('never ends').run);
    const turn = turns.take('b', other.run);
    other.resolve('done');
    expect(await turn).to.equal('done');
  });

  it('work that fails tells the one who asked for it, and keeps nobody from his turn', async () => {
    const [rejects, throws, well] = [
      work('rejects'),
      (): Promise<string> => {
        throw new Error('thrown');
      },
      work('well'),
    ];
    const outcomes = Promise.allSettled([
      turns.take('a', rejects.run),
      turns.take('a', throws),
      turns.take('a', well.run),
    ]);
    rejects.reject(new Error('rejected'));
    well.resolve('fine');
    expect(
      (await outcomes).map((outcome) =>
        outcome.status === 'fulfilled' ? outcome.value : String(outcome.reason),
      ),
    ).to.deep.equal(['Error: rejected', 'Error: thrown', 'fine']);
  });

  it('a key is known as long as something of it is being done or waits, and nothing is kept after that', async () => {
    const [first, second] = [work('first'), work('second')];
    const all = [turns.take('a', first.run), turns.take('a', second.run)];
    first.resolve('');
    await all[0];
    await settled();
    expect([turns.has('a'), turns.has('b'), turns.size]).to.deep.equal([true, false, 1]);
    second.resolve('');
    await all[1];
    await settled();
    expect([turns.has('a'), turns.size]).to.deep.equal([false, 0]);
  });
});

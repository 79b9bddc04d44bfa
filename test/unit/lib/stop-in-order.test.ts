import { expect } from 'chai';
import { pino } from 'pino';
import { stopInOrder } from '../../../control/lib/stop-in-order.ts';

describe('stopping in order', () => {
  const run = async (steps: Parameters<typeof stopInOrder>[0], ms: number) => {
    const lines: { part: string; err: { message: string } }[] = [];
    await stopInOrder(
      steps,
      ms,
      pino({}, { write: (line: string) => lines.push(JSON.parse(line) as (typeof lines)[number]) }),
    );
    return lines.map(({ part, err }) => `${part}: ${err.message}`);
  };

  it('stops one after the other', async () => {
    const stopped: string[] = [];
    const step = (name: string) => ({
      name,
      share: 0.5,
      stop: async () => {
        await new Promise((resolve) => setImmediate(resolve));
        stopped.push(name);
      },
    });
    expect(await run([step('first'), step('second')], 1000)).to.deep.equal([]);
    expect(stopped).to.deep.equal(['first', 'second']);
  });

  it('one that hangs or fails is named, and those after it are stopped all the same', async () => {
    const stopped: string[] = [];
    const lines = await run(
      [
        { name: 'hangs', share: 0.1, stop: () => new Promise(() => undefined) },
        {
          name: 'throws',
          share: 0.1,
          stop: () => {
            throw new Error('no');
          },
        },
        { name: 'fails', share: 0.1, stop: () => Promise.reject(new Error('never')) },
        { name: 'last', share: 0.1, stop: () => stopped.push('last') },
      ],
      300,
    );
    expect(lines).to.have.length(3);
    expect(lines[0]).to.match(/^hangs: it took more than/);
    expect(lines.slice(1)).to.deep.equal(['throws: no', 'fails: never']);
    expect(stopped).to.deep.equal(['last']);
  });

  it('gives each the time that those before it have left', async () => {
    const given: number[] = [];
    const step = (share: number) => ({ name: 'step', share, stop: (ms: number) => given.push(ms) });
    await run([step(0.5), step(0.25)], 10_000);
    expect(given[0]).to.be.within(4000, 5000);
    expect(given[1]).to.be.within(6000, 7500);
  });
});

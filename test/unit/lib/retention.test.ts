import { expect } from 'chai';
import { createLogger } from '../../../control/lib/logger.ts';
import { Retention } from '../../../control/lib/retention.ts';

describe('retention', () => {
  it('removes in steps until nothing is left, and what fails keeps nothing else', async () => {
    const steps: number[] = [];
    let left = 25;
    const sweep = await new Retention({
      logger: createLogger('silent'),
      atOnce: 10,
      kept: [
        { name: 'broken', purge: () => Promise.reject(new Error('away')) },
        {
          name: 'good',
          purge: (limit) => {
            const count = Math.min(limit, left);
            left -= count;
            steps.push(count);
            return Promise.resolve(count);
          },
        },
      ],
    }).sweep();
    expect([sweep, steps]).to.deep.equal([25, [10, 10, 5]]);
  });

  it('ends between two steps when it is stopped', async () => {
    let asked = 0;
    const retention = new Retention({
      logger: createLogger('silent'),
      atOnce: 1,
      kept: [
        {
          name: 'endless',
          purge: async () => {
            if (++asked === 3) await retention.stop();
            return 1;
          },
        },
      ],
    });
    expect(await retention.sweep()).to.equal(3);
  });
});

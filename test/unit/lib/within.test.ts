import { expect } from 'chai';
import { deferred } from '../../../control/lib/deferred.ts';
import { TookTooLong, within } from '../../../control/lib/within.ts';

describe('within', () => {
  it('is what the promise comes to', async () => {
    expect(await within(1000, Promise.resolve(7))).to.equal(7);
    expect(
      await within(1000, Promise.reject(new Error('no'))).catch((error: Error) => error.message),
    ).to.equal('no');
  });

  it("says so when it takes too long, and a later failure is nobody's", async () => {
    const late = deferred<void>();
    const error: unknown = await within(1, late.promise, 'nobody answered').catch(
      (reason: unknown) => reason,
    );
    expect(error).to.be.instanceOf(TookTooLong).and.to.have.property('message', 'nobody answered');
    late.reject(new Error('too late'));
    await new Promise((resolve) => setImmediate(resolve));
  });
});

import { expect } from 'chai';
import { nothingLeft } from './leftovers.ts';
import { Payer, refusalOf } from './payer.ts';
import { healthy, pidOf, ready, until } from './platform.ts';

describe('placing calls while the media node is frozen', function () {
  this.timeout(80_000);
  let own: Payer;

  beforeEach(async () => {
    own = await Payer.open({ manner: 'ring' });
  });
  after(() => nothingLeft());
  afterEach(async () => {
    await ready();
    await own.close();
  });

  it('is 502, and none of them is dialled when it goes on', async () => {
    const media = await pidOf('media');
    process.kill(media, 'SIGSTOP');
    try {
      const replies = await Promise.all(Array.from({ length: 5 }, () => own.post()));
      for (const reply of replies) expect(refusalOf(reply)).to.deep.equal([502, 'originate_failed']);
      await until(
        async () => (await own.calls()).every(({ status }) => status === 'failed'),
        'the calls to be failed',
      );
    } finally {
      process.kill(media, 'SIGCONT');
    }
    await healthy('media');
    // The node does what it is asked in order: this one comes last.
    const last = await until(
      async () => {
        const reply = await own.post();
        return reply.status === 201 && reply.body;
      },
      'a call to be placed',
      30_000,
    );
    const { invite } = await own.carrier.incoming();
    expect(invite?.uri).to.contain(String(last.to));
    expect(own.carrier.received).to.have.length(1);
    await own.hangUp(String(last.id));
  });
});

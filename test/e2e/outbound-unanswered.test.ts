import { expect } from 'chai';
import type { Manner } from '../support/phone.ts';
import { nothingLeft } from './leftovers.ts';
import { Payer, type CallRecord } from './payer.ts';
import { until } from './platform.ts';

/** What the far end says, and what becomes of the call. The trunk is named, so that there is no other. */
const REFUSALS: { code: number; failure: string }[] = [
  { code: 486, failure: 'busy' },
  { code: 600, failure: 'busy' },
  { code: 480, failure: 'no_answer' },
  { code: 408, failure: 'no_answer' },
  { code: 603, failure: 'rejected' },
  { code: 403, failure: 'rejected' },
  { code: 404, failure: 'invalid_number' },
  { code: 484, failure: 'invalid_number' },
  { code: 503, failure: 'congestion' },
  { code: 500, failure: 'unreachable' },
  { code: 488, failure: 'unreachable' },
  { code: 302, failure: 'unreachable' },
  { code: 401, failure: 'rejected' },
  { code: 407, failure: 'rejected' },
];

describe('an outbound call that is not answered', function () {
  this.timeout(30_000);
  let own: Payer;

  beforeEach(async () => {
    own = await Payer.open();
  });
  after(() => nothingLeft());
  afterEach(async () => {
    await own.close();
  });

  /** It has ended, costs nothing, and everybody has been told the same. */
  async function unanswered(id: string, status: 'failed' | 'canceled'): Promise<CallRecord> {
    const record = await own.settled(id);
    expect(record)
      .to.include({ status, cost_amount: '0.00', billsec_seconds: 0 })
      .and.not.to.have.property('answered_at');
    expect((await own.balance()).available).to.equal(10_000_000n);
    const hook = await own.server.webhook(id, `call.${status}`);
    expect(hook.data).to.deep.include({ hangup: record.hangup, billsec_seconds: 0 });
    if (record.failure) expect(hook.data).to.include({ code: record.failure.code });
    expect(own.server.of(id).map(({ event }) => event)).to.not.include('call.answered');
    expect(own.server.requests, 'nobody asks for a flow').to.be.empty;
    return record;
  }

  for (const { code, failure } of REFUSALS) {
    it(`${code} of the only carrier: failed, ${failure}`, async () => {
      own.carrier.listen({ refuse: code });
      const { id } = await own.place({ trunk_id: own.trunkId });
      const record = await unanswered(id, 'failed');
      expect(record.failure)
        .to.include({ code: failure })
        .and.to.have.property('message')
        .that.includes(String(code));
      expect(record.hangup).to.include({ by: 'callee', sip_code: code });
      expect((await own.server.webhook(id, 'call.failed')).data).to.include({ sip_code: code });
      expect(own.carrier.received).to.have.length(1);
    });
  }

  it('refused while it rings: it has rung, and failed', async () => {
    const { id } = await own.place();
    const far = await own.carrier.incoming();
    far.ring();
    await own.when(id, 'ringing');
    far.refuse(486);
    expect((await unanswered(id, 'failed')).failure).to.include({ code: 'busy' });
    expect(own.server.of(id).map(({ event }) => event)).to.deep.equal([
      'call.created',
      'call.ringing',
      'call.failed',
    ]);
  });

  it('nobody answers within ring_timeout_seconds: no_answer, by the platform, and the ringing stops; who answers too late is hung up on', async () => {
    own.carrier.listen('ring');
    const placed = [
      await own.place({ ring_timeout_seconds: 5 }),
      await own.place({ ring_timeout_seconds: 5 }),
    ];
    const [patient, late] = [await own.carrier.incoming(), await own.carrier.incoming()];
    late.ignoresCancel = true;
    expect(await patient.ended()).to.include({ how: 'cancel' });
    await until(
      () => late.messages.some(({ received, text }) => received && text.startsWith('CANCEL')),
      'the cancel',
    );
    late.answer();
    expect(await late.ended()).to.include({ by: 'remote', how: 'bye' });
    for (const { id } of placed) {
      const record = await unanswered(id, 'failed');
      expect(record.failure).to.include({ code: 'no_answer' });
      expect(record.hangup).to.include({ by: 'platform', cause: 'NO_ANSWER' });
    }
  });

  it('a carrier that never says a word is a failure, and may say it too late', async () => {
    own.carrier.listen('deaf');
    const { id } = await own.place({ trunk_id: own.trunkId });
    expect((await unanswered(id, 'failed')).failure).to.include({ code: 'no_answer' });
  });

  describe('with two carriers', () => {
    const both = async (first: Manner, second: Manner) => {
      own.carrier.listen(first);
      return own.another('127.0.0.4', second, { priority: 20 });
    };

    for (const [what, first] of [
      ['a 503', { refuse: 503 }],
      ['silence', 'deaf'],
    ] as [string, Manner][]) {
      it(`${what} of the first lets the second answer, and the call is the second's`, async () => {
        const second = await both(first, 'manual');
        const { id, trunk_id } = await own.place({ actions: [{ pause: { seconds: 60 } }] });
        expect(trunk_id).to.equal(own.trunkId);
        const far = await second.phone.incoming();
        far.answer();
        expect(await own.when(id, 'in_progress')).to.include({ trunk_id: second.trunkId });
        await far.hangup();
        expect(await own.settled(id)).to.include({
          status: 'completed',
          trunk_id: second.trunkId,
          cost_amount: '0.01',
        });
        await own.server.webhook(id, 'call.completed');
        expect(own.server.of(id).filter(({ event }) => event === 'call.answered')).to.have.length(1);
      });
    }

    it('the refusal of the last that was tried counts', async () => {
      const second = await both({ refuse: 500 }, { refuse: 486 });
      const { id } = await own.place();
      const record = await unanswered(id, 'failed');
      expect(record).to.include({ trunk_id: second.trunkId });
      expect(record.failure).to.include({ code: 'busy' });
    });

    it('busy is busy: the second is not tried, and neither is it when the first is asked for by its id', async () => {
      const second = await both({ refuse: 486 }, 'answer');
      expect((await unanswered((await own.place()).id, 'failed')).failure).to.include({ code: 'busy' });
      own.carrier.listen({ refuse: 503 });
      expect(
        (await unanswered((await own.place({ trunk_id: own.trunkId })).id, 'failed')).failure,
      ).to.include({ code: 'congestion' });
      expect(second.phone.received).to.be.empty;
    });
  });

  describe('because the API hangs up', () => {
    /** Canceled, by the API. */
    async function canceled(id: string): Promise<void> {
      const record = await unanswered(id, 'canceled');
      expect(record.hangup).to.include({ by: 'api' });
      expect((await own.hangUp(id)).body).to.have.nested.property('error.code', 'call_not_active');
    }

    it('at once, before anybody has been heard of', async () => {
      own.carrier.listen('deaf');
      const { id } = await own.place();
      expect((await own.hangUp(id)).status).to.equal(202);
      await canceled(id);
    });

    it('while the carrier is silent', async () => {
      own.carrier.listen('deaf');
      const { id } = await own.place();
      await own.carrier.incoming();
      expect((await own.hangUp(id)).status).to.equal(202);
      await canceled(id);
    });

    it('while the carrier tries', async () => {
      const { id } = await own.place();
      const far = await own.carrier.incoming();
      await own.hangUp(id);
      expect(await far.ended()).to.include({ how: 'cancel' });
      await canceled(id);
    });

    it('while it rings', async () => {
      own.carrier.listen('ring');
      const { id } = await own.place();
      await own.when(id, 'ringing');
      await own.hangUp(id);
      expect(await (await own.carrier.incoming()).ended()).to.include({ how: 'cancel' });
      await canceled(id);
    });

    it('while it rings, and the answer comes all the same: the far end is hung up on, and nothing is charged', async () => {
      own.carrier.listen('ring');
      const { id } = await own.place();
      const far = await own.carrier.incoming();
      far.ignoresCancel = true;
      await own.when(id, 'ringing');
      await own.hangUp(id);
      await until(
        () => far.messages.some(({ received, text }) => received && text.startsWith('CANCEL')),
        'the cancel',
      );
      far.answer();
      expect(await far.ended()).to.include({ by: 'remote', how: 'bye' });
      await canceled(id);
    });

    it('in the moment of the answer: canceled or completed, and whichever it is, told once and paid for as told', async () => {
      for (let n = 0; n < 5; n++) {
        own.carrier.listen('ring');
        const { id } = await own.place({ actions: [{ pause: { seconds: 60 } }] });
        const far = await own.carrier.incoming();
        await own.when(id, 'ringing');
        const asked = own.hangUp(id);
        far.answer();
        expect((await asked).status).to.equal(202);
        await until(() => far.isOver, 'the far end to be let go');
        const record = await own.settled(id);
        expect(record.hangup).to.include({ by: 'api' });
        expect([
          ['canceled', '0.00'],
          ['completed', '0.01'],
        ]).to.deep.include([record.status, record.cost_amount]);
        await own.server.webhook(id, `call.${record.status}`);
        expect(
          own.server.of(id).filter(({ event }) => /completed|canceled|failed/.test(event)),
        ).to.have.length(1);
      }
    });
  });
});

import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import type { Call } from '../support/call.ts';
import { coordinates, nothingLeft } from './leftovers.ts';
import { charge, micros, Payer, refusalOf } from './payer.ts';
import { crash, freshNumber, healthy, instance, pidOf, ready, until, type Json } from './platform.ts';

describe('placing calls while a part is away', function () {
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

  /**
   * A call is placed and reaches its carrier, as soon as everybody has noticed that all is well again. Redis
   * without its memory waits up to 30 s for each control process there was.
   */
  async function works(): Promise<void> {
    own.carrier.forget();
    const reply = await until(
      async () => {
        const tried = await own.post();
        return tried.status === 201 && tried;
      },
      'calls to be placed again',
      45_000,
    );
    await own.carrier.incoming();
    await own.hangUp(String(reply.body.id));
  }

  /** Refused, with the time to wait, and no call has come of it. */
  async function unavailable(times = 3): Promise<void> {
    for (let n = 0; n < times; n++) {
      const reply = await own.post();
      expect(refusalOf(reply)).to.deep.equal([503, 'service_unavailable']);
      expect(Number(reply.headers.get('retry-after'))).to.be.at.least(1);
    }
    expect(own.carrier.received).to.be.empty;
  }

  it('the media node: originate_failed, the call is there and failed, nothing is held; with the same Idempotency-Key the answer stays', async () => {
    const headers = { 'idempotency-key': randomUUID() };
    const to = freshNumber();
    await instance.stop('media');
    try {
      expect(refusalOf(await own.post({ to }, { headers }))).to.deep.equal([502, 'originate_failed']);
      const [{ id } = { id: '' }] = await own.calls();
      const call = await own.settled(id);
      expect(call).to.include({ to, status: 'failed', cost_amount: '0.00' });
      expect(call.failure).to.include({ code: 'media_unavailable' });
      expect(call.hangup).to.include({ by: 'platform' });
      await own.server.webhook(id, 'call.failed');
      expect(own.server.of(id).map(({ event }) => event)).to.deep.equal(['call.created', 'call.failed']);
    } finally {
      await instance.start('media');
    }
    await ready();
    const again = await own.post({ to }, { headers });
    expect([...refusalOf(again), again.headers.get('idempotency-replayed')]).to.deep.equal([
      502,
      'originate_failed',
      'true',
    ]);
    expect(await own.calls()).to.have.length(1);
    await works();
  });

  it('the media node dies under calls: they fail, what was answered is paid for, and carriers are let go, those of second legs too', async () => {
    own.carrier.listen('manual');
    const placed = async (actions: Json[]): Promise<{ id: string; far: Call }> => ({
      id: (await own.place({ actions })).id,
      far: await own.carrier.incoming(),
    });
    const [ringing, talking] = [
      await placed([]),
      await placed([{ bridge: { destination: own.carrier.uri } }]),
    ];
    ringing.far.ring();
    talking.far.answer();
    const callee = await own.carrier.incoming();
    callee.answer();
    await callee.answered();
    await own.when(ringing.id, 'ringing');
    await crash('media');
    for (const { id } of [ringing, talking]) {
      const record = await own.settled(id);
      expect(record).to.include({ status: 'failed' });
      expect(record.failure).to.include({ code: 'media_unavailable' });
      expect(micros(record.cost_amount)).to.equal(
        id === ringing.id ? 0n : charge({ price_per_minute: '0.60' }, record.billsec_seconds),
      );
    }
    expect(await ringing.far.ended()).to.include({ by: 'remote', how: 'cancel' });
    for (const far of [talking.far, callee])
      expect(await far.ended()).to.include({ by: 'remote', how: 'bye' });
  });

  for (const part of ['database', 'redis']) {
    it(`${part} hangs: service_unavailable within seconds, and calls when it has come to itself`, async () => {
      const pid = await pidOf(part);
      process.kill(pid, 'SIGSTOP');
      try {
        await unavailable(1);
      } finally {
        process.kill(pid, 'SIGCONT');
      }
      await works();
      await until(
        async () => (await own.calls()).every(({ ended_at }) => ended_at !== undefined),
        'all calls to have ended',
      );
    });
  }

  it('the database: service_unavailable at once, and no free call', async () => {
    await own.post({ to: '+9995551234' }); // The key is known.
    await instance.stop('database');
    try {
      await unavailable();
    } finally {
      await instance.start('database');
    }
    await ready();
    expect(await own.calls()).to.be.empty;
    await works();
  });

  it('the database dies among many creations: each is a call or a refusal, and the carrier sees no call that nobody knows', async () => {
    const database = await pidOf('database');
    const asked = Array.from({ length: 30 }, async (_, n) => {
      if (n === 10) process.kill(database, 'SIGKILL');
      return own.post();
    });
    const replies = await Promise.all(asked);
    await healthy('database', database);
    await ready();
    for (const reply of replies)
      if (reply.status !== 201) expect(refusalOf(reply)).to.deep.equal([503, 'service_unavailable']);
    const known = await own.calls();
    expect(known.map(({ id }) => id)).to.include.members(
      replies.filter(({ status }) => status === 201).map(({ body }) => String(body.id)),
    );
    const dialled = own.carrier.received.map(({ invite }) => /sip:(\+\d+)@/.exec(invite?.uri ?? '')?.[1]);
    expect(known.map(({ to }) => to)).to.include.members(dialled);
    await works();
  });

  it('redis: service_unavailable at once, and no call beyond the limits', async () => {
    await instance.stop('redis');
    try {
      await unavailable();
    } finally {
      await instance.start('redis');
    }
    expect(await own.calls()).to.be.empty;
    await works();
  });

  it('redis forgets everything during a call: its place is not given away', async () => {
    await own.close();
    own = await Payer.open({ manner: 'ring', customer: { limits: { cps: 100, concurrent_calls: 1 } } });
    const { id } = await own.place();
    await own.when(id, 'ringing');
    const redis = new Redis(coordinates().redis_url);
    try {
      await redis.flushall();
    } finally {
      redis.disconnect();
    }
    await until(
      async () => {
        const reply = await own.post();
        expect([429, 503], JSON.stringify(reply.body)).to.include(reply.status);
        expect(Number(reply.headers.get('retry-after'))).to.be.at.least(1);
        return reply.status === 429;
      },
      'the call to be counted again',
      20_000,
    );
    expect(await own.show(id)).to.include({ status: 'ringing' });
    await own.hangUp(id);
    await works();
  });
});

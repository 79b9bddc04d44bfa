import { expect } from 'chai';
import { Phone } from '../support/phone.ts';
import { spoken } from '../../cli/phone/voice.ts';
import { nothingLeft } from './leftovers.ts';
import { charge, micros, Payer } from './payer.ts';
import { carrierAt, done, endedCallTo, sip, timeline, until, type Json } from './platform.ts';

const INBOUND = '127.0.0.2';
const FALLBACK = 'We could not reach them.';
const ABROAD = '+4930123456';
/** Whole minutes: what a leg costs does not depend on how long the test takes. */
const MINUTES = { minimum_seconds: 60, increment_seconds: 60 };

describe('the money of the other legs', function () {
  this.timeout(30_000);
  let own: Payer | undefined;
  let phone: Phone;

  before(() => carrierAt(INBOUND));
  beforeEach(async () => {
    phone = await Phone.open({ address: INBOUND });
  });
  after(() => nothingLeft());
  afterEach(async () => {
    await phone.close();
    await own?.close();
    own = undefined;
  });

  /** A customer whose calls cost 0.60, and abroad 1.20. */
  async function open(options: Parameters<typeof Payer.open>[0] = {}): Promise<Payer> {
    own = await Payer.open({ price: { price_per_minute: '0.60', ...MINUTES }, ...options });
    await own.rate({ prefix: '+49', price_per_minute: '1.20', ...MINUTES });
    return own;
  }

  /** An answered outbound call that does this. */
  async function doing(payer: Payer, ...actions: Json[]) {
    const { id } = await payer.place({ actions });
    const far = await payer.carrier.incoming();
    far.answer();
    await far.answered();
    return { id, far };
  }

  const lineOf = async (payer: Payer, id: string, kind: string): Promise<Json | undefined> =>
    (await timeline(id, payer.key)).find((line) => line.kind === kind);

  for (const action of ['transfer', 'bridge']) {
    it(`${action} to a number is charged beside the call itself`, async () => {
      const payer = await open();
      const { id, far } = await doing(payer, { [action]: { destination: ABROAD } });
      const callee = await payer.carrier.incoming();
      expect(callee.invite?.uri).to.contain(ABROAD);
      expect(await payer.balance(), 'both are held for').to.include({ held: 1_800_000n });
      callee.answer();
      await until(async () => lineOf(payer, id, 'leg.answered'), 'the leg to be answered');
      await callee.hangup();
      await far.ended();
      expect(
        await until(async () => {
          const record = await payer.settled(id);
          return record.cost_amount === '1.80' && record;
        }, 'both legs to be settled'),
      ).to.include({ status: 'completed', cost_currency: 'EUR' });
      expect(await payer.books()).to.deep.equal({
        available: 8_200_000n,
        revenue: 1_800_000n,
        legs: { [`${id}/0`]: 600_000n, [`${id}/1`]: 1_200_000n },
      });
      expect((await done('GET', '/v1/usage', undefined, payer.key)).summary).to.include({
        calls: 1,
        cost_amount: '1.80',
      });
      const told = {
        destination: ABROAD,
        trunk_id: (await lineOf(payer, id, 'leg.ended'))?.['trunk_id'] as string,
      };
      expect(told.trunk_id).to.match(/^trunk_/);
      expect((await payer.server.webhook(id, 'leg.answered')).data).to.include(told);
      const { data } = await payer.server.webhook(id, 'leg.ended');
      expect(data).to.include({
        ...told,
        reached: true,
        cause: 'NORMAL_CLEARING',
        ended_by: 'callee',
        cost_amount: '1.20',
        cost_currency: 'EUR',
      });
      expect(data.billsec_seconds).to.be.greaterThan(0);
    });

    it(`${action} to a number that is busy costs nothing beside the call itself`, async () => {
      const payer = await open();
      const { id, far } = await doing(payer, { [action]: { destination: ABROAD } }, { hangup: {} });
      (await payer.carrier.incoming()).refuse(486);
      await far.ended();
      await payer.settled(id);
      expect((await payer.books()).legs).to.deep.equal({ [`${id}/0`]: 600_000n, [`${id}/1`]: 0n });
    });
  }

  it('a bridge after a bridge is a leg of its own', async () => {
    const payer = await open();
    const { id, far } = await doing(
      payer,
      { bridge: { destination: ABROAD } },
      { bridge: { destination: ABROAD } },
    );
    (await payer.carrier.incoming()).refuse(486);
    const callee = await payer.carrier.incoming();
    callee.answer();
    await until(async () => lineOf(payer, id, 'leg.answered'), 'the leg to be answered');
    await far.hangup();
    await payer.settled(id);
    expect((await payer.books()).legs).to.deep.equal({
      [`${id}/0`]: 600_000n,
      [`${id}/1`]: 0n,
      [`${id}/2`]: 1_200_000n,
    });
  });

  it('a SIP URI costs nothing', async () => {
    const payer = await open({ credit: '0.60' });
    const { id, far } = await doing(payer, { transfer: { destination: payer.carrier.uri } });
    const callee = await payer.carrier.incoming();
    callee.answer();
    await until(async () => lineOf(payer, id, 'leg.answered'), 'the leg to be answered');
    await callee.hangup();
    await far.ended();
    expect(await payer.settled(id)).to.include({ status: 'completed' });
    expect((await payer.books()).legs).to.deep.equal({ [`${id}/0`]: 600_000n });
  });

  /** Why the second leg is not dialled, and what the call ends with when it was to be transferred. */
  const REFUSED: {
    code: string;
    options: Parameters<typeof Payer.open>[0];
    destination: string;
    failure: string;
  }[] = [
    {
      code: 'insufficient_balance',
      options: { credit: '1.79' },
      destination: ABROAD,
      failure: 'insufficient_balance',
    },
    {
      code: 'spend_control_exceeded',
      options: { customer: { spend: { blocked_prefixes: ['+49'] } } },
      destination: ABROAD,
      failure: 'limit_reached',
    },
    {
      code: 'concurrent_call_limit_reached',
      options: { customer: { limits: { cps: 100, concurrent_calls: 1 } } },
      destination: ABROAD,
      failure: 'limit_reached',
    },
    { code: 'rate_not_found', options: {}, destination: '+9995551234', failure: 'transfer_unreachable' },
  ];
  for (const { code, options, destination, failure } of REFUSED) {
    it(`${code}: a transfer fails, a bridge goes on with its fallback, and nobody is dialled`, async () => {
      const payer = await open(options);
      const transfer = await doing(payer, { transfer: { destination } });
      expect(await transfer.far.ended()).to.include({ by: 'remote', how: 'bye' });
      const record = await payer.settled(transfer.id);
      expect(record).to.include({ status: 'failed' });
      expect(record.failure).to.include({ code: failure });
      expect(await lineOf(payer, transfer.id, 'leg.refused')).to.include({ code });
      if (code === 'insufficient_balance') await payer.credit('0.60'); // As it was.
      const bridge = await doing(payer, { bridge: { destination } }, { say: { text: FALLBACK } });
      await bridge.far.heard.waitUntilHears(await spoken(FALLBACK));
      await bridge.far.ended();
      expect(await payer.settled(bridge.id)).to.include({ status: 'completed' });
      expect(await lineOf(payer, bridge.id, 'leg.refused')).to.include({ code });
      expect((await payer.books()).legs).to.deep.equal({
        [`${transfer.id}/0`]: 600_000n,
        [`${bridge.id}/0`]: 600_000n,
      });
      expect(payer.carrier.received).to.have.length(2);
    });
  }

  describe('of a call that comes in', () => {
    const rate = { direction: 'inbound', price_per_minute: '0.66', connection_fee: '0.02' };
    const dial = (payer: Payer) => phone.call({ to: payer.number, from: '+15551230001', via: sip });

    async function toSip(payer: Payer): Promise<void> {
      payer.carrier.listen('answer');
      await done('PATCH', `/admin/v1/dids/${payer.didId}`, {
        route_mode: 'sip',
        route_target: { sip_uri: payer.carrier.uri },
      });
    }

    for (const [mode, prepare] of [
      ['webhook', () => Promise.resolve()],
      ['sip', toSip],
    ] as const) {
      it(`${mode}: it is charged as its rate says`, async () => {
        const payer = await open();
        await payer.rate({ ...rate, prefix: payer.number });
        payer.server.answers.set('/answer', [{ pause: { seconds: 60 } }]);
        await prepare(payer);
        const call = await dial(payer);
        await call.answered();
        const { id } = await endedOrGoing(payer);
        expect((await payer.balance()).held).to.equal(680_000n);
        await payer.when(id, 'in_progress');
        await call.hangup();
        const record = await payer.settled(id);
        expect(record).to.include({ status: 'completed', direction: 'inbound' });
        expect(micros(record.cost_amount)).to.equal(charge(rate, record.billsec_seconds));
        expect((await payer.books()).legs).to.deep.equal({ [`${id}/0`]: micros(record.cost_amount) });
      });

      it(`${mode}: without a balance the caller gets 480 and nobody is asked; without a price it needs none`, async () => {
        const payer = await open({ credit: '0' });
        await prepare(payer);
        payer.server.answers.set('/answer', [{ say: { text: FALLBACK } }]);
        const free = await dial(payer);
        await free.answered();
        await free.hangup();
        const { id } = await endedCallTo(payer);
        payer.carrier.forget();
        await payer.rate({ ...rate, prefix: payer.number });
        expect((await (await dial(payer)).final()).code).to.equal(480);
        const record = await until(
          async () => (await payer.calls()).find((call) => call.id !== id && call.ended_at !== undefined),
          'the end of the refused call',
        );
        expect(record).to.include({ status: 'failed' }).and.not.to.have.property('answered_at');
        expect(record.failure).to.include({ code: 'insufficient_balance' });
        expect(record.hangup).to.include({ by: 'platform', sip_code: 480 });
        expect((await payer.server.webhook(record.id, 'call.failed')).data).to.include({
          code: 'insufficient_balance',
          sip_code: 480,
        });
        expect(payer.carrier.received).to.be.empty;
        expect((await payer.books()).legs).to.be.empty;
      });
    }

    it('its second leg is charged too', async () => {
      const payer = await open();
      await payer.rate({ ...rate, prefix: payer.number, ...MINUTES });
      payer.server.answers.set('/answer', [{ transfer: { destination: ABROAD } }]);
      payer.carrier.listen('answer');
      const call = await dial(payer);
      await call.answered();
      const { id } = await endedOrGoing(payer);
      await until(async () => lineOf(payer, id, 'leg.answered'), 'the leg to be answered');
      await call.hangup();
      await payer.settled(id);
      expect((await payer.books()).legs).to.deep.equal({ [`${id}/0`]: 680_000n, [`${id}/1`]: 1_200_000n });
    });
  });
});

/** Its one call, whatever has become of it. */
const endedOrGoing = (payer: Payer): Promise<{ id: string }> =>
  until(async () => (await payer.calls())[0], 'the call');

import { expect } from 'chai';
import { guarded, SipCarrier } from '../integration/kamailio/sip-carrier.ts';
import { Payer } from './payer.ts';
import { done, endedCallTo, timeline, until, type Json } from './platform.ts';
import { closing, stage } from './stage.ts';

describe('the trunks a call was tried on', () => {
  let digest: SipCarrier;
  let busy: SipCarrier;

  beforeEach(async () => {
    digest = closing(await SipCarrier.open('127.0.0.3'));
    busy = closing(await SipCarrier.open('127.0.0.4'));
    digest.script(guarded(407, 'mini', 'the right one'));
    busy.script(() => ['486 Busy Here']);
  });

  const trunks = async (key: string): Promise<string[]> =>
    Promise.all(
      [
        [digest, 1, 'digest1'],
        [busy, 2, 'busy2'],
      ].map(async ([carrier, priority, name]) => {
        const { wire } = carrier as SipCarrier;
        const made = await done(
          'POST',
          '/v1/trunks',
          {
            name,
            gateway_name: `${String(name)}-${process.pid}-${wire.port}`,
            proxy: wire.address,
            port: wire.port,
            probe: false,
            priority,
            username: 'mini',
            password: 'a wrong one',
          },
          key,
        );
        return String(made.id);
      }),
    );

  const stories = async (id: string, key: string, last: string): Promise<Json[]> => {
    const lines = await until(async () => {
      const all = await timeline(id, key);
      return all.some(({ kind }) => kind === last) && all;
    }, last);
    return lines.filter(({ kind }) => kind === 'trunk.tried' || kind === last);
  };

  it('are in the timeline of a call that was placed, each with its answer, before the call failed', async () => {
    const own = await Payer.open({ trunk: { is_active: false } });
    try {
      const [first, second] = await trunks(own.key);
      for (let round = 0; round < 5; round++) {
        const { id } = await own.place();
        const told = await stories(id, own.key, 'call.failed');
        expect(told.map(({ kind }) => kind)).to.deep.equal(['trunk.tried', 'trunk.tried', 'call.failed']);
        expect(told[0]).to.include({
          trunk_id: first,
          class: 'credentials',
          sip_code: 403,
          phrase: 'Wrong Password',
        });
        expect(told[0]?.message).to.match(/^digest1-.* refused our credentials$/);
        expect(told[1]).to.include({ trunk_id: second, class: '4xx', sip_code: 486, phrase: 'Busy Here' });
      }
    } finally {
      await own.close();
    }
  });

  it('are in the timeline of a call whose second leg was tried on them, before the end of the leg', async () => {
    const { own, dial } = await stage();
    const [first, second] = await trunks(own.key);
    for (let round = 0; round < 5; round++) {
      const call = await dial([{ transfer: { destination: '+493012345601' } }]);
      await call.ended();
      const record = await endedCallTo(own);
      const told = await stories(record.id, own.key, 'leg.ended');
      expect(told.map(({ kind }) => kind)).to.deep.equal(['trunk.tried', 'trunk.tried', 'leg.ended']);
      expect(told.slice(0, 2).map(({ trunk_id: id }) => id)).to.deep.equal([first, second]);
    }
  });
});

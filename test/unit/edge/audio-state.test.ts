import { expect } from 'chai';
import { AudioState } from '../../../control/edge/audio-state.ts';

describe('whether there can be audio', () => {
  const engines = (...active: boolean[]) => ({
    call: () => Promise.resolve(active.map((one) => ({ url: 'udp:127.0.0.1:2223', active: one }))),
  });
  const away = { call: () => Promise.reject(new Error('connect ECONNREFUSED')) };
  const available = async (...rpcs: ConstructorParameters<typeof AudioState>[0]): Promise<boolean> => {
    const state = new AudioState(rpcs);
    await state.look();
    return state.available;
  };

  it('there can while any Kamailio has any rtpengine', async () => {
    expect(await available(engines(false, true))).to.equal(true);
    expect(await available(engines(false), engines(true))).to.equal(true);
  });

  it('there can not when all that can be asked have none', async () => {
    expect(await available(engines(false, false), engines(false))).to.equal(false);
    expect(await available(engines(false), away)).to.equal(false);
  });

  it('is not said by a Kamailio that is away: that is another matter', async () => {
    expect(await available(away)).to.equal(true);
  });
});

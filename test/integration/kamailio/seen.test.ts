import { expect } from 'chai';
import { ADDRESS, Edge, NUMBER } from './edge.ts';
import { codeOf, RawSip, requestText } from './raw-sip.ts';

describe('What the SIP edge refuses', () => {
  let edge: Edge;
  let stranger: RawSip;
  let trunk: RawSip;

  before(async () => {
    edge = await Edge.start({ environment: { FLOOD_REQUESTS: '20' } });
    stranger = await RawSip.open(ADDRESS.stranger);
    trunk = await RawSip.open(ADDRESS.operator);
  });
  after(async () => {
    stranger?.close();
    trunk?.close();
    await edge?.stop();
  });

  const counted = async (name: string): Promise<number> => {
    const metrics = await (await fetch(edge.rpcUrl.replace('RPC', 'metrics'))).text();
    return Number(new RegExp(`^kamailio_script_${name} (\\d+)`, 'm').exec(metrics)?.[1] ?? NaN);
  };
  const lines = (text: string): number => edge.log.split(text).length - 1;

  it('is counted by its reason, and logged: a stranger, and a number that the trunk may not deliver', async () => {
    expect(codeOf(await stranger.ask(requestText(stranger, { user: NUMBER.webhook }), edge.sip))).to.equal(
      403,
    );
    for (const user of [NUMBER.unknown, NUMBER.unknown, NUMBER.reject, NUMBER.suspended])
      await trunk.ask(requestText(trunk, { user }), edge.sip);
    await trunk.ask(
      requestText(trunk, { user: NUMBER.webhook }).replace('CSeq: 1 ', 'CSeq: 4294967296 '),
      edge.sip,
    );
    expect(await counted('refused_stranger')).to.equal(1);
    expect(await counted('refused_unknown_number')).to.equal(2);
    expect(await counted('refused_reject_number')).to.equal(1);
    expect(await counted('refused_suspended')).to.equal(1);
    expect(await counted('refused_malformed')).to.equal(1);
    expect(edge.log).to.include(
      `refused: INVITE of ${ADDRESS.stranger}:${stranger.port}, which is no active trunk's inbound_ip`,
    );
    expect(lines(`refused: a call from ${ADDRESS.operator} to ${NUMBER.unknown}`)).to.equal(1);
  });

  it('is counted and logged once, however many there are: a flood, and the ban it leads to, which can be seen and lifted', async () => {
    for (let i = 0; i < 400; i++) stranger.send(requestText(stranger, { user: NUMBER.webhook }), edge.sip);
    await edge.until(async () => (await counted('refused_banned')) > 100 || undefined, 'silence');
    expect(await counted('bans_flood')).to.be.within(1, 20);
    expect(lines(`s: ${ADDRESS.stranger} is no trunk`)).to.equal(1);
    expect(lines(`INVITE of ${ADDRESS.stranger}`)).to.equal(1);
    expect(JSON.stringify(await edge.rpc('htable.dump', ['bans']))).to.include(ADDRESS.stranger);
    await edge.until(async () => {
      await edge.rpc('htable.delete', ['bans', ADDRESS.stranger]).catch(() => undefined);
      return (
        codeOf(
          await stranger.ask(requestText(stranger, { method: 'OPTIONS' }), edge.sip, 300).catch(() => ''),
        ) === 403 || undefined
      );
    }, 'an answer again');
  });

  it('says that it is the token, when the control plane refuses it', async () => {
    edge.control.answer = () => ({ status: 403 });
    for (let i = 0; i < 3; i++)
      expect(codeOf(await trunk.ask(requestText(trunk, { user: NUMBER.webhook }), edge.sip))).to.equal(503);
    await edge.until(
      () => Promise.resolve(lines('the control plane has another EDGE_TOKEN') > 0 || undefined),
      'the line',
    );
    expect(lines('the control plane has another EDGE_TOKEN')).to.equal(1);
  });
});

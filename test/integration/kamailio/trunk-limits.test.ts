import { expect } from 'chai';
import type { Call } from '../../support/call.ts';
import { Phone } from '../../support/phone.ts';
import { ADDRESS, Edge, freePort } from './edge.ts';
import { SipCarrier } from './sip-carrier.ts';

describe('The limits of a trunk at the edge', () => {
  let edge: Edge;
  let node: Phone;
  let first: SipCarrier;
  let second: SipCarrier;

  before(async () => {
    const port = await freePort();
    node = await Phone.open({ address: ADDRESS.media, port });
    edge = await Edge.start({ media: [`${ADDRESS.media}:${port}`] });
    first = await SipCarrier.open(ADDRESS.operator);
    second = await SipCarrier.open(ADDRESS.owner);
  });
  after(async () => {
    for (const one of [node, first, second]) await one?.close();
    await edge?.stop();
  });

  const dial = (trunks: string): Promise<Call> =>
    node.call({
      to: '+4930111',
      from: '+15551111',
      via: edge.sip,
      headers: [
        ['X-MV-Targets', `${first.uri()}|${second.uri()}`],
        ['X-MV-Trunks', trunks],
      ],
    });
  const taken = async (call: Call): Promise<string | undefined> => {
    const final = await call.final();
    return final.code === 200 ? final.headers['x-mv-trunk'] : String(final.code);
  };

  it('a trunk with no place left is passed over, and has one again when a call has ended', async () => {
    await edge.carrier('narrow', { maxConcurrent: 2 });
    const calls = [await dial('narrow|wide'), await dial('narrow|wide'), await dial('narrow|wide')];
    expect((await Promise.all(calls.map(taken))).sort()).to.deep.equal(['narrow', 'narrow', 'wide']);
    const onNarrow = await Promise.all(
      calls.map(async (call) => ((await taken(call)) === 'narrow' ? call : undefined)),
    );
    await onNarrow.find((call) => call !== undefined)?.hangup();
    const next = await dial('narrow|wide');
    expect(await taken(next)).to.equal('narrow');
    for (const call of [...calls, next]) if (!call.isOver) await call.hangup();
  });

  it('many calls at once never take more places than there are', async () => {
    await edge.carrier('few', { maxConcurrent: 5 });
    const calls = await Promise.all(Array.from({ length: 20 }, () => dial('few|wide')));
    const taking = await Promise.all(calls.map(taken));
    expect(taking.filter((trunk) => trunk === 'few')).to.have.length(5);
    expect(taking.filter((trunk) => trunk === 'wide')).to.have.length(15);
    await Promise.all(calls.map((call) => call.hangup()));
  });

  it('a call that fails gives its place back', async () => {
    await edge.carrier('one', { maxConcurrent: 1 });
    first.script(() => ['486 Busy Here']);
    for (let i = 0; i < 3; i++) expect(await taken(await dial('one|wide'))).to.equal('486');
    first.script(() => ['503 Full']);
    const moved = await dial('one|wide');
    expect(await taken(moved)).to.equal('wide');
    first.script(() => ['180 Ringing', '200 OK']);
    const next = await dial('one|wide');
    expect(await taken(next), 'the place of a call that has moved on is free').to.equal('one');
    for (const call of [moved, next]) await call.hangup();
  });

  it('a trunk that could not be sent to keeps no place', async () => {
    await edge.carrier('gone', { maxConcurrent: 1 });
    const call = await node.call({
      to: '+4930111',
      from: '+15551111',
      via: edge.sip,
      headers: [
        ['X-MV-Targets', `sip:1@${ADDRESS.operator}:${await freePort()};transport=tcp|${second.uri()}`],
        ['X-MV-Trunks', 'gone|wide'],
      ],
    });
    expect(await taken(call)).to.equal('wide');
    const next = await dial('gone|wide');
    expect(await taken(next)).to.equal('gone');
    for (const one of [call, next]) await one.hangup();
  });

  it('a trunk gets no more calls in a second than it takes; with all full the node gets 503', async () => {
    await edge.carrier('slow', { maxCps: 2 });
    await edge.carrier('slow too', { maxCps: 1 });
    const calls = await Promise.all(Array.from({ length: 12 }, () => dial('slow|slow too')));
    const taking = await Promise.all(calls.map(taken));
    // The calls may have fallen into two seconds of the clock.
    expect(taking.filter((trunk) => trunk === 'slow').length).to.be.within(2, 4);
    expect(taking.filter((trunk) => trunk === 'slow too').length).to.be.within(1, 2);
    expect(taking.filter((trunk) => trunk === '503').length).to.be.within(6, 9);
    for (const call of calls) if (!call.isOver) await call.hangup();
  });

  it('what has become of the calls of each trunk is counted for the operator', async () => {
    first.script(() => ['180 Ringing', '200 OK']);
    const call = await dial('counted|wide');
    await call.answered();
    first.script(() => ['500 Failed']);
    const moved = await dial('counted|wide');
    await moved.answered();
    first.script(() => ['486 Busy Here']);
    await (await dial('counted|wide')).final();
    await edge.set('carriers', 'counted', ';;;');
    const metrics = await (await fetch(edge.rpcUrl.replace('/RPC', '/metrics'))).text();
    const value = (name: string, labels: string): string | undefined =>
      new RegExp(`^kamailio_${name}\\{${labels}\\} (\\d+)`, 'm').exec(metrics)?.[1];
    expect(
      {
        attempts: value('trunk_attempts', 'trunk="counted"'),
        answered: value('trunk_answered', 'trunk="counted"'),
        active: value('trunk_active', 'trunk="counted"'),
        failed: value('trunk_failures', 'trunk="counted", class="5xx"'),
        busy: value('trunk_failures', 'trunk="counted", class="4xx"'),
      },
      metrics
        .split('\n')
        .filter((line) => line.includes('trunk'))
        .join('\n'),
    ).to.deep.equal({ attempts: '3', answered: '1', active: '1', failed: '1', busy: '1' });
    expect(metrics).to.match(/^# TYPE kamailio_trunk_attempts counter$/m);
    for (const one of [call, moved]) await one.hangup();
    await edge.until(
      async () =>
        /trunk_active\{trunk="counted"\} 0/.test(
          await (await fetch(edge.rpcUrl.replace('/RPC', '/metrics'))).text(),
        )
          ? true
          : undefined,
      'no active call',
    );
  });
});

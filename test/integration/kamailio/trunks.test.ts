import { expect } from 'chai';
import { Phone } from '../../support/phone.ts';
import { header, type HeaderLine } from '../../../cli/phone/sip-message.ts';
import type { Call } from '../../support/call.ts';
import { ADDRESS, Edge, freePort } from './edge.ts';
import { guarded, REALM, SipCarrier, type Script } from './sip-carrier.ts';

describe('A call of a media node to a trunk', () => {
  let edge: Edge;
  let node: Phone;
  let first: SipCarrier;
  let second: SipCarrier;

  before(async () => {
    const port = await freePort();
    node = await Phone.open({ address: ADDRESS.media, port });
    edge = await Edge.start({
      media: [`${ADDRESS.media}:${port}`],
      environment: { TARGET_SILENCE_MS: '600', TARGET_RING_MS: '1500' },
    });
    await edge.carrier('trunk_1', {
      username: 'mini',
      password: 'pa"ss|w;ord',
      fromDomain: 'customer.example',
    });
    await edge.carrier('trunk_2', {});
  });
  after(async () => {
    await node?.close();
    await edge?.stop();
  });
  beforeEach(async () => {
    first = await SipCarrier.open(ADDRESS.operator);
    second = await SipCarrier.open(ADDRESS.owner);
  });
  afterEach(async () => {
    await first?.close();
    await second?.close();
  });

  const dial = ({
    uris = [first.uri('4930111'), second.uri('030111')],
    trunks = 'trunk_1|trunk_2',
    id = 'call_1',
    more = [],
  }: { uris?: string[]; trunks?: string; id?: string; more?: HeaderLine[] } = {}): Promise<Call> =>
    node.call({
      to: '+4930111',
      from: '+15551111',
      via: edge.sip,
      headers: [
        ['X-MV-Call-ID', id],
        ['X-MV-Targets', uris.join('|')],
        ['X-MV-Trunks', trunks],
        ['X-MV-Callers', '15551111|+15552222'],
        ...more,
      ],
    });

  it('shows the numbers and the domain of the trunk, and hides that of the node; the node sees its own again, and the trunk', async () => {
    first.script(() => []);
    const call = await dial({ more: [['X-MV-Diversions', '+4930999|']] });
    const invite = await first.request('INVITE');
    for (const status of ['180 Ringing', '183 Session Progress', '200 OK']) {
      first.respond(invite, status);
      await (status.startsWith('200') ? call.answered() : call.provisional(Number(status.slice(0, 3))));
    }
    expect(invite.uri).to.equal(first.uri('4930111'));
    expect(header(invite, 'from')).to.equal(`<sip:15551111@customer.example>;tag=${call.dialog.localTag}`);
    expect(header(invite, 'to')).to.equal(`<${first.uri('4930111')}>`);
    expect(header(invite, 'diversion')).to.equal('<sip:+4930999@customer.example>;reason=unconditional');
    expect(invite.text).not.to.include(ADDRESS.media).and.not.to.include('X-MV');
    for (const reply of [await call.provisional(180), await call.provisional(183), await call.final()]) {
      expect(reply.headers).to.include({ 'x-mv-trunk': 'trunk_1' });
      expect(reply.headers['from']).to.match(/^<sip:\+15551111@127\.0\.0\.5/);
      expect(reply.headers['to']).to.match(/^<sip:\+4930111@127\.0\.0\.1:\d+>;tag=/);
    }
    expect(await call.hangup()).to.equal(200);
    const bye = await first.request('BYE');
    expect(header(bye, 'from')).to.equal(header(invite, 'from'));
    expect(bye.text).not.to.include(ADDRESS.media).and.not.to.include('X-MV');
  });

  for (const code of [401, 407] as const) {
    it(`answers a ${code} with the credentials of the trunk, and counts on from there in the call`, async () => {
      first.script(guarded(code, 'mini', 'pa"ss|w;ord'));
      const call = await dial();
      await call.answered();
      expect(first.invites).to.have.length(2);
      const numbers = first.invites.map((invite) => Number(header(invite, 'cseq')?.split(' ')[0])) as [
        number,
        number,
      ];
      expect(numbers[1]).to.equal(numbers[0] + 1);
      expect(
        call.messages.filter(({ received }) => received).map(({ text }) => /^CSeq: (\d+)/m.exec(text)?.[1]),
      ).to.satisfy((all: string[]) => all.every((number) => number === String(numbers[0])));
      expect((await first.request('ACK', 1)).headers.find(([name]) => name === 'CSeq')?.[1]).to.equal(
        `${numbers[1]} ACK`,
      );
      // This trunk wants to see them for every INVITE.
      await call.hold();
      const held = Number(header(await first.request('INVITE', 3), 'cseq')?.split(' ')[0]);
      expect(held).to.be.greaterThan(numbers[1] + 1);
      expect(header(await first.request('ACK', 3), 'cseq')).to.equal(`${held} ACK`);
      expect(await call.hangup()).to.equal(200);
      expect(Number(header(await first.request('BYE'), 'cseq')?.split(' ')[0])).to.be.greaterThan(held);
      expect(second.invites).to.be.empty;
    });
  }

  // The failover table of the contract, row by row.
  const next: [what: string, script: Script, more?: HeaderLine[]][] = [
    ...[408, 500, 502, 503, 504].map((code): [string, Script] => [`a ${code}`, () => [`${code} Failed`]]),
    ['no answer to the INVITE at all', () => []],
    [
      'a 403 after our credentials',
      (invite, n) => (n === 1 ? guarded(401, 'mini', 'x')(invite, n) : ['403 Forbidden']),
    ],
    [
      'a 407 after our credentials',
      () => [
        ['407 Who Are You', [['Proxy-Authenticate', `Digest realm="${REALM}", nonce="${'n'.repeat(8)}"`]]],
      ],
    ],
    [
      'a 401 after our credentials',
      () => [
        ['401 Who Are You', [['WWW-Authenticate', `Digest realm="${REALM}", nonce="${'n'.repeat(8)}"`]]],
      ],
    ],
    ['a challenge that makes no sense', () => [['401 Who Are You', [['WWW-Authenticate', 'Bearer x']]]]],
  ];
  for (const [what, script] of next) {
    it(`${what} of a trunk tries the next, with a caller, a number and credentials of its own`, async () => {
      first.script(script);
      const call = await dial();
      await call.answered();
      expect((await call.final()).headers).to.include({ 'x-mv-trunk': 'trunk_2' });
      const [invite] = second.invites;
      expect(invite?.uri).to.equal(second.uri('030111'));
      expect(invite?.text)
        .to.match(/^From: <sip:\+15552222@127\.0\.0\.1:\d+>;tag=/m)
        .and.not.match(/authorization/i);
      expect(await call.hangup()).to.equal(200);
    });
  }

  it('a trunk that refuses the connection is not waited for', async () => {
    const gone = await freePort();
    const call = await dial({
      uris: [`sip:4930111@${ADDRESS.operator}:${gone};transport=tcp`, second.uri()],
    });
    await call.answered();
    expect((await call.final()).headers).to.include({ 'x-mv-trunk': 'trunk_2' });
    await call.hangup();
  });

  it('a trunk whose name does not exist, or whose transport we do not speak, is not waited for', async () => {
    const call = await dial({
      trunks: 'trunk_1|trunk_1|trunk_2',
      uris: ['sip:1@no-such-host.invalid', `sip:1@${first.at};transport=tls`, second.uri()],
    });
    await call.answered();
    expect((await call.final()).headers).to.include({ 'x-mv-trunk': 'trunk_2' });
    await call.hangup();
  });

  it('a 404 tries the next only when the trunk asks for that', async () => {
    first.script(() => ['404 Not Found']);
    expect((await (await dial()).final()).code).to.equal(404);
    expect(second.invites).to.be.empty;
    await edge.carrier('trunk_3', { retryOn404: true });
    const call = await dial({ trunks: 'trunk_3|trunk_2' });
    await call.answered();
    await call.hangup();
  });

  for (const code of [486, 600, 603, 487, 480, 488, 403, 404]) {
    it(`a ${code} of a trunk is the end, and says whose it was`, async () => {
      first.script(() => [[`${code} No`, [['Warning', '399 10.9.8.7 "no"']]]]);
      const call = await dial();
      const final = await call.final();
      expect(final.code).to.equal(code);
      expect(final.headers).to.include({ 'x-mv-trunk': 'trunk_1' });
      expect(call.receivedText).not.to.include('10.9.8.7');
      expect(second.invites).to.be.empty;
    });
  }

  it('a trunk that rings and is not answered is the end: 408, and the trunk is canceled', async () => {
    first.script(() => ['180 Ringing']);
    const call = await dial();
    expect((await call.final()).code).to.equal(408);
    await first.request('CANCEL');
    expect(second.invites).to.be.empty;
  });

  it('a cancel stops everything, also before the trunk has said anything', async () => {
    first.script(() => []);
    const call = await dial();
    await first.request('INVITE');
    await call.cancel();
    expect((await call.final()).code).to.equal(487);
    expect(second.invites).to.be.empty;
  });

  it("when all have failed the node gets the last one's code and name", async () => {
    first.script(() => ['500 Failed']);
    second.script(() => ['503 Full']);
    const call = await dial();
    const final = await call.final();
    expect(final.code).to.equal(503);
    expect(final.headers).to.include({ 'x-mv-trunk': 'trunk_2' });
  });

  it('each try that fails is told, with what the trunk said: when another rings, or with the last; none where the first one answers', async () => {
    first.script((invite, n) => (n === 1 ? guarded(401, 'mini', 'x')(invite, n) : ['403 Go "away|;"\\']));
    second.script(() => ['486 Busy Here']);
    const call = await dial({
      id: 'call_tried',
      trunks: 'trunk_1|trunk_1|trunk_2',
      uris: [first.uri(), `sip:1@${first.at};transport=tls`, second.uri()],
    });
    expect((await call.final()).code).to.equal(486);
    const told = await edge.control.until(() => {
      const notices = edge.control.notices.filter(
        ({ event, call: tried }) => event === 'tried' && tried === 'call_tried',
      );
      return notices.some(({ last }) => last === 1) ? notices : undefined;
    }, 'the last try');
    expect(told.map(({ tries, last }) => ({ tries, last }))).to.deep.equal([
      { tries: 'credentials;403;Go away;trunk_1|unreachable;;;trunk_1|4xx;486;Busy Here;trunk_2|', last: 1 },
    ]);
    second.script(() => ['180 Ringing', '200 OK']);
    first.script(() => ['503 Full']);
    const moved = await dial({ id: 'call_moved' });
    await moved.answered();
    await moved.hangup();
    expect(
      await edge.control.until(
        () => edge.control.notices.find(({ call: tried }) => tried === 'call_moved'),
        'the try',
      ),
    ).to.include({ event: 'tried', tries: '5xx;503;Full;trunk_1|', last: 0 });
    first.script(() => ['200 OK']);
    const good = await dial({ id: 'call_good' });
    await good.answered();
    await good.hangup();
    expect(edge.control.notices.filter(({ call: tried }) => tried === 'call_good')).to.be.empty;
  });

  it('an answer that crosses the cancel reaches the node, which ends the call', async () => {
    first.script(() => ['180 Ringing']);
    first.answerOther = (request) => {
      if (request.method === 'CANCEL') first.respond(first.invites[0] ?? request, '200 OK');
      return '200 OK';
    };
    const call = await dial();
    await call.provisional(180);
    await call.cancel();
    expect((await call.final()).code).to.equal(200);
    await first.request('ACK');
    expect(await call.hangup()).to.equal(200);
    await first.request('BYE');
    expect(second.invites).to.be.empty;
  });

  it('an answer that is repeated, since its ACK was lost, is acknowledged again', async () => {
    const call = await dial();
    await call.answered();
    await first.request('ACK');
    first.respond(await first.request('INVITE'), '200 OK');
    await first.request('ACK', 1);
    await call.hangup();
  });

  it('an answer that comes twice is one call, and so is one that is hung up at once', async () => {
    first.script(() => ['180 Ringing', '200 OK', '200 OK']);
    const call = await dial();
    await call.answered();
    expect(await first.bye(call.callId)).to.equal(200);
    expect((await call.ended()).by).to.equal('remote');
  });

  it("a trunk that answers after the next one has been tried is acknowledged and hung up: the call is the next one's", async () => {
    first.script(() => []);
    second.script(() => ['180 Ringing']);
    const call = await dial();
    await call.provisional(180);
    const [late] = first.invites;
    const [current] = second.invites;
    if (!late || !current) throw new Error('not both were called');
    first.respond(late, '200 OK', [
      ['Record-Route', '<sip:10.9.8.1;lr>'],
      ['Record-Route', '<sip:10.9.8.2;lr>'],
    ]);
    expect(header(await first.request('ACK'), 'cseq')).to.equal(
      header(late, 'cseq')?.replace('INVITE', 'ACK'),
    );
    const bye = await first.request('BYE');
    expect(bye.uri).to.equal(`sip:carrier@${first.at}`);
    expect(bye.headers.filter(([name]) => name === 'Route').map(([, value]) => value)).to.deep.equal([
      '<sip:10.9.8.2;lr>',
      '<sip:10.9.8.1;lr>',
    ]);
    expect(header(bye, 'from')).to.equal(header(late, 'from'));
    second.respond(current, '200 OK');
    expect((await call.final()).headers).to.include({ 'x-mv-trunk': 'trunk_2' });
    expect(await call.hangup()).to.equal(200);
  });

  it('a trunk that answers after the call is over is acknowledged and hung up', async () => {
    first.script(() => []);
    const call = await dial();
    await first.request('INVITE');
    await call.cancel();
    expect((await call.final()).code).to.equal(487);
    const [late] = first.invites;
    if (late) first.respond(late, '200 OK');
    await first.request('ACK');
    await first.request('BYE');
    expect(call.story())
      .not.to.include('200 OK | ')
      .and.not.to.match(/487.*SIP\/2\.0 200/);
  });

  it("the edge's own BYE has the numbers and names the trunk knows, and nothing of the node's", async () => {
    first.script(guarded(401, 'mini', 'pa"ss|w;ord'));
    const call = await dial();
    await call.answered();
    await edge.rpc('dlg.terminate_dlg', [call.callId, call.dialog.localTag, call.dialog.remoteTag]);
    expect((await call.ended()).by).to.equal('remote');
    const bye = await first.request('BYE');
    const [, invite] = first.invites;
    expect(bye.text).not.to.include(ADDRESS.media);
    expect(header(bye, 'from')).to.equal(invite && header(invite, 'from'));
    expect(parseInt(header(bye, 'cseq') ?? '')).to.be.greaterThan(
      parseInt((invite && header(invite, 'cseq')) ?? ''),
    );
  });

  it('an answered call goes on and ends after a restart of the edge, credentials or not', async () => {
    first.script(guarded(401, 'mini', 'pa"ss|w;ord'));
    const [one, two] = [await dial(), await dial()];
    await Promise.all([one.answered(), two.answered()]);
    await edge.stopKamailio('SIGKILL');
    await edge.startKamailio();
    const number = Number(header(await first.request('INVITE', 3), 'cseq')?.split(' ')[0]);
    expect(await one.hangup()).to.equal(200);
    expect(Number(header(await first.request('BYE'), 'cseq')?.split(' ')[0])).to.be.greaterThan(number);
    expect(await first.bye(two.callId)).to.equal(200);
    expect((await two.ended()).by).to.equal('remote');
    await edge.push();
    await edge.carrier('trunk_1', {
      username: 'mini',
      password: 'pa"ss|w;ord',
      fromDomain: 'customer.example',
      realm: REALM,
    });
    await edge.carrier('trunk_2', {});
  });

  it('many calls at once, challenged, moved on, canceled and answered, leave nothing behind', async () => {
    first.script((invite, n) =>
      n % 3 === 0 ? ['503 Full'] : guarded(401, 'mini', 'pa"ss|w;ord')(invite, n),
    );
    const calls = await Promise.all(Array.from({ length: 30 }, () => dial()));
    await Promise.all(
      calls.map(async (call, index) => {
        if (index % 4 === 0) await call.cancel();
        const { code } = await call.final();
        if (code === 200) await call.hangup();
      }),
    );
    await edge.until(async () => (await edge.dialogs()) === 0 || undefined, 'no dialog');
    await edge.until(async () => (await edge.relayed()).length === 0 || undefined, 'no relayed call');
    // One is the OPTIONS to the media node.
    await edge.until(
      async () => ((await edge.rpc('tm.stats')) as { current: number }).current <= 1 || undefined,
      'no transaction',
    );
  });
});

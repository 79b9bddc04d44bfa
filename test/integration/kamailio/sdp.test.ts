import { expect } from 'chai';
import { Phone } from '../../support/phone.ts';
import { tone } from '../../../cli/phone/sound.ts';
import { random } from '../../support/wire.ts';
import { ADDRESS, Edge, freePort, NUMBER } from './edge.ts';
import { codeOf, RawSip, requestText } from './raw-sip.ts';

const HEAD = `v=0\r\no=- 1 1 IN IP4 ${ADDRESS.operator}\r\ns=-\r\nc=IN IP4 ${ADDRESS.operator}\r\nt=0 0\r\n`;
const AUDIO = 'm=audio 40000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n';
const KEYED =
  'm=audio 40002 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n';

const multipart = (
  kind: string,
  parts: readonly [type: string, body: string][],
): [type: string, body: string] => [
  `multipart/${kind};boundary="cut-here"`,
  `${parts.map(([type, body]) => `--cut-here\r\nContent-Type: ${type}\r\n\r\n${body}\r\n`).join('')}--cut-here--\r\n`,
];
const ISUP: [string, string] = ['application/isup; version=itu-t92+; base=itu-t92+', 'isup-secret'];

describe('What an INVITE brings', () => {
  let edge: Edge;
  let node: Phone;
  let customer: Phone;
  let carrier: RawSip;
  let calls = 0;

  before(async () => {
    const port = await freePort();
    node = await Phone.open({ address: ADDRESS.media, port });
    customer = await Phone.open({ address: ADDRESS.customer });
    carrier = await RawSip.open(ADDRESS.operator);
    edge = await Edge.start({ media: [`${ADDRESS.media}:${port}`] });
    edge.control.answer = ({ to }) =>
      to === NUMBER.sip
        ? { action: 'sip', call: `call_s${++calls}`, targets: [customer.uri] }
        : edge.control.media();
  });
  after(async () => {
    carrier?.close();
    for (const phone of [node, customer]) await phone?.close();
    await edge?.stop();
  });
  beforeEach(() => {
    for (const phone of [node, customer]) {
      phone.forget();
      phone.listen({ refuse: 486 });
    }
  });

  const invite = (
    to: string,
    [type, body]: readonly [string, string],
    callId = `${random()}@raw`,
    headers: string[] = [],
  ): string =>
    requestText(carrier, {
      user: to,
      callId,
      headers: [...headers, ...(type ? [`Content-Type: ${type}`] : [])],
    }).replace('Content-Length: 0\r\n\r\n', `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  const ask = (
    to: string,
    body: readonly [string, string],
    callId?: string,
    headers?: string[],
  ): Promise<string> => carrier.ask(invite(to, body, callId, headers), edge.sip);

  const bad: Record<string, string> = {
    garbage: 'garbage',
    'no media line': HEAD,
    'no address': HEAD.replace(/^c=.*\r\n/m, '') + AUDIO,
    'a host name for an address': HEAD.replace(/^c=.*\r\n/m, 'c=IN IP4 phone.example\r\n') + AUDIO,
    'port 0': HEAD + AUDIO.replace('40000', '0'),
    'a port out of range': HEAD + AUDIO.replace('40000', '70000'),
    'another version': HEAD.replace('v=0', 'v=1') + AUDIO,
    'an empty line': `${HEAD}\r\n${AUDIO}`,
    // rtpengine could not tell of the end of so many in one datagram, and was taken for dead.
    '41 media lines': HEAD + AUDIO + 'm=audio 40002 RTP/AVP 0\r\n'.repeat(40),
    'more than 8 KiB': `${HEAD}${AUDIO}${`a=x:${'y'.repeat(60)}\r\n`.repeat(140)}`,
  };
  for (const [what, sdp] of Object.entries(bad)) {
    for (const number of [NUMBER.webhook, NUMBER.sip]) {
      // A customer's own telephone may be asked about a port of 0.
      if (what === 'port 0' && number === NUMBER.sip) continue;
      it(`is refused as the caller's fault, and told as such, when its SDP has ${what} (${number === NUMBER.sip ? 'relayed' : 'to a media node'})`, async () => {
        const callId = `${random()}@raw`;
        const reply = await ask(number, ['application/sdp', sdp], callId);
        expect(codeOf(reply)).to.be.oneOf(what === 'more than 8 KiB' ? [413] : [400, 488]);
        expect(reply).not.to.include('Retry-After');
        expect(await edge.control.notice('failed', callId)).to.include({ code: codeOf(reply), by: 'caller' });
        expect(node.received.length + customer.received.length).to.equal(0);
      });
    }
  }

  it('is our own fault, 503, when rtpengine is away, be the SDP good or bad', async () => {
    await edge.stopRtpengine();
    try {
      for (const sdp of [HEAD + AUDIO, bad['a port out of range'] ?? '']) {
        const callId = `${random()}@raw`;
        expect(codeOf(await ask(NUMBER.webhook, ['application/sdp', sdp], callId))).to.equal(503);
        expect(await edge.control.notice('failed', callId)).to.include({ code: 503, by: 'platform' });
      }
    } finally {
      await edge.startRtpengine();
      await edge.until(
        async () =>
          codeOf(await ask(NUMBER.webhook, ['application/sdp', HEAD + AUDIO])) === 486 ? true : undefined,
        'rtpengine to be used again',
      );
    }
  });

  const spelled: [string, readonly [string, string]][] = [
    ['application/sdp', ['application/sdp', HEAD + AUDIO]],
    ['Application/SDP with a parameter', ['Application/SDP;charset=utf-8', HEAD + AUDIO]],
    ['empty lines at its end', ['application/sdp', `${HEAD}${AUDIO}\r\n\r\n`]],
    ...['mixed', 'related', 'alternative', 'x-unknown'].map((kind): [string, readonly [string, string]] => [
      `multipart/${kind}`,
      multipart(kind, [ISUP, ['application/sdp', HEAD + AUDIO], ['text/plain', 'text-secret']]),
    ]),
  ];
  for (const [what, body] of spelled) {
    it(`goes through rtpengine, alone, as ${what}`, async () => {
      for (const [number, called] of [
        [NUMBER.webhook, node],
        [NUMBER.sip, customer],
      ] as const) {
        expect(codeOf(await ask(number, body))).to.equal(486);
        const { text } = (await called.incoming()).invite ?? { text: '' };
        expect(text)
          .to.match(/^Content-Type: application\/sdp\r$/m)
          .and.to.include(`c=IN IP4 ${ADDRESS.rtp}`);
        expect(text.match(/^Content-Type:/gim)).to.have.length(1);
        expect(text.split('\r\n\r\n').slice(1).join())
          .not.to.include(ADDRESS.operator)
          .and.not.to.include('secret')
          .and.not.to.include('cut-here');
      }
    });
  }

  it('is refused with 415 when it is no SDP, and says what is wanted', async () => {
    for (const body of [ISUP, ['text/plain', 'text-secret'] as const, multipart('mixed', [ISUP])]) {
      for (const number of [NUMBER.webhook, NUMBER.sip]) {
        const reply = await ask(number, body);
        expect(codeOf(reply), body[0]).to.equal(415);
        expect(reply).to.match(/^Accept: application\/sdp\r$/m);
      }
    }
    expect(node.received.length + customer.received.length).to.equal(0);
  });

  it('is left out when it says that it need not be understood', async () => {
    expect(
      codeOf(await ask(NUMBER.sip, ISUP, undefined, ['Content-Disposition: signal;handling=optional'])),
    ).to.equal(486);
    expect((await customer.incoming()).invite?.text)
      .not.to.include('secret')
      .and.not.to.match(/^Content-Type/m);
  });

  it('with keys alone is refused with 488; with and without, the line without is chosen', async () => {
    const callId = `${random()}@raw`;
    expect(codeOf(await ask(NUMBER.webhook, ['application/sdp', HEAD + KEYED], callId))).to.equal(488);
    expect(await edge.control.notice('failed', callId)).to.include({ code: 488, by: 'caller' });
    for (const both of [KEYED + AUDIO, AUDIO + KEYED]) {
      expect(codeOf(await ask(NUMBER.webhook, ['application/sdp', HEAD + both]))).to.equal(486);
      const offered = (await node.incoming()).invite?.body ?? '';
      expect(
        offered.match(/^m=audio \d+ \S+/gm)?.map((line) => line.replace(/ [1-9]\d* /, ' open ')),
      ).to.have.members(['m=audio 0 RTP/SAVP', 'm=audio open RTP/AVP']);
    }
  });

  it('with feedback by RTCP is plain RTP to a media node, and heard both ways', async () => {
    node.listen('answer', { sound: () => tone(440) });
    const phone = await Phone.open({ address: ADDRESS.operator });
    try {
      const call = await phone.call({
        to: NUMBER.webhook,
        from: '+491711234567',
        via: edge.sip,
        sound: tone(1000),
        rewrite: (sdp) => sdp.replace('RTP/AVP', 'RTP/AVPF'),
      });
      await call.answered();
      const parked = await node.incoming();
      expect(parked.invite?.body).to.match(/^m=audio \d+ RTP\/AVP 0/m);
      expect((await call.final()).message.body).to.match(/^m=audio \d+ RTP\/AVPF 0/m);
      await Promise.all([call.heard.waitUntilTone(440), parked.heard.waitUntilTone(1000)]);
      await call.hangup();
    } finally {
      await phone.close();
    }
  });

  it("may be answered with telephone events under a number of the far end's own: each side sends with the number of the other", async () => {
    customer.listen('manual', { rewrite: (sdp) => sdp.replaceAll('101', '96') });
    const call = await node.call({
      to: '+4930111',
      from: '+15551111',
      via: edge.sip,
      headers: [
        ['X-MV-Call-ID', 'call_1'],
        ['X-MV-Targets', customer.uri],
      ],
    });
    const called = await customer.incoming();
    called.rtp.ownEventType = 96;
    call.rtp.ownEventType = 101;
    called.answer();
    await call.answered();
    expect(call.remoteAudio?.eventType).to.equal(96);
    await called.press('5');
    await call.heard.waitUntilKeys('5');
    await call.press('42#');
    await called.heard.waitUntilKeys('42#');
    await call.hangup();
  });

  it('never takes over, or answers, another call of the node', async () => {
    await ask(NUMBER.webhook, ['application/sdp', HEAD + AUDIO], undefined, [
      'Replaces: other@node;to-tag=a;from-tag=b',
      'Join: other@node;to-tag=a;from-tag=b',
      'Target-Dialog: other@node;local-tag=a;remote-tag=b',
      'Refer-To: <sip:a@b>',
      'Answer-Mode: Auto',
      'Alert-Info: <http://x>',
      'Call-Info: <sip:x>;answer-after=0',
      'X-FS-Support: update_display',
      'X-AUTH-IP: 1.2.3.4',
      'X-Kept: yes',
      'Diversion: <sip:+49301@x>',
    ]);
    const { text } = (await node.incoming()).invite ?? { text: '' };
    expect(text).not.to.match(
      /^(Replaces|Join|Target-Dialog|Refer-To|Answer-Mode|Alert-Info|Call-Info|X-FS-|X-AUTH-)/im,
    );
    expect(text)
      .to.match(/^X-Kept: yes\r$/m)
      .and.to.match(/^Diversion: /m);
  });
});

import { mock } from 'node:test';
import { expect } from 'chai';
import { pino } from 'pino';
import { AccessList } from '../../../freeswitch/embedded/access-list.ts';
import { InboundLeg } from '../../../freeswitch/embedded/channel/inbound-leg.ts';
import { OutboundLeg } from '../../../freeswitch/embedded/channel/outbound-leg.ts';
import { FrameClock } from '../../../freeswitch/embedded/rtp/clock.ts';
import { PortRange } from '../../../freeswitch/embedded/rtp/ports.ts';
import {
  parseMessage,
  type SipMessage,
  type SipRequest,
  type SipResponse,
} from '../../../freeswitch/embedded/sip/message.ts';
import { Transactions } from '../../../freeswitch/embedded/sip/transactions.ts';
import { UserAgent } from '../../../freeswitch/embedded/sip/user-agent.ts';
import { FakeTransport } from './fake-transport.ts';

const SDP = [
  'v=0',
  'o=- 1 1 IN IP4 127.0.0.1',
  's=-',
  'c=IN IP4 127.0.0.1',
  't=0 0',
  'm=audio 9 RTP/AVP 0 101',
  'a=rtpmap:101 telephone-event/8000',
  '',
].join('\r\n');

/** A node of one call, and its far end, on a clock that the test turns. */
class Line {
  readonly transport = new FakeTransport('10.0.0.1', 5060, pino({ level: 'silent' }));
  readonly ends: string[] = [];
  readonly ua: UserAgent;
  readonly #transactions: Transactions;
  readonly #resources;
  #leg: InboundLeg | undefined;
  #called: OutboundLeg | undefined;
  #cseq = 1;
  #branch = 0;

  constructor() {
    const log = pino({ level: 'silent' });
    this.#transactions = new Transactions(this.transport, { t1: 500, t2: 4000, t4: 5000 }, log);
    this.ua = new UserAgent(this.#transactions, new AccessList(['10.0.0.0/8']), log);
    const start = 41_000 + 2 * Math.floor(Math.random() * 400);
    this.#resources = {
      ip: '127.0.0.1',
      ports: new PortRange(start, start + 20),
      clock: new FrameClock(() => {}),
    };
    this.ua.onInvite = (transaction) => {
      this.#leg = new InboundLeg(transaction, this.ua, this.#resources);
      this.#leg.listen(this.#listener);
    };
  }

  readonly #listener = {
    onRemoteEnd: (how: string) => {
      this.ends.push(how);
      this.#leg?.end({ cause: 'NORMAL_CLEARING' });
      this.#called?.end({ cause: 'NORMAL_CLEARING' });
    },
    onDigit: () => {},
    onMediaChanged: () => {},
    onResponse: () => {},
    onProgress: () => {},
    onAnswered: () => {},
    onRefused: () => {},
  };

  /** The far end calls with these headers, and is answered. @returns the final reply */
  async calledWith(headers: string[], allow = 'INVITE, ACK, BYE, UPDATE'): Promise<SipResponse> {
    this.#send('INVITE', [`Allow: ${allow}`, ...headers], SDP);
    await this.#leg?.answer();
    const reply = this.#reply();
    if (reply.status === 200) this.#send('ACK', []);
    return reply;
  }

  /** The node calls, and is answered with these headers. */
  async calls(headers: string[]): Promise<void> {
    this.#called = new OutboundLeg(
      {
        uri: 'sip:x@10.0.0.2',
        peer: { transport: 'udp', address: '10.0.0.2', port: 5060 },
        from: { name: '', number: '1' },
        headers: [],
        prefer: 'PCMU',
      },
      this.ua,
      this.#resources,
    );
    this.#called.listen(this.#listener);
    await this.#called.call();
    this.answer('INVITE', 200, ['Contact: <sip:y@10.0.0.2>', ...headers], SDP);
  }

  /** A request of the far end within the call. @param answer what the ACK of an INVITE brings */
  ask(method: string, headers: string[], body = '', answer = ''): SipResponse {
    this.#send(method, headers, body);
    const reply = this.#reply();
    if (method === 'INVITE' && reply.status === 200) this.#send('ACK', [], answer);
    return reply;
  }

  /** The far end's answer to the last request of ours of this method. */
  answer(method: string, status: number, headers: string[] = [], body = ''): void {
    const request = this.requests(method).at(-1);
    if (!request) throw new Error(`no ${method} was sent`);
    const copied = ['Via', 'From', 'Call-ID', 'CSeq'].map(
      (name) => `${name}: ${request.headers.get(name.toLowerCase()) ?? ''}`,
    );
    const to = request.headers.get('to') ?? '';
    const lines = [
      `SIP/2.0 ${status} Whatever`,
      ...copied,
      `To: ${to}${to.includes('tag=') ? '' : ';tag=far'}`,
      ...headers,
      '',
      body,
    ];
    this.#receive(lines.join('\r\n'));
  }

  /** Requests the node has sent, repetitions left out. */
  requests(method: string): SipRequest[] {
    const all = this.transport.sent
      .map(({ message }) => message)
      .filter((m): m is SipRequest => m.kind === 'request' && m.method === method);
    return all.filter(
      (one, i) => all.findIndex((other) => other.headers.get('cseq') === one.headers.get('cseq')) === i,
    );
  }

  close(): void {
    this.#leg?.end({ cause: 'NORMAL_CLEARING' });
    this.#called?.end({ cause: 'NORMAL_CLEARING' });
    this.#transactions.stop();
  }

  #send(method: string, headers: string[], body = ''): void {
    const number = method === 'ACK' ? this.#cseq - 1 : this.#cseq++;
    const tag = this.#leg ? `;tag=${this.#leg.dialog.localTag}` : '';
    this.#receive(
      [
        `${method} sip:x@10.0.0.1 SIP/2.0`,
        `Via: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bK${++this.#branch}`,
        'From: <sip:a@10.0.0.2>;tag=f',
        `To: <sip:x@10.0.0.1>${tag}`,
        'Call-ID: c1',
        `CSeq: ${number} ${method}`,
        'Contact: <sip:a@10.0.0.2>',
        ...headers,
        '',
        body,
      ].join('\r\n'),
    );
  }

  #receive(text: string): void {
    this.transport.onMessage(parseMessage(Buffer.from(text, 'latin1')), {
      transport: 'udp',
      address: '10.0.0.2',
      port: 5060,
    });
  }

  #reply(): SipResponse {
    const found = this.transport.sent
      .map(({ message }): SipMessage => message)
      .findLast((m): m is SipResponse => m.kind === 'response' && m.status >= 200);
    if (!found) throw new Error('nothing was answered');
    return found;
  }
}

describe('embedded: session timers', () => {
  let line: Line;

  beforeEach(() => {
    mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
    line = new Line();
  });

  afterEach(() => {
    line.close();
    mock.timers.reset();
  });

  const pass = (seconds: number): void => {
    for (let i = 0; i < seconds * 10; i++) mock.timers.tick(100);
  };
  const timer = ({ headers }: SipResponse): (string | undefined)[] => [
    headers.get('session-expires'),
    headers.get('require'),
  ];

  it('keep the refresher that the caller has chosen, and the interval', async () => {
    expect(
      timer(await line.calledWith(['Supported: timer', 'Session-Expires: 1800;refresher=uas'])),
    ).to.deep.equal(['1800;refresher=uas', 'timer']);
    expect(
      timer(line.ask('UPDATE', ['Supported: timer', 'Session-Expires: 200;refresher=uac'])),
    ).to.deep.equal(['200;refresher=uac', 'timer']);
    // Without a choice whoever has refreshed goes on to.
    expect(timer(line.ask('UPDATE', ['k: timer', 'x: 200']))).to.deep.equal(['200;refresher=uac', 'timer']);
  });

  for (const method of ['INVITE', 'UPDATE']) {
    it(`that are too short are refused with 422 and what is allowed, by ${method}, and the call goes on`, async () => {
      const headers = ['Supported: timer', 'Session-Expires: 89'];
      await line.calledWith(['Supported: timer', 'Session-Expires: 300']);
      const refused = line.ask(method, headers);
      expect([refused.status, refused.reason, refused.headers.get('min-se')]).to.deep.equal([
        422,
        'Session Interval Too Small',
        '90',
      ]);
      expect(
        line.ask(
          method,
          headers.map((header) => header.replace('89', '90')),
        ).status,
      ).to.equal(200);
      expect(line.ends).to.deep.equal([]);
    });
  }

  it('that are too short are no call at all', async () => {
    const refused = await line.calledWith(['Supported: timer', 'Session-Expires: 60']);
    expect([refused.status, refused.headers.get('min-se')]).to.deep.equal([422, '90']);
  });

  it('are refreshed at half time by us where the caller wants that, for as long as the call lasts', async () => {
    await line.calledWith(['Supported: timer', 'Session-Expires: 90;refresher=uas']);
    for (let i = 1; i <= 4; i++) {
      pass(44);
      expect(line.requests('UPDATE')).to.have.length(i - 1);
      pass(2);
      expect(line.requests('UPDATE')).to.have.length(i);
      expect(line.requests('UPDATE').at(-1)?.headers.get('session-expires')).to.equal('90;refresher=uac');
      expect(line.requests('UPDATE').at(-1)?.body.length).to.equal(0);
      line.answer('UPDATE', 200, ['Require: timer', 'Session-Expires: 90;refresher=uac']);
    }
    expect(line.ends).to.deep.equal([]);
  });

  it('are refreshed by a re-INVITE with the description there is, where the far end knows no UPDATE', async () => {
    const ok = await line.calledWith(
      ['Supported: timer', 'Session-Expires: 90;refresher=uas'],
      'INVITE, ACK, BYE',
    );
    pass(46);
    const [invite] = line.requests('INVITE');
    expect(invite?.body.toString()).to.equal(ok.body.toString());
    line.answer('INVITE', 200, ['Session-Expires: 90;refresher=uac'], SDP);
    line.answer('INVITE', 200, ['Session-Expires: 90;refresher=uac'], SDP);
    expect(
      line.transport.sent.filter(({ message }) => message.kind === 'request' && message.method === 'ACK'),
    ).to.have.length(2);
    pass(46);
    expect(line.requests('INVITE')).to.have.length(2);
    expect(line.ask('INVITE', [], SDP).status, 'while ours waits for its answer').to.equal(491);
  });

  it('make us the refresher of a call we have placed when its answer says so', async () => {
    await line.calls(['Require: timer', 'Session-Expires: 90;refresher=uac', 'Allow: INVITE, UPDATE']);
    pass(46);
    line.answer('UPDATE', 422, ['Min-SE: 1200']);
    expect(
      line.requests('UPDATE').map(({ headers }) => [headers.get('session-expires'), headers.get('min-se')]),
    ).to.deep.equal([
      ['90;refresher=uac', undefined],
      ['1200;refresher=uac', '1200'],
    ]);
    line.answer('UPDATE', 200, ['Session-Expires: 1200;refresher=uac']);
    pass(590);
    expect(line.requests('UPDATE')).to.have.length(2);
    pass(11);
    expect(line.requests('UPDATE')).to.have.length(3);
    expect(line.ends).to.deep.equal([]);
  });

  it('end the call when the far end knows it no more, or says nothing', async () => {
    await line.calledWith(['Supported: timer', 'Session-Expires: 90;refresher=uas']);
    pass(46);
    line.answer('UPDATE', 481);
    expect(line.ends).to.deep.equal(['expired']);
    expect(line.requests('BYE')).to.have.length(1);
  });

  it('ask again after a refusal that is no verdict, and end the call before the interval is over', async () => {
    await line.calledWith(['Supported: timer', 'Session-Expires: 90;refresher=uas']);
    pass(46);
    line.answer('UPDATE', 500);
    pass(11);
    expect(line.requests('UPDATE')).to.have.length(2);
    expect(line.ends).to.deep.equal([]);
    pass(6);
    expect(line.ends).to.deep.equal(['expired']);
    line.answer('UPDATE', 500);
    pass(300);
    expect(line.requests('UPDATE'), 'after the end').to.have.length(2);
  });

  it('end the call that a caller who wanted to refresh it has not', async () => {
    await line.calledWith(['Supported: timer', 'Session-Expires: 90;refresher=uac']);
    pass(50);
    line.ask('UPDATE', ['Supported: timer', 'Session-Expires: 90;refresher=uac']);
    pass(59);
    expect(line.ends).to.deep.equal([]);
    pass(2);
    expect(line.ends).to.deep.equal(['expired']);
  });

  it('are off after a refresh that does not mention them', async () => {
    await line.calledWith(['Supported: timer', 'Session-Expires: 90']);
    expect(timer(line.ask('INVITE', ['Supported: timer'], SDP))).to.deep.equal([undefined, undefined]);
    pass(300);
    expect(line.ends).to.deep.equal([]);
  });

  it('of more seconds than a timer can hold are no end at all', async () => {
    expect(
      timer(await line.calledWith(['Supported: timer', 'Session-Expires: 2147484;refresher=uac']))[0],
    ).to.equal('2147484;refresher=uac');
    expect(
      timer(
        line.ask('UPDATE', ['Supported: timer', 'Session-Expires: 99999999999999999999;refresher=uas']),
      )[0],
    ).to.equal('4294967295;refresher=uas');
    pass(60);
    expect(line.ends).to.deep.equal([]);
    expect(line.requests('UPDATE')).to.deep.equal([]);
  });

  it('that a proxy wants of a caller who knows none are ours to refresh', async () => {
    expect(timer(await line.calledWith(['Session-Expires: 90']))).to.deep.equal([
      '90;refresher=uas',
      undefined,
    ]);
    pass(46);
    expect(line.requests('UPDATE')).to.have.length(1);
  });
});

describe('embedded: requests within a call', () => {
  it('a re-INVITE without a description, whose ACK has none either, leaves the audio as it was', async () => {
    const line = new Line();
    await line.calledWith([]);
    expect(line.ask('INVITE', []).body.toString()).to.match(/^m=audio \d+ RTP\/AVP 0 8 101\r$/m);
    expect(line.ends).to.deep.equal([]);
    line.ask('INVITE', [], '', SDP.replace('AVP 0', 'AVP 9'));
    expect(line.ends).to.deep.equal(['no-codec']);
    line.close();
  });

  it('that insist on an extension nobody knows are refused with 420 and its name, and change nothing', async () => {
    const line = new Line();
    await line.calledWith([]);
    for (const method of ['INVITE', 'UPDATE', 'INFO', 'OPTIONS']) {
      const refused = line.ask(
        method,
        ['Require: timer, foo', 'Require: bar'],
        method === 'INVITE' ? SDP.replace('9 RTP', '7 RTP') : '',
      );
      expect([refused.status, refused.headers.get('unsupported')], method).to.deep.equal([420, 'foo, bar']);
    }
    expect(line.ask('UPDATE', []).status).to.equal(200);
    line.close();
  });
});

import { expect } from 'chai';
import fc from 'fast-check';
import { pino } from 'pino';
import { AccessList } from '../../../freeswitch/embedded/access-list.ts';
import { OutboundLeg } from '../../../freeswitch/embedded/channel/outbound-leg.ts';
import { FrameClock } from '../../../freeswitch/embedded/rtp/clock.ts';
import { PortRange } from '../../../freeswitch/embedded/rtp/ports.ts';
import { parseMessage, SipSyntaxError, type SipRequest } from '../../../freeswitch/embedded/sip/message.ts';
import { Transactions } from '../../../freeswitch/embedded/sip/transactions.ts';
import { UserAgent } from '../../../freeswitch/embedded/sip/user-agent.ts';
import { FakeTransport } from './fake-transport.ts';

const SDP =
  'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n';

/** Time in which a transaction of 64*T1 ends, and some more. */
const T1 = 4;

class Stack {
  readonly transport = new FakeTransport('127.0.0.1', 5060, pino({ level: 'silent' }));
  readonly errors: unknown[] = [];
  readonly transactions: Transactions;
  readonly ua: UserAgent;
  readonly told: string[] = [];
  readonly leg: OutboundLeg;

  constructor(transport: 'udp' | 'tcp' = 'udp', timers = { t1: T1, t2: 16, t4: 20 }) {
    const log = pino({ level: 'error' }, { write: (line: string) => void this.errors.push(line) });
    this.transactions = new Transactions(this.transport, timers, log);
    this.ua = new UserAgent(this.transactions, new AccessList(['127.0.0.0/8']), log);
    const start = 39_000 + 2 * Math.floor(Math.random() * 400);
    this.leg = new OutboundLeg(
      {
        uri: 'sip:leg@127.0.0.2:5070',
        peer: { transport, address: '127.0.0.2', port: 5070 },
        from: { name: 'A "B"', number: '+49 30;tag=x>' },
        headers: [['X-MV-Call-ID', 'call_1']],
        prefer: 'PCMA',
      },
      this.ua,
      {
        ip: '127.0.0.1',
        ports: new PortRange(start, start + 20),
        clock: new FrameClock((error) => this.errors.push(error)),
      },
    );
    this.leg.listen({
      onResponse: () => {},
      onProgress: (early) => this.told.push(early ? 'early' : 'ringing'),
      onAnswered: () => this.told.push('answered'),
      onRefused: (status) => this.told.push(`refused ${status}`),
      onRemoteEnd: (how) => this.told.push(how),
      onDigit: ({ digit }) => this.told.push(`key ${digit}`),
      onMediaChanged: () => {},
    });
  }

  /** Methods of the requests sent, in order; those of responses as their codes. */
  get sent(): string[] {
    return this.transport.sent.map(({ message }) =>
      message.kind === 'request' ? message.method : String(message.status),
    );
  }

  request(method: string): SipRequest {
    for (const { message } of this.transport.sent)
      if (message.kind === 'request' && message.method === method) return message;
    throw new Error(`no ${method} was sent`);
  }

  /** A response to our INVITE, or to another request of ours. */
  responseText(
    status: number,
    options: { body?: string; tag?: string; method?: string; contact?: string } = {},
  ): string {
    const { headers } = this.request(options.method ?? 'INVITE');
    const copied = ['Via', 'From', 'Call-ID', 'CSeq']
      .map((name) => `${name}: ${headers.get(name.toLowerCase()) ?? ''}\r\n`)
      .join('');
    const to = `To: ${headers.get('to') ?? ''}${options.method ? '' : `;tag=${options.tag ?? 'b'}`}\r\n`;
    const contact = `Contact: <sip:${options.contact ?? 'bob'}@127.0.0.3:5080>\r\nRecord-Route: <sip:127.0.0.2:5070;lr;n=2>, <sip:127.0.0.9;lr;n=1>\r\n`;
    return `SIP/2.0 ${status} Whatever\r\n${copied}${to}${contact}Content-Type: application/sdp\r\n\r\n${options.body ?? ''}`;
  }

  respond(status: number, options: Parameters<Stack['responseText']>[1] = {}): void {
    this.receive(this.responseText(status, options));
  }

  receive(text: string): void {
    this.transport.onMessage(parseMessage(Buffer.from(text, 'latin1')), {
      transport: 'udp',
      address: '127.0.0.2',
      port: 5070,
    });
  }

  async until(condition: () => boolean): Promise<void> {
    const end = Date.now() + 5_000;
    while (!condition()) {
      if (Date.now() > end)
        throw new Error(`in vain; sent ${this.sent.join(' ')}, told ${this.told.join(' ')}`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  close(): void {
    this.leg.end({ cause: 'NORMAL_CLEARING' });
    this.transactions.stop();
    expect(this.errors).to.deep.equal([]);
  }
}

/** Timers that do not fire in a test. */
const SLOW = { t1: 60_000, t2: 60_000, t4: 60_000 };

describe('embedded: a call that is placed', () => {
  it('is one INVITE with an offer, whatever the names are', async () => {
    const s = new Stack('udp', SLOW);
    await s.leg.call();
    const invite = s.request('INVITE');
    expect(invite.uri).to.equal('sip:leg@127.0.0.2:5070');
    expect(invite.headers.get('from')).to.match(/^"A B" <sip:\+49%2030%3Btag%3Dx%3E@127\.0\.0\.1>;tag=\w+$/);
    expect(invite.headers.get('x-mv-call-id')).to.equal('call_1');
    expect(invite.body.toString()).to.match(/m=audio \d+ RTP\/AVP 8 0 101\r\n/);
    s.close();
  });

  it('is repeated ever more slowly until nobody answers, over UDP', async () => {
    const s = new Stack();
    await s.leg.call();
    await s.until(() => s.told.length > 0);
    expect(s.told).to.deep.equal(['refused 408']);
    // At 0, 1, 3, 7, 15, 31 and 63 times T1; a busy machine may be late and lose some.
    expect(s.sent.length).to.be.within(3, 7);
    expect(s.transactions.size).to.equal(0);
    s.close();
  });

  it('is not repeated over TCP, and not after a first response', async () => {
    const tcp = new Stack('tcp');
    await tcp.leg.call();
    await tcp.until(() => tcp.told.length > 0);
    expect(tcp.sent).to.deep.equal(['INVITE']);
    tcp.close();
    const udp = new Stack();
    await udp.leg.call();
    udp.respond(100);
    const sent = udp.sent.length;
    await new Promise((resolve) => setTimeout(resolve, 20 * T1));
    expect(udp.sent.length).to.equal(sent);
    expect(udp.told).to.deep.equal([]);
    udp.close();
  });

  it('acknowledges a refusal as often as it comes, and tells of it once', async () => {
    const s = new Stack('udp', SLOW);
    await s.leg.call();
    s.respond(180);
    for (let i = 0; i < 3; i++) s.respond(486);
    expect(s.sent).to.deep.equal(['INVITE', 'ACK', 'ACK', 'ACK']);
    expect(s.told).to.deep.equal(['ringing', 'refused 486']);
    const [invite, ack] = [s.request('INVITE'), s.request('ACK')];
    expect(ack.headers.get('via')).to.equal(invite.headers.get('via'));
    expect(ack.headers.get('cseq')).to.equal(invite.headers.get('cseq')?.replace('INVITE', 'ACK'));
    expect(ack.headers.get('to')).to.match(/;tag=b$/);
    s.close();
  });

  it('acknowledges each copy of a 200 along the route set, and ends by BYE', async () => {
    const s = new Stack('udp', SLOW);
    await s.leg.call();
    for (let i = 0; i < 2; i++) s.respond(200, { body: SDP });
    expect(s.told).to.deep.equal(['answered']);
    expect(s.sent).to.deep.equal(['INVITE', 'ACK', 'ACK']);
    const ack = s.request('ACK');
    expect(ack.uri).to.equal('sip:bob@127.0.0.3:5080');
    expect(ack.headers.all('route')).to.deep.equal(['<sip:127.0.0.9;lr;n=1>', '<sip:127.0.0.2:5070;lr;n=2>']);
    expect(ack.headers.get('via')).not.to.equal(s.request('INVITE').headers.get('via'));
    expect(s.leg.end({ cause: 'NORMAL_CLEARING' })).to.equal('send_bye');
    expect(s.sent.at(-1)).to.equal('BYE');
    const number = (method: string): number => parseInt(s.request(method).headers.get('cseq') ?? '', 10);
    expect(number('BYE')).to.equal(number('INVITE') + 1);
    s.close();
  });

  it('lets another end that answers as well know that it is too late', async () => {
    const s = new Stack('udp', SLOW);
    await s.leg.call();
    s.respond(200, { body: SDP });
    for (let i = 0; i < 2; i++) s.respond(200, { body: SDP, tag: 'other', contact: 'carl' });
    expect(s.sent).to.deep.equal(['INVITE', 'ACK', 'ACK', 'BYE', 'ACK']);
    expect(s.request('BYE').uri).to.equal('sip:carl@127.0.0.3:5080');
    expect(s.told).to.deep.equal(['answered']);
    s.close();
  });

  it('cancels only what has shown a sign of life, and says goodbye to an answer that crosses it', async () => {
    const s = new Stack('udp', SLOW);
    await s.leg.call();
    expect(s.leg.end({ cause: 'ORIGINATOR_CANCEL' })).to.equal('send_cancel');
    expect(s.sent).to.deep.equal(['INVITE']);
    s.respond(100);
    expect(s.sent).to.deep.equal(['INVITE', 'CANCEL']);
    expect(s.request('CANCEL').headers.get('via')).to.equal(s.request('INVITE').headers.get('via'));
    s.respond(200, { body: SDP });
    expect(s.sent).to.deep.equal(['INVITE', 'CANCEL', 'ACK', 'BYE']);
    expect(s.told).to.deep.equal([]);
    s.close();
  });

  it('ends an answer in which there is no audio for us', async () => {
    for (const body of ['', 'v=0\r\n', SDP.replace('0 101', '9 101')]) {
      const s = new Stack('udp', SLOW);
      await s.leg.call();
      s.respond(200, { body });
      expect(s.told).to.deep.equal(['no-codec']);
      s.leg.end({ cause: 'INCOMPATIBLE_DESTINATION' });
      expect(s.sent).to.deep.equal(['INVITE', 'ACK', 'BYE']);
      s.close();
    }
  });

  it('takes the audio of a 183 for an answer that has none', async () => {
    const s = new Stack('udp', SLOW);
    await s.leg.call();
    s.respond(183, { body: SDP });
    s.respond(200);
    expect(s.told).to.deep.equal(['early', 'answered']);
    s.close();
  });

  it('forgets every transaction in time', async () => {
    for (const status of [200, 486]) {
      const s = new Stack();
      await s.leg.call();
      s.respond(status, { body: SDP });
      s.leg.end({ cause: 'NORMAL_CLEARING' });
      await s.until(() => s.transactions.size === 0);
      s.close();
    }
  });

  it('survives any damage to any response', async () => {
    const s = new Stack('udp', SLOW);
    await s.leg.call();
    const texts = [
      s.responseText(100),
      s.responseText(183, { body: SDP }),
      s.responseText(200, { body: SDP }),
      s.responseText(486),
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(...texts),
        fc.array(fc.tuple(fc.nat(900), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 8 }),
        (text, damage) => {
          const bytes = Buffer.from(text, 'latin1');
          for (const [at, value] of damage) bytes[at % bytes.length] = value;
          try {
            s.receive(bytes.toString('latin1'));
          } catch (error) {
            if (!(error instanceof SipSyntaxError)) throw error;
          }
        },
      ),
      { numRuns: 500 },
    );
    s.close();
  });
});

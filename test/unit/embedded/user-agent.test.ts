import { expect } from 'chai';
import fc from 'fast-check';
import { pino } from 'pino';
import { AccessList } from '../../../freeswitch/embedded/access-list.ts';
import { InboundLeg } from '../../../freeswitch/embedded/channel/inbound-leg.ts';
import { FrameClock } from '../../../freeswitch/embedded/rtp/clock.ts';
import { PortRange } from '../../../freeswitch/embedded/rtp/ports.ts';
import { parseMessage, SipSyntaxError } from '../../../freeswitch/embedded/sip/message.ts';
import type { ServerTransaction } from '../../../freeswitch/embedded/sip/server-transaction.ts';
import { Transactions } from '../../../freeswitch/embedded/sip/transactions.ts';
import type { Peer } from '../../../freeswitch/embedded/sip/transport.ts';
import { UserAgent } from '../../../freeswitch/embedded/sip/user-agent.ts';
import { FakeTransport } from './fake-transport.ts';

const PEER: Peer = { transport: 'udp', address: '10.0.0.2', port: 5060 };

interface Stack {
  transport: FakeTransport;
  transactions: Transactions;
  invites: ServerTransaction[];
  legs: InboundLeg[];
  errors: unknown[];
  receive(text: string, peer?: Peer): void;
  statuses(): number[];
}

function stack(takeCalls: boolean = false): Stack {
  const errors: unknown[] = [];
  const log = pino({ level: 'error' }, { write: (line: string) => void errors.push(line) });
  const transport = new FakeTransport('10.0.0.1', 5060, log);
  const transactions = new Transactions(transport, { t1: 5, t2: 20, t4: 25 }, log);
  const ua = new UserAgent(transactions, new AccessList(['10.0.0.0/8']), log);
  const invites: ServerTransaction[] = [];
  const legs: InboundLeg[] = [];
  const resources = { ip: '127.0.0.1', ports: new PortRange(1, 0), clock: new FrameClock(() => {}) };
  ua.onInvite = (transaction) => {
    invites.push(transaction);
    if (!takeCalls) return;
    const leg = new InboundLeg(transaction, ua, resources);
    leg.listen({
      onRemoteEnd: () => leg.end({ cause: 'NORMAL_CLEARING' }),
      onDigit: () => {},
      onMediaChanged: () => {},
    });
    leg.trying();
    leg.ringing();
    legs.push(leg);
  };
  return {
    transport,
    transactions,
    invites,
    legs,
    errors,
    receive: (text, peer = PEER) =>
      transport.onMessage(parseMessage(Buffer.from(text.replaceAll('\n', '\r\n'), 'latin1')), peer),
    statuses: () => transport.sent.map(({ message }) => (message.kind === 'response' ? message.status : 0)),
  };
}

function request(
  method: string,
  options: { branch?: string; cseq?: number; toTag?: string; via?: string; callId?: string } = {},
): string {
  const {
    branch = 'z9hG4bK1',
    cseq = 1,
    toTag,
    via = `SIP/2.0/UDP 10.0.0.2;branch=${branch}`,
    callId = 'c1',
  } = options;
  return `${method} sip:x@10.0.0.1 SIP/2.0\nVia: ${via}\nFrom: <sip:a@10.0.0.2>;tag=f\nTo: <sip:x@10.0.0.1>${toTag ? `;tag=${toTag}` : ''}\nCall-ID: ${callId}\nCSeq: ${cseq} ${method}\nContact: <sip:a@10.0.0.2>\nMax-Forwards: 70\n\n`;
}

describe('embedded: SIP user agent', () => {
  it('answers where the request came from, or where its Via says, by what the Via asks for', () => {
    const s = stack();
    const from: Peer = { transport: 'udp', address: '10.0.0.9', port: 40_000 };
    s.receive(request('OPTIONS', { via: 'SIP/2.0/UDP 10.0.0.2:7000;branch=z9hG4bKa' }), from);
    s.receive(request('OPTIONS', { via: 'SIP/2.0/UDP 10.0.0.2:7000;branch=z9hG4bKb;rport' }), from);
    s.receive(request('OPTIONS', { via: 'SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKc' }), from);
    expect(s.transport.sent.map(({ peer }) => `${peer.address}:${peer.port}`)).to.deep.equal([
      '10.0.0.9:7000',
      '10.0.0.9:40000',
      '10.0.0.9:5060',
    ]);
    s.transactions.stop();
  });

  it('gives a repeated request its answer again and does not work on it twice', () => {
    const s = stack();
    for (let i = 0; i < 3; i++) s.receive(request('REGISTER'));
    expect(s.statuses()).to.deep.equal([405, 405, 405]);
    const tags = new Set(s.transport.sent.map(({ message }) => message.headers.get('to')));
    expect(tags.size).to.equal(1);
    s.transactions.stop();
  });

  it('takes one INVITE that came two ways as one call', () => {
    const s = stack(true);
    s.receive(request('INVITE', { branch: 'z9hG4bK1' }));
    s.receive(request('INVITE', { branch: 'z9hG4bK2' }));
    expect(s.legs).to.have.length(1);
    expect(s.statuses()).to.deep.equal([100, 180, 482]);
    s.transactions.stop();
  });

  it('ends an early call by BYE as by CANCEL, with 487', () => {
    const s = stack(true);
    s.receive(request('INVITE'));
    const toTag = s.legs[0]?.dialog.localTag;
    s.receive(request('BYE', { branch: 'z9hG4bK2', cseq: 2, toTag }));
    expect(s.statuses()).to.deep.equal([100, 180, 200, 487]);
    s.receive(request('BYE', { branch: 'z9hG4bK3', cseq: 3, toTag }));
    expect(s.statuses().at(-1)).to.equal(481);
    s.transactions.stop();
  });

  it('forgets every transaction in time', async () => {
    const s = stack(true);
    s.receive(request('INVITE'));
    s.receive(request('CANCEL'));
    s.receive(request('REGISTER', { branch: 'z9hG4bK9', callId: 'c9' }));
    expect(s.transactions.size).to.equal(3);
    const end = Date.now() + 5_000;
    while (s.transactions.size > 0 && Date.now() < end)
      await new Promise((resolve) => setTimeout(resolve, 20));
    expect(s.transactions.size).to.equal(0);
    // Meanwhile the refusal was repeated, since nobody acknowledged it.
    expect(s.statuses().filter((status) => status === 487).length).to.be.above(2);
  });

  it('survives any damage to any message of a call', () => {
    const s = stack(true);
    let calls = 0;
    const method = fc.constantFrom('INVITE', 'ACK', 'BYE', 'CANCEL', 'UPDATE', 'INFO', 'OPTIONS', 'PRACK');
    fc.assert(
      fc.property(
        fc.array(fc.tuple(method, fc.nat(400), fc.string({ maxLength: 12 }), fc.nat(12), fc.boolean()), {
          maxLength: 6,
        }),
        (steps) => {
          const callId = `fuzz${calls++}`;
          s.receive(request('INVITE', { callId, branch: `z9hG4bK${callId}` }));
          const toTag = s.legs.at(-1)?.dialog.localTag;
          for (const [index, [name, at, insert, remove, inDialog]] of steps.entries()) {
            const good = request(name, {
              callId,
              branch: `z9hG4bK${callId}${index}`,
              cseq: index + 2,
              toTag: inDialog ? toTag : undefined,
            });
            const text = good.slice(0, at) + insert + good.slice(at + remove);
            try {
              s.receive(text);
            } catch (error) {
              if (!(error instanceof SipSyntaxError)) throw error;
            }
          }
        },
      ),
      { numRuns: 500 },
    );
    s.transactions.stop();
    expect(s.errors).to.deep.equal([]);
  });
});

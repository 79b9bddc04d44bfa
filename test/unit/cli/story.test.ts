import { expect } from 'chai';
import type { Received } from '../../../examples/simple-ivr/server.ts';
import { print, shortcomings, shortUrl, storyOf, type TimelineEntry } from '../../../cli/demo/story.ts';

const at = (ms: number): string => new Date(Date.UTC(2026, 0, 1) + ms).toISOString();
const timeline: TimelineEntry[] = [
  { at: at(10), kind: 'call.created', from: '+441632960001', to: '+441632960123' },
  {
    at: at(20),
    kind: 'answer_url.requested',
    method: 'GET',
    url: 'http://127.0.0.1:1/choice?attempt=1&call_id=call_1&digits=1',
  },
  { at: at(40), kind: 'action.started', action: 'say', text: 'Hello.' },
  { at: at(45), kind: 'action.ended', action: 'say' },
  { at: at(50), kind: 'webhook.attempted', event: 'call.created', status: 200 },
  { at: at(55), kind: 'webhook.attempted', event: 'call.answered', status: 500 },
  { at: at(60), kind: 'call.gathered', digits: '1', status: 'completed' },
  { at: at(70), kind: 'something.new', detail: 'x' },
];
const webhook = (event: string, extra: Partial<Received> = {}): Received => ({
  at: at(52),
  kind: 'webhook',
  verified: true,
  call_id: 'call_1',
  event,
  ...extra,
});
const all = ['call.created', 'call.answered', 'call.gathered', 'call.completed'].map((event) =>
  webhook(event),
);

describe("the story of the demo's call", () => {
  it('puts what the three parties know on one clock', () => {
    const lines = storyOf(
      [
        { at: new Date(at(0)), kind: 'sip', what: '→ INVITE' },
        { at: new Date(at(65)), kind: 'heard', what: '"Hello."' },
      ],
      timeline,
      [webhook('call.created')],
    );
    expect(lines.map((line) => `${line.actor}: ${line.text}`)).to.deep.equal([
      'caller: → INVITE',
      "minivoice: decided: +441632960001 → +441632960123 came by a trunk that may, the number is the customer's, a webhook drives it",
      'minivoice: asks the application: GET /choice?attempt=1&digits=1',
      'minivoice: does say "Hello."',
      'app: webhook call.created, signature verified',
      'minivoice: webhook call.answered was not taken: 500',
      'minivoice: gathered "1": completed',
      'caller: hears "Hello."',
      'minivoice: something.new detail="x"',
    ]);
  });

  it('counts seconds from its first line and cuts what is too long', () => {
    const lines = print(
      [
        { at: new Date(at(0)), actor: 'caller', text: 'a' },
        { at: new Date(at(1234)), actor: 'app', text: 'b'.repeat(300) },
      ],
      false,
      50,
    );
    expect(lines[0]).to.equal('   0.000 s  caller     a');
    expect(lines[1])
      .to.match(/^ {3}1\.234 s {2}your app {3}b+…$/)
      .and.to.have.length(50);
  });

  it('shows of an URL what tells something', () => {
    expect(shortUrl('http://x/sales?call_id=1&from=2&digits=1&gather_status=completed')).to.equal(
      '/sales?digits=1&gather_status=completed',
    );
  });

  it('is a success only when everything was heard, gathered, signed and told', () => {
    expect(shortcomings({ status: 'completed' }, true, timeline, all)).to.deep.equal([]);
    expect(shortcomings({ status: 'failed' }, true, timeline, all)).to.deep.equal(['the call is failed']);
    expect(shortcomings({ status: 'completed' }, false, timeline, all)).to.have.length(1);
    expect(shortcomings({ status: 'completed' }, true, [], all)).to.deep.equal(['the key was not gathered']);
    expect(shortcomings({ status: 'completed' }, true, timeline, all.slice(1))).to.deep.equal([
      'no webhook call.created with a valid signature came',
    ]);
    expect(
      shortcomings({ status: 'completed' }, true, timeline, [...all, webhook('x', { verified: false })]),
    ).to.deep.equal(['a request to the application had no valid signature']);
  });
});

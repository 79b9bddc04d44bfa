import { expect } from 'chai';
import { pino } from 'pino';
import type { Application } from '../../../control/applications/schema.ts';
import { Calls, type CallEnding } from '../../../control/calls/calls.ts';
import { Lifecycle } from '../../../control/calls/lifecycle.ts';
import type { Customer } from '../../../control/customers/schema.ts';
import type { Did } from '../../../control/dids/schema.ts';
import { failureOf } from '../../../control/calls/call.ts';
import { Decisions, RouteRequest, type Decision } from '../../../control/edge/decisions.ts';
import { Directory } from '../../../control/directory/directory.ts';
import { PendingCalls } from '../../../control/edge/pending-calls.ts';
import { tablesOf } from '../../../control/edge/tables.ts';
import type { Flows } from '../../../control/flow/flows.ts';
import { ApiError } from '../../../control/lib/errors.ts';
import { Ids } from '../../../control/lib/ids.ts';
import { rtpIdOf } from '../../../control/lib/rtp-id.ts';
import type { Trunk } from '../../../control/trunks/schema.ts';

const times = { createdAt: new Date(0), updatedAt: new Date(0) };
const customer = (id: string, status: Customer['status'] = 'active') =>
  ({
    id,
    name: id,
    status,
    currency: 'EUR',
    limits: { cps: 2, concurrentCalls: 10 },
    spend: {},
    ...times,
  }) as Customer;
const application = (id: string, customerId: string, status: Application['status'] = 'active') =>
  ({
    id,
    customerId,
    name: id,
    status,
    answerUrl: 'https://example.com/answer',
    answerMethod: 'GET',
    webhookSecrets: [],
    ...times,
  }) as unknown as Application;
const did = (number: string, more: Partial<Did>) =>
  ({
    id: `did_${number}`,
    customerId: 'cust_a',
    applicationId: 'app_a',
    number,
    status: 'active',
    routeMode: 'webhook',
    ...times,
    ...more,
  }) as Did;
const trunk = (id: string, more: Partial<Trunk>) =>
  ({ id, name: id, isActive: true, ...times, ...more }) as Trunk;
const source = <T extends { id: string }>(items: T[]) => ({
  loadAll: () => Promise.resolve(items),
  get: (id: string) => Promise.resolve(items.find((item) => item.id === id)),
});

describe('route decisions', () => {
  let directory: Directory;
  let calls: Calls;
  let decisions: Decisions;
  let begun: string[];
  let mediaReady: boolean;
  /** What relayed calls cost to take: nothing, or it comes to this. */
  let asked: CallEnding | undefined;
  let paid: (() => Promise<void>) | undefined;
  let accepting: boolean;
  let dids: Did[];

  beforeEach(async () => {
    begun = [];
    mediaReady = true;
    accepting = true;
    dids = [
      did('+15550001', {}),
      did('+15550002', {
        routeMode: 'sip',
        routeTarget: { sip_uri: ['sip:a@192.0.2.1', 'sip:b@192.0.2.2'] },
      }),
      did('+15550003', { routeMode: 'reject', routeTarget: { sip_code: 486 } }),
      did('+15550004', { customerId: 'cust_suspended' }),
      did('+15550005', { status: 'disabled' }),
      did('+15550006', { applicationId: 'app_disabled' }),
    ];
    directory = new Directory({
      customers: source([customer('cust_a'), customer('cust_b'), customer('cust_suspended', 'suspended')]),
      applications: source([
        application('app_a', 'cust_a'),
        application('app_disabled', 'cust_a', 'disabled'),
      ]),
      dids: source(dids),
      trunks: source([
        trunk('trunk_operator', { inboundIp: '192.0.2.10', country: 'DE' }),
        trunk('trunk_b', { customerId: 'cust_b', inboundIp: '192.0.2.11' }),
        trunk('trunk_off', { isActive: false, inboundIp: '192.0.2.12' }),
        trunk('trunk_outbound', {}),
      ]),
    });
    await directory.load();
    calls = new Calls({
      lifecycle: new Lifecycle(pino({ enabled: false })),
      ids: new Ids(3),
      journal: {
        get accepting() {
          return accepting;
        },
        append: () => undefined,
        onCommit: () => undefined,
      } as never,
      hasWebhook: () => false,
    });
    paid = undefined;
    const admission = {
      costsToTake: () => paid !== undefined,
      admitInbound: () => paid?.() ?? Promise.resolve(),
    };
    asked = undefined;
    decisions = new Decisions({
      directory,
      calls,
      admission,
      endAsked: () => asked,
      instance: 3,
      mediaReady: () => mediaReady,
      flows: { begin: (call: { id: string }) => begun.push(call.id) } as unknown as Flows,
    });
  });
  afterEach(() => decisions.stop());

  const request = (to: string, more: Record<string, string> = {}) => ({
    sip_call_id: `call-to-${to}`,
    from_tag: 'tag',
    from: '+15559999',
    to,
    trunk: 'trunk_operator',
    source: '192.0.2.10:5060',
    ...more,
  });
  const decide = (to: string, more: Record<string, string> = {}): Decision => {
    const decision = decisions.decide(request(to, more));
    if (decision instanceof Promise) throw new Error('it took more than memory');
    return decision;
  };
  const only = () => calls.live()[0];

  it('a webhook number creates a ringing call, sends it to media and asks the answer_url at once', () => {
    const decision = decide('+15550001');
    expect(decision.action).to.equal('media');
    expect(only()).to.include({
      status: 'ringing',
      direction: 'inbound',
      routingTarget: 'app_a',
      trunkId: 'trunk_operator',
      answerUrl: 'https://example.com/answer',
    });
    expect(begun).to.deep.equal([only()?.id]);
    expect(decision)
      .to.have.property('headers')
      .that.matches(
        /^X-MV-Call-ID: call_.*\r\nX-MV-Owner: 3\r\nX-MV-Customer: cust_a\r\nX-MV-Application: app_a\r\nX-MV-From: \+15559999\r\n/,
      );
  });

  it('a caller who is nobody is anonymous', () => {
    void decisions.decide(RouteRequest.parse(request('+15550001', { from: '' })));
    expect(only()?.from).to.equal('anonymous');
  });

  it('a relayed call that costs something waits until it is paid for', async () => {
    paid = () => Promise.resolve();
    expect(await decisions.decide(request('+15550002'))).to.include({ action: 'sip' });
    expect(only()).to.include({ status: 'ringing' });
  });

  it('a relayed call that there is no money for is refused with 480, and one that nobody can check with 503', async () => {
    paid = () => Promise.reject(new ApiError('insufficient_balance'));
    expect(await decisions.decide(request('+15550002'))).to.include({ action: 'reject', code: 480 });
    expect(only()?.failure?.code).to.equal('insufficient_balance');
    paid = () => Promise.reject(new ApiError('service_unavailable'));
    expect(await decisions.decide(request('+15550002'))).to.include({ action: 'reject', code: 503 });
  });

  it('a relayed call that is given up while it is paid for is over', async () => {
    paid = () =>
      Promise.resolve(
        decisions.notice({ event: 'canceled', call: '', sip_call_id: 'call-to-+15550002', from_tag: 'tag' }),
      );
    expect(await decisions.decide(request('+15550002'))).to.include({ action: 'reject', code: 487 });
    expect(only()?.status).to.equal('canceled');
  });

  it('a sip number creates a call and gives its targets in order', () => {
    expect(decide('+15550002')).to.deep.include({
      action: 'sip',
      targets: ['sip:a@192.0.2.1', 'sip:b@192.0.2.2'],
    });
    expect(only()).to.include({ routeMode: 'sip', routingTarget: 'sip:a@192.0.2.1' });
    expect(begun).to.deep.equal([]);
  });

  it('an unknown and a disabled number are 404, a suspended customer 403, and none of them creates a call', () => {
    expect(decide('+15550009')).to.include({ action: 'reject', code: 404 });
    expect(decide('+15550005')).to.include({ action: 'reject', code: 404 });
    expect(decide('+15550004')).to.include({ action: 'reject', code: 403 });
    expect(calls.live()).to.deep.equal([]);
  });

  it("a number on another customer's trunk is as unknown as one that does not exist", () => {
    expect(decide('+15550001', { trunk: 'trunk_b' })).to.deep.equal(
      decide('+15550009', { trunk: 'trunk_b' }),
    );
  });

  it('a number whose application is disabled is temporarily unavailable', () => {
    expect(decide('+15550006')).to.include({ action: 'reject', code: 480 });
  });

  it('without a media node the call is created, failed and refused with 503 and Retry-After', () => {
    mediaReady = false;
    expect(decide('+15550001')).to.deep.include({ action: 'reject', code: 503, retry_after: 5 });
    expect(only()).to.include({ status: 'failed' });
    expect(only()?.failure?.code).to.equal('media_unavailable');
    expect(begun).to.deep.equal([]);
  });

  it('while the database is away, and while draining, calls are refused with 503 and none is created', () => {
    accepting = false;
    expect(decide('+15550001')).to.include({ action: 'reject', code: 503 });
    accepting = true;
    decisions.drain();
    expect(decide('+15550001')).to.include({ action: 'reject', code: 503 });
    expect(calls.live()).to.deep.equal([]);
  });

  it('a caller who cancels before the decision arrives is found by its INVITE', () => {
    decide('+15550001');
    decisions.notice({ event: 'canceled', call: '', sip_call_id: 'call-to-+15550001', from_tag: 'other' });
    expect(only()).to.include({ status: 'ringing' });
    decisions.notice({ event: 'canceled', call: '', sip_call_id: 'call-to-+15550001', from_tag: 'tag' });
    expect(only()).to.include({ status: 'canceled' });
    expect(only()?.hangup).to.deep.equal({ by: 'caller', cause: 'ORIGINATOR_CANCEL', sip_code: 487 });
  });

  it('of two INVITEs with one Call-ID and From tag a cancel ends the one with its branch, decided or not', () => {
    const [one, two] = [
      { sip_call_id: 'forked', branch: 'z9hG4bK1' },
      { sip_call_id: 'forked', branch: 'z9hG4bK2' },
    ];
    decisions.notice({ event: 'canceled', call: '', from_tag: 'tag', ...two });
    decide('+15550001', one);
    decide('+15550002', two);
    expect(calls.live().map(({ to, status }) => `${to} ${status}`)).to.deep.equal([
      '+15550001 ringing',
      '+15550002 canceled',
    ]);
    decisions.notice({ event: 'canceled', call: '', from_tag: 'tag', ...two });
    expect(calls.live()[0]?.status).to.equal('ringing');
    decisions.notice({ event: 'canceled', call: '', from_tag: 'tag', ...one });
    expect(calls.live()[0]?.status).to.equal('canceled');
  });

  it('a cancel that comes before the request for its decision is not lost, and the answer_url is not asked', () => {
    decisions.notice({ event: 'canceled', call: '', sip_call_id: 'call-to-+15550001', from_tag: 'tag' });
    expect(decide('+15550001')).to.include({ action: 'reject', code: 487 });
    expect(only()).to.include({ status: 'canceled' });
    expect(begun).to.deep.equal([]);
    expect(decide('+15550001')).to.include({ action: 'media' });
  });

  it('a call that no media node takes up in time is failed', () => {
    const pending = new PendingCalls(() => now);
    let now = 0;
    pending.add('call_1', 'a', 20_000);
    pending.add('call_2', 'b', 20_000);
    pending.claimed('call_2');
    now = 19_999;
    expect(pending.expired()).to.deep.equal([]);
    now = 20_000;
    expect(pending.expired()).to.deep.equal(['call_1']);
    expect(pending.expired()).to.deep.equal([]);
    pending.remove('call_1');
    expect([pending.find('a'), pending.find('b'), pending.size]).to.deep.equal([undefined, 'call_2', 0]);
  });

  it('early cancels are forgotten in time, and are never more than a bound', () => {
    let now = 0;
    const pending = new PendingCalls(() => now);
    const ending = { hangup: { by: 'caller', cause: 'ORIGINATOR_CANCEL' } } as const;
    for (let i = 0; i < 10_001; i++) pending.endedEarly(`key ${i}`, ending);
    expect(pending.endedBefore('key 0')).to.equal(undefined);
    expect(pending.endedBefore('key 10000')).to.equal(ending);
    now = 30_000;
    expect(pending.endedBefore('key 9999')).to.equal(undefined);
  });

  it('a relayed call follows what kamailio tells: answered, then ended by who hung up', () => {
    decide('+15550002');
    const call = only();
    decisions.notice({ event: 'answered', call: call?.id ?? '', sip_call_id: '', from_tag: '' });
    expect(call?.status).to.equal('in_progress');
    decisions.notice({ event: 'ended', call: call?.id ?? '', sip_call_id: '', from_tag: '', by: 'callee' });
    expect(call?.status).to.equal('completed');
    expect(call?.hangup?.by).to.equal('callee');
  });

  it('a relayed call that the API hangs up says so', () => {
    decide('+15550002');
    const call = only();
    decisions.notice({ event: 'answered', call: call?.id ?? '', sip_call_id: '', from_tag: '' });
    asked = { hangup: { by: 'api', cause: 'NORMAL_CLEARING' } };
    decisions.notice({ event: 'ended', call: call?.id ?? '', sip_call_id: '', from_tag: '', by: 'platform' });
    expect(call?.hangup?.by).to.equal('api');
  });

  it('a relayed call whose end is told after a restart of kamailio was ended by whose tag it is', () => {
    for (const [tag, by] of [
      ['a', 'caller'],
      ['b', 'callee'],
    ] as const) {
      const decision = decide('+15550002', { from_tag: tag });
      const id = decision.action === 'sip' ? decision.call : '';
      decisions.notice({
        event: 'answered',
        call: id,
        sip_call_id: 'x',
        from_tag: 'a',
        to_tag: 'b',
        to_caller: 'sip:mv.1@edge',
        to_callee: 'sip:mv.2@edge',
        caller_routes: '',
        callee_routes: '<sip:proxy;lr>',
      });
      expect(calls.get(id)?.farEnds).to.deep.equal([
        { sipCallId: 'x', fromTag: 'b', toTag: 'a', contact: 'sip:mv.1@edge', routes: '' },
        { sipCallId: 'x', fromTag: 'a', toTag: 'b', contact: 'sip:mv.2@edge', routes: '<sip:proxy;lr>' },
      ]);
      decisions.notice({ event: 'ended', call: id, sip_call_id: 'x', from_tag: tag, by: 'side' });
      expect(calls.get(id)?.hangup?.by).to.equal(by);
    }
  });

  it('the audio of a call that kamailio has relayed without its decision is known by another id than its own', () => {
    decide('+15550002');
    const id = only()?.id ?? '';
    const reached = { to_tag: 'b', to_caller: 'sip:mv.1@edge', to_callee: 'sip:mv.2@edge', rtp_id: 'edge-1' };
    decisions.notice({ event: 'answered', call: '', ...request('+15550002'), ...reached });
    const call = calls.get(id);
    expect(call && rtpIdOf(call, '')).to.equal('edge-1');
    decide('+15550002', { from_tag: 'other' });
    const decided = calls.live().find((one) => one.id !== id);
    decisions.notice({
      event: 'answered',
      call: decided?.id ?? '',
      ...request('+15550002', { from_tag: 'other' }),
      ...reached,
      rtp_id: decided?.id,
    });
    expect(decided && rtpIdOf(decided, '')).to.equal(decided?.id);
  });

  it('a call that kamailio has refused because nothing was said in time is over in the books, whichever of the two is read first', () => {
    decide('+15550002');
    decisions.notice({ event: 'undecided', call: '', ...request('+15550002') });
    expect(decide('+15550001')).to.include({ action: 'media' });
    decisions.notice({ event: 'undecided', call: '', ...request('+15550001', { from_tag: 'later' }) });
    expect(decide('+15550001', { from_tag: 'later' })).to.include({ action: 'reject', code: 487 });
    const ended = calls.live().filter(({ status }) => status === 'failed');
    expect(ended.map(({ failure, hangup }) => [failure?.code, hangup?.sip_code])).to.deep.equal([
      ['internal_error', 503],
      ['internal_error', 503],
    ]);
  });

  it('a relayed call whose money cannot be held in time is refused before kamailio has given it up', async () => {
    paid = () => new Promise(() => undefined);
    const began = performance.now();
    expect(await decisions.decide(request('+15550002'))).to.include({ action: 'reject', code: 503 });
    expect(performance.now() - began).to.be.below(2000);
    expect(only()).to.include({ status: 'failed' });
  });

  it('a relayed call that fails says why', () => {
    decide('+15550002');
    decisions.notice({
      event: 'failed',
      call: only()?.id ?? '',
      sip_call_id: '',
      from_tag: '',
      code: 486,
      reason: 'Busy Here',
    });
    expect(only()?.failure).to.deep.equal({
      code: 'busy',
      message: 'the destination answered 486 Busy Here',
    });
    expect(only()?.hangup?.sip_code).to.equal(486);
  });

  it('a call whose caller offers nothing that can be had is rejected, not for want of a media node', () => {
    decide('+15550001');
    decisions.notice({
      event: 'failed',
      call: only()?.id ?? '',
      sip_call_id: '',
      from_tag: '',
      by: 'caller',
      code: 488,
      reason: 'Not Acceptable Here',
    });
    expect(only()).to.include({ status: 'failed' });
    expect(only()?.hangup).to.deep.equal({
      by: 'platform',
      cause: 'INCOMPATIBLE_DESTINATION',
      sip_code: 488,
    });
    expect(only()?.failure).to.deep.include({ code: 'rejected' });
    expect(only()?.failure?.message).to.contain('488 Not Acceptable Here');
  });

  it('a relayed call that failed for want of rtpengine is no fault of its destination', () => {
    decide('+15550002');
    decisions.notice({
      event: 'failed',
      call: only()?.id ?? '',
      sip_call_id: '',
      from_tag: '',
      by: 'platform',
      code: 503,
      reason: 'Service Unavailable',
    });
    expect(only()?.hangup).to.deep.equal({ by: 'platform', cause: 'Service Unavailable', sip_code: 503 });
    expect(only()?.failure).to.deep.equal({
      code: 'media_unavailable',
      message: 'no audio can be had for the call',
    });
  });

  it('a relayed call that is redirected ends and says so: nobody goes where nobody has agreed to go', () => {
    decide('+15550002');
    decisions.notice({
      event: 'failed',
      call: only()?.id ?? '',
      sip_call_id: '',
      from_tag: '',
      code: 302,
      reason: 'Moved Temporarily',
    });
    expect(only()?.failure).to.deep.equal({
      code: 'unreachable',
      message: 'the destination answered 302 Moved Temporarily, and redirections are not followed',
    });
  });

  it('a call whose INVITE no node takes, for what is in it, fails at once by that', () => {
    decide('+15550001');
    const reason = 'Session Interval Too Small';
    decisions.notice({
      event: 'failed',
      call: only()?.id ?? '',
      sip_call_id: '',
      from_tag: '',
      code: 422,
      reason,
      by: 'platform',
    });
    expect(only()).to.have.property('hangup').that.includes({ by: 'platform', sip_code: 422 });
    expect(only()?.failure).to.deep.equal({
      code: 'rejected',
      message: `no media node takes such an INVITE: 422 ${reason}`,
    });
  });

  it('a notice of a call nobody knows is ignored', () => {
    decisions.notice({
      event: 'ended',
      call: 'call_unknown',
      sip_call_id: 'call-to-+15550001',
      from_tag: 'tag',
    });
    expect(only()).to.equal(undefined);
  });

  it('header values cannot be broken out of', async () => {
    const { RouteRequest } = await import('../../../control/edge/decisions.ts');
    const request = RouteRequest.parse({
      sip_call_id: 'x',
      from_tag: 't',
      from: 'a\r\nX-Evil: 1',
      to: '+15550001',
      trunk: 'trunk_operator',
      source: 's',
    });
    const decision = decisions.decide(request);
    expect(decision)
      .to.have.property('headers')
      .that.does.not.match(/\nX-Evil/);
  });

  for (const [code, failure] of [
    [486, 'busy'],
    [600, 'busy'],
    [480, 'no_answer'],
    [408, 'no_answer'],
    [603, 'rejected'],
    [404, 'invalid_number'],
    [503, 'congestion'],
    [500, 'unreachable'],
  ] as const) {
    it(`a final ${code} is ${failure}`, () => expect(failureOf(code)).to.equal(failure));
  }

  describe("kamailio's tables", () => {
    it('hold each number with its mode and owner, and leave disabled ones out', () => {
      expect(Object.fromEntries(tablesOf(directory, 'token').dids)).to.deep.equal({
        '+15550001': 'w;cust_a;',
        '+15550002': 's;cust_a;',
        '+15550003': 'r;cust_a;486',
        '+15550004': 'x;cust_suspended;',
        '+15550006': 'w;cust_a;',
      });
    });

    it('hold the targets of sip numbers for when the control plane is away', () => {
      expect(Object.fromEntries(tablesOf(directory, 'token').sip_targets)).to.deep.equal({
        '+15550002': 'sip:a@192.0.2.1|sip:b@192.0.2.2',
      });
    });

    it('hold the addresses of active trunks with owner and calling code', () => {
      expect(Object.fromEntries(tablesOf(directory, 'token').trunks)).to.deep.equal({
        '192.0.2.10': 'trunk_operator;*;49',
        '192.0.2.11': 'trunk_b;cust_b;',
      });
    });

    it('follow a change of one number', async () => {
      dids[0] = did('+15550001', { routeMode: 'reject' });
      await directory.refresh({ room: 'dids', id: 'did_+15550001' });
      expect(tablesOf(directory, 'token').dids.get('+15550001')).to.equal('r;cust_a;480');
      dids.shift();
      await directory.refresh({ room: 'dids', id: 'did_+15550001' });
      expect(tablesOf(directory, 'token').dids.has('+15550001')).to.equal(false);
    });
  });
});

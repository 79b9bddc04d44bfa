import { expect } from 'chai';
import { pino } from 'pino';
import type { Call } from '../../../control/calls/call.ts';
import { Calls } from '../../../control/calls/calls.ts';
import { Lifecycle } from '../../../control/calls/lifecycle.ts';
import type { Change } from '../../../control/calls/journal.ts';
import { Ids } from '../../../control/lib/ids.ts';

/** A journal that commits when it is told to. */
function journal() {
  const changes: Change[] = [];
  let committed: (batch: readonly Change[]) => void = () => undefined;
  return {
    changes,
    accepting: true,
    append: (change: Change) => void changes.push(change),
    onCommit: (listener: typeof committed) => void (committed = listener),
    commit: () => committed(changes.splice(0)),
  };
}

describe('calls', () => {
  let log: ReturnType<typeof journal>;
  let calls: Calls;
  let call: Call;

  beforeEach(() => {
    log = journal();
    calls = new Calls({
      lifecycle: new Lifecycle(pino({ enabled: false })),
      ids: new Ids(0),
      journal: log as never,
      hasWebhook: () => true,
    });
    call = calls.createInbound({
      customerId: 'cust_1',
      applicationId: 'app_1',
      from: '+15551230001',
      to: '+15551230002',
      routeMode: 'webhook',
      routingTarget: 'app_1',
      sipCallId: 'a@b',
    });
  });

  const events = () => log.changes.flatMap((change) => change.outbox);

  it('a state change and its event are one change', () => {
    calls.answered(call);
    const [created, answered] = log.changes;
    expect(created?.call.status).to.equal('ringing');
    expect(created?.outbox.map((row) => row.event)).to.deep.equal(['call.created']);
    expect(answered?.call.status).to.equal('in_progress');
    expect(answered?.outbox.map((row) => row.event)).to.deep.equal(['call.answered']);
  });

  it('a call answered and hung up by the caller is completed, and its terminal event says who and how long', () => {
    calls.answered(call, new Date(call.createdAt.getTime() + 1000));
    calls.end(call, {
      hangup: { by: 'caller', cause: 'NORMAL_CLEARING' },
      at: new Date(call.createdAt.getTime() + 4200),
    });
    const body = JSON.parse(events().at(-1)?.body ?? '') as {
      event: string;
      call: { status: string };
      data: Record<string, unknown>;
    };
    expect(body.event).to.equal('call.completed');
    expect(body.call.status).to.equal('completed');
    expect(body.data).to.include({
      duration_seconds: 5,
      billsec_seconds: 4,
      event_key: `${call.id}:call.completed`,
    });
    expect(body.data.hangup).to.deep.equal({ by: 'caller', cause: 'NORMAL_CLEARING' });
  });

  it('a call that ends before the answer is canceled', () => {
    calls.end(call, { hangup: { by: 'caller', cause: 'ORIGINATOR_CANCEL', sip_code: 487 } });
    expect(call.status).to.equal('canceled');
    expect(call.answeredAt).to.equal(undefined);
  });

  it('a call whose answer never reached its caller is canceled, and was not answered', () => {
    calls.answered(call);
    calls.end(call, {
      hangup: { by: 'caller', cause: 'ORIGINATOR_CANCEL', sip_code: 487 },
      answerTakenBack: true,
    });
    const {
      event,
      call: shown,
      data,
    } = JSON.parse(events().at(-1)?.body ?? '') as {
      event: string;
      call: { status: string };
      data: Record<string, unknown>;
    };
    expect([event, shown.status]).to.deep.equal(['call.canceled', 'canceled']);
    expect(data).to.include({ billsec_seconds: 0 });
    expect(log.changes.at(-1)?.call.answeredAt).to.equal(undefined);
  });

  it('a failure makes an answered call failed and is told with its code', () => {
    calls.answered(call);
    calls.end(call, {
      hangup: { by: 'platform', cause: 'MEDIA_NODE_LOST', sip_code: 500 },
      failure: { code: 'media_unavailable', message: 'lost' },
    });
    const body = JSON.parse(events().at(-1)?.body ?? '') as { event: string; data: Record<string, unknown> };
    expect(body.event).to.equal('call.failed');
    expect(body.data).to.include({ code: 'media_unavailable', message: 'lost', sip_code: 500 });
  });

  it('a terminal call never changes and emits nothing more', () => {
    calls.end(call, { hangup: { by: 'caller', cause: 'ORIGINATOR_CANCEL' } });
    const before = log.changes.length;
    calls.end(call, { hangup: { by: 'api', cause: 'NORMAL_CLEARING' } });
    calls.answered(call);
    expect(call.status).to.equal('canceled');
    expect(log.changes.length).to.equal(before);
  });

  it('events of one call are numbered in order, and a repeated kind gets its own key', () => {
    calls.answered(call);
    calls.gathered(call, { digits: '1' });
    calls.gathered(call, { digits: '2' });
    expect(events().map((row) => row.seq)).to.deep.equal([1, 2, 3, 4]);
    expect(
      events().map((row) => (JSON.parse(row.body) as { data: { event_key: string } }).data.event_key),
    ).to.deep.equal([
      `${call.id}:call.created`,
      `${call.id}:call.answered`,
      `${call.id}:call.gathered`,
      `${call.id}:call.gathered:2`,
    ]);
  });

  it('what is written is the state at the time of the change, whatever happens before the commit', () => {
    calls.setVariable(call, 'a', '1');
    calls.setVariable(call, 'a', '2');
    expect(log.changes.map((change) => change.call.variables.a)).to.deep.equal([undefined, '1', '2']);
  });

  it('an ended call is readable from memory until it is in the database', () => {
    calls.end(call, { hangup: { by: 'caller', cause: 'ORIGINATOR_CANCEL' } });
    expect(calls.get(call.id)).to.equal(call);
    log.commit();
    expect(calls.get(call.id)).to.equal(undefined);
  });
});

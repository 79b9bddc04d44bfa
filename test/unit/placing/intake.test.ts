import { expect } from 'chai';
import { pino } from 'pino';
import type { Call } from '../../../control/calls/call.ts';
import { Calls } from '../../../control/calls/calls.ts';
import { Lifecycle } from '../../../control/calls/lifecycle.ts';
import { Flows } from '../../../control/flow/flows.ts';
import { Intake } from '../../../control/placing/intake.ts';
import { deferred } from '../../../control/lib/deferred.ts';
import { Ids } from '../../../control/lib/ids.ts';
import type { Media, ParkedChannel } from '../../../control/media/media.ts';
import { FakeChannel } from '../flow/fake-channel.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('parked channels and their calls', () => {
  let calls: Calls;
  let onParked: (parked: ParkedChannel) => void;
  let reconciled: ReturnType<typeof deferred<void>>;
  let stored: Call[];
  let here: Set<string>;

  beforeEach(() => {
    stored = [];
    here = new Set();
    reconciled = deferred<void>();
    calls = new Calls({
      lifecycle: new Lifecycle(pino({ enabled: false })),
      ids: new Ids(1),
      journal: { accepting: true, append: () => undefined, onCommit: () => undefined } as never,
      hasWebhook: () => false,
    });
  });

  const start = async (): Promise<void> => {
    const flows = new Flows({
      calls,
      states: {
        save: () => undefined,
        load: () => Promise.resolve(undefined),
        forget: () => undefined,
      } as never,
      ask: ({ signal }) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted')))),
      answerMethodOf: () => 'GET',
      speak: () => Promise.resolve('/a.wav'),
      prepare: () => undefined,
      fetchAudio: () => Promise.resolve('/b.wav'),
      admission: { admitInbound: () => Promise.resolve(), moved: () => undefined },
      legs: {
        place: () => Promise.resolve(undefined),
        resumed: () => ({
          routed: () => undefined,
          answered: () => undefined,
          ended: () => undefined,
          gone: () => undefined,
        }),
      },
      recorder: {
        start: () => Promise.resolve(),
        stop: () => Promise.resolve(),
        resumed: () => Promise.resolve(),
      },
      streamer: {
        start: () => Promise.resolve(''),
        stop: () => Promise.resolve(0),
        resumed: () => Promise.resolve(),
      },
      conferences: { stay: () => Promise.resolve('over') },
      logger: pino({ enabled: false }),
    });
    const media = {
      start: (listener: typeof onParked) => {
        onParked = listener;
      },
      reconciled: reconciled.promise,
      mayHave: (uuid: string) => here.has(uuid),
    } as unknown as Media;
    const intake = new Intake({
      calls,
      flows,
      media,
      instance: 1,
      answerUrlOf: () => 'https://example.com/answer',
      adopt: () => Promise.resolve(undefined),
      claim: () => undefined,
      logger: pino({ enabled: false }),
      stored: {
        find: (id) => Promise.resolve(stored.find((call) => call.id === id)),
        unfinished: () => Promise.resolve(stored.filter((call) => !call.endedAt)),
      },
    });
    await intake.start(() => Promise.resolve());
  };
  const headersOf = (call: Pick<Call, 'id'>, more: Record<string, string> = {}) => ({
    'call-id': call.id,
    owner: '1',
    customer: 'cust_1',
    application: 'app_1',
    from: '+1555',
    to: '+1556',
    trunk: 'trunk_1',
    created: '2026-01-01T00:00:00.000Z',
    ...more,
  });
  const park = (
    call: Pick<Call, 'id'>,
    channel = new FakeChannel(),
    more: Record<string, string> = {},
  ): FakeChannel => {
    onParked({
      channel,
      headers: headersOf(call, more),
      dialog: { callId: 'sip-1', fromTag: 'a', toTag: 'b' },
    });
    return channel;
  };
  const create = () =>
    calls.createInbound({
      customerId: 'cust_1',
      applicationId: 'app_1',
      from: '+1555',
      to: '+1556',
      routeMode: 'webhook',
      routingTarget: 'app_1',
      answerUrl: 'https://example.com/answer',
    });

  it('a parked channel belongs to the call that was decided', async () => {
    await start();
    const call = create();
    const channel = park(call);
    await turn();
    expect(call.providerCallId).to.equal(channel.uuid);
  });

  it('a call that never reached the database is rebuilt from what travelled with it', async () => {
    await start();
    park({ id: 'call_20260101T000000.000000100' });
    await turn();
    expect(calls.get('call_20260101T000000.000000100')).to.include({
      customerId: 'cust_1',
      from: '+1555',
      to: '+1556',
      trunkId: 'trunk_1',
      answerUrl: 'https://example.com/answer',
    });
  });

  it('a caller without a number is anonymous in a call that is rebuilt, too', async () => {
    await start();
    const { from: _from, ...headers } = headersOf({ id: 'call_20260101T000000.000000100' });
    onParked({ channel: new FakeChannel(), headers, dialog: { callId: 'sip-1', fromTag: 'a', toTag: 'b' } });
    await turn();
    expect(calls.get('call_20260101T000000.000000100')).to.include({ from: 'anonymous', to: '+1556' });
  });

  it("another control process's channel is left alone", async () => {
    await start();
    const channel = park({ id: 'call_20260101T000000.000000200' }, new FakeChannel(), { owner: '2' });
    await turn();
    expect(calls.live()).to.deep.equal([]);
    expect(channel.asked).to.deep.equal([]);
  });

  it('a second channel of the same call is ended, and the first is not touched', async () => {
    await start();
    const call = create();
    const first = park(call);
    await turn();
    const second = Object.assign(new FakeChannel(), { uuid: 'b0b2d7c4-0000-4000-8000-000000000002' });
    park(call, second);
    await turn();
    expect(second.asked).to.deep.equal(['refuse 480']);
    expect(first.asked).to.deep.equal([]);
    expect([call.status, call.providerCallId]).to.deep.equal(['ringing', first.uuid]);
    second.end({ by: 'node', cause: 'MEDIA_NODE_LOST', at: new Date() });
    await turn();
    expect(call.status).to.equal('ringing');
  });

  it('the channel of a call that is over is ended', async () => {
    await start();
    const call = create();
    calls.end(call, { hangup: { by: 'caller', cause: 'ORIGINATOR_CANCEL' } });
    const channel = park(call);
    await turn();
    expect(channel.asked).to.deep.equal(['refuse 480']);
  });

  it("an earlier life's call whose channel is nowhere is ended, one that is somewhere is not, and other processes' are not touched", async () => {
    const left = (id: string, more: Partial<Call>): Call => ({
      ...create(),
      id,
      providerCallId: `uuid of ${id}`,
      ...more,
    });
    const [gone, unanswered, alive, foreign] = [
      left('call_20260101T000000.000000100', { status: 'in_progress', answeredAt: new Date() }),
      left('call_20260101T000000.000000101', { providerCallId: undefined }),
      left('call_20260101T000000.000000102', { status: 'in_progress' }),
      left('call_20260101T000000.000000200', {}),
    ] as [Call, Call, Call, Call];
    stored = [gone, unanswered, alive, foreign];
    here.add(alive.providerCallId ?? '');
    await start();
    reconciled.resolve();
    await turn();
    expect(stored.map(({ status }) => status)).to.deep.equal([
      'completed',
      'canceled',
      'in_progress',
      'ringing',
    ]);
  });
});

import { expect } from 'chai';
import { pino } from 'pino';
import type { Call } from '../../../control/calls/call.ts';
import { Calls } from '../../../control/calls/calls.ts';
import { Lifecycle } from '../../../control/calls/lifecycle.ts';
import type { Change } from '../../../control/calls/journal.ts';
import { FlowFailure } from '../../../control/flow/action.ts';
import type { FlowServices } from '../../../control/flow/services.ts';
import { Flows } from '../../../control/flow/flows.ts';
import { Outbound, type CallOrder } from '../../../control/placing/outbound.ts';
import { parseActions } from '../../../control/flow/schema.ts';
import { ApiError } from '../../../control/lib/errors.ts';
import { Ids } from '../../../control/lib/ids.ts';
import { deferred } from '../../../control/lib/deferred.ts';
import { MediaError, NodeSilent, type Dialing, type OriginateRequest } from '../../../control/media/media.ts';
import { FakeChannel } from '../flow/fake-channel.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));
const turns = async () => {
  for (let n = 0; n < 10; n++) await turn();
};

describe('an outbound call', () => {
  let calls: Calls;
  let changes: Change[];
  let committed: (changes: Change[]) => void;
  /** Whether the database takes what is written. */
  let storing: boolean;
  let channel: FakeChannel;
  let ringing: ReturnType<typeof deferred<void>>;
  let answered: ReturnType<typeof deferred<boolean>>;
  let trunkId: string | undefined;
  let dialog: { callId: string; fromTag: string; toTag: string };
  let originated: OriginateRequest[];
  let refusal: Error | undefined;
  let answerUrl: string | undefined;
  let asked: string[];
  let recorded: string[];
  let told: string[];
  let audio: boolean;
  let outbound: Outbound;
  let flows: Flows;

  beforeEach(() => {
    changes = [];
    storing = true;
    audio = true;
    channel = new FakeChannel();
    ringing = deferred<void>();
    answered = deferred<boolean>();
    trunkId = undefined;
    dialog = { callId: '', fromTag: '', toTag: '' };
    originated = [];
    refusal = undefined;
    answerUrl = 'https://example.com/answer';
    [asked, recorded, told] = [[], [], []];
    const append = (change: Change): void => {
      changes.push(change);
      if (storing) setImmediate(() => committed([change]));
    };
    calls = new Calls({
      lifecycle: new Lifecycle(pino({ enabled: false })),
      ids: new Ids(0),
      journal: {
        accepting: true,
        append,
        onCommit: (listener: typeof committed) => {
          committed = listener;
        },
      } as never,
      hasWebhook: () => true,
    });
    flows = new Flows({
      calls,
      logger: pino({ enabled: false }),
      states: {
        save: () => undefined,
        load: () => Promise.resolve(undefined),
        forget: () => undefined,
      } as never,
      ask: ({ url }) => {
        asked.push(url);
        return url.includes('broken')
          ? Promise.reject(new FlowFailure('answer_url_error', 'the server answered 500'))
          : Promise.resolve(parseActions({ actions: [{ say: { text: 'hello' } }] }));
      },
      answerMethodOf: () => 'GET',
      speak: (text) => Promise.resolve(`/${text}.wav`),
      prepare: () => undefined,
      fetchAudio: () => Promise.resolve(''),
      admission: {
        admitInbound: () => Promise.reject(new Error('it is not inbound')),
        moved: (_id, leg, trunk) => void told.push(`leg ${leg} over ${trunk}`),
      },
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
        start: (call) => Promise.resolve(void recorded.push(call.status)),
        stop: () => Promise.resolve(),
        resumed: () => Promise.resolve(),
      },
      streamer: {
        start: (_call, _channel, of, { url }) =>
          Promise.resolve(void told.push(`${url} hears ${of.callId} ${of.fromTag} ${of.toTag}`)).then(
            () => '',
          ),
        stop: () => Promise.resolve(0),
        resumed: () => Promise.resolve(),
      },
      conferences: { stay: () => Promise.resolve('over') },
    } satisfies FlowServices);
    outbound = new Outbound({
      ids: new Ids(4),
      calls,
      flows,
      instance: 4,
      allowPrivate: false,
      logger: pino({ enabled: false }),
      admission: {
        admit: () => Promise.resolve([{ id: 'trunk_1' }, { id: 'trunk_2' }]),
        giveBack: () => void told.push('given back'),
      } as never,
      ways: {
        via: (trunks, _call, number) => ({
          uris: trunks.map(({ id }) => `sip:${number}@${id}`),
          from: '+15551230001',
          headers: { 'X-MV-Call-ID': 'it' },
        }),
      },
      applicationOf: () => ({ answerUrl }) as never,
      audioAvailable: () => audio,
      forbid: (id) => Promise.resolve(void told.push(`${id} is given up`)),
      media: {
        originate: (request) => {
          originated.push(request);
          if (refusal) return Promise.reject(refusal);
          return Promise.resolve<Dialing>({
            parked: {
              channel,
              headers: {},
              get dialog() {
                return dialog;
              },
            },
            ringing: ringing.promise,
            answered: answered.promise,
            trunkId: () => trunkId,
          });
        },
      },
    });
  });

  const order = (more: Partial<CallOrder> = {}): CallOrder => ({
    customerId: 'cust_1',
    applicationId: 'app_1',
    from: '+15551230001',
    to: '+15551230002',
    metadata: {},
    ringSeconds: 60,
    ...more,
  });
  /** The call itself, which goes on. */
  const place = async (more: Partial<CallOrder> = {}): Promise<Call> => {
    const placed = await outbound.place(order(more));
    return calls.get(placed.id) ?? placed;
  };
  const answer = async (): Promise<void> => {
    channel.answered = true;
    channel.answeredAt = new Date();
    answered.resolve(true);
    await turns();
  };
  const events = () => changes.flatMap(({ outbox }) => outbox.map(({ event }) => event));
  const codeOf = async (placed: Promise<unknown>): Promise<string> =>
    placed.then(
      () => 'no error',
      (error: unknown) => (error instanceof ApiError ? error.code : String(error)),
    );

  it('is stored before it is dialled, and dialled with all that its channel needs to be known again', async () => {
    const call = await place();
    expect(call).to.include({
      status: 'dialing',
      direction: 'outbound',
      trunkId: 'trunk_1',
      routingTarget: 'app_1',
      answerUrl: 'https://example.com/answer',
    });
    expect(call.dialingAt).to.be.instanceOf(Date);
    expect(originated).to.deep.equal([
      {
        uuid: call.providerCallId,
        uris: ['sip:+15551230002@trunk_1', 'sip:+15551230002@trunk_2'],
        from: '+15551230001',
        ringSeconds: 60,
        headers: { 'X-MV-Call-ID': 'it', 'X-MV-Owner': '4', 'X-MV-Direction': 'outbound' },
      },
    ]);
    expect(changes[0]?.timeline[0]?.kind).to.equal('call.created');
    expect(asked).to.deep.equal([]);
  });

  it('rings, is answered, asks for its instructions then, and runs them', async () => {
    const call = await place();
    ringing.resolve();
    await turns();
    expect(call.status).to.equal('ringing');
    await answer();
    expect(asked).to.deep.equal(['https://example.com/answer']);
    expect(channel.asked).to.deep.equal(['play /hello.wav', 'hangup NORMAL_CLEARING']);
    expect(call).to.include({ status: 'completed' });
    expect(events()).to.deep.equal(['call.created', 'call.ringing', 'call.answered', 'call.completed']);
  });

  it('does what was given with it, and asks nobody', async () => {
    const call = await place({ actions: JSON.stringify({ actions: [{ say: { text: 'given' } }] }) });
    expect(call.answerUrl).to.equal(undefined);
    await answer();
    expect(channel.asked[0]).to.equal('play /given.wav');
    expect(asked).to.deep.equal([]);
  });

  it('has its stream begun in the dialog that its answer has made, which was not there when it was placed', async () => {
    await place({
      actions: JSON.stringify({ actions: [{ start_stream: { stream_url: 'wss://receiver.example/' } }] }),
    });
    dialog = { callId: 'made by the node', fromTag: 'ours', toTag: 'theirs' };
    await answer();
    expect(told[0]).to.equal('wss://receiver.example/ hears made by the node ours theirs');
  });

  it('asks the answer_url that was given with it', async () => {
    await place({ answerUrl: 'https://other.example/answer' });
    await answer();
    expect(asked).to.deep.equal(['https://other.example/answer']);
  });

  it('without instructions, or with an answer_url that must not be asked, is refused before anything is taken', async () => {
    expect(await codeOf(place({ answerUrl: 'http://10.0.0.1/' }))).to.equal('invalid_request');
    answerUrl = undefined;
    expect(await codeOf(place())).to.equal('invalid_request');
    expect(changes).to.deep.equal([]);
  });

  it('whose answer_url fails is hung up, failed', async () => {
    const call = await place({ answerUrl: 'https://broken.example/' });
    await answer();
    expect(channel.asked).to.deep.equal(['hangup NORMAL_TEMPORARY_FAILURE']);
    expect(call.failure?.code).to.equal('answer_url_error');
  });

  it('is recorded from its answer on when that is asked for', async () => {
    await place({ recordFromAnswer: true });
    await turns();
    expect(recorded).to.deep.equal([]);
    await answer();
    expect(recorded).to.deep.equal(['in_progress']);
  });

  it("is not recorded because of its metadata, which are the customer's", async () => {
    const call = await place({ metadata: { record: true } });
    await answer();
    expect([recorded, call.metadata]).to.deep.equal([[], { record: true }]);
  });

  it('is shown as it was placed, dialing, however fast the far end answers', async () => {
    ringing.resolve();
    answered.resolve(true);
    channel.answered = true;
    channel.holdPlaying = true;
    const placed = await outbound.place(order());
    await turns();
    expect(calls.get(placed.id)?.status).to.equal('in_progress');
    expect([placed.status, placed.ringingAt, placed.answeredAt]).to.deep.equal([
      'dialing',
      undefined,
      undefined,
    ]);
  });

  for (const [sipCode, code] of [
    [486, 'busy'],
    [480, 'no_answer'],
    [603, 'rejected'],
    [404, 'invalid_number'],
    [503, 'congestion'],
    [500, 'unreachable'],
  ] as const) {
    it(`that gets ${sipCode} is failed, ${code}, by the callee`, async () => {
      const call = await place();
      channel.end({ by: 'caller', cause: 'WHATEVER', sipCode, at: new Date() });
      answered.resolve(false);
      await turns();
      expect(call.failure?.code).to.equal(code);
      expect(call.hangup).to.deep.equal({ by: 'callee', cause: 'WHATEVER', sip_code: sipCode });
    });
  }

  it('that rings out is failed, no_answer, by the platform', async () => {
    const call = await place();
    channel.end({ by: 'platform', cause: 'NO_ANSWER', at: new Date() });
    answered.resolve(false);
    await turns();
    expect(call.failure?.code).to.equal('no_answer');
    expect(call.hangup?.by).to.equal('platform');
  });

  it('hung up through the API before its answer is canceled, and its leg too', async () => {
    const call = await place();
    await flows.get(call.id)?.hangup();
    answered.resolve(false);
    await turns();
    expect(channel.asked).to.deep.equal(['hangup ORIGINATOR_CANCEL']);
    expect(call).to.include({ status: 'canceled' });
    expect(call.hangup?.by).to.equal('api');
  });

  it('hung up through the API while it is being stored is never dialled', async () => {
    const placed = place();
    await turn();
    const [call] = calls.live();
    await flows.get(call?.id ?? '')?.hangup();
    expect((await placed).status).to.equal('canceled');
    expect(originated).to.deep.equal([]);
  });

  it('picked up and ended in the same moment was answered', async () => {
    const call = await place();
    channel.answered = true;
    channel.answeredAt = new Date();
    channel.end({ by: 'caller', cause: 'NORMAL_CLEARING', at: new Date() });
    answered.resolve(false);
    await turns();
    expect(call).to.include({ status: 'completed' });
    expect(events()).to.deep.equal(['call.created', 'call.answered', 'call.completed']);
  });

  it('that goes over another trunk than the first says so, and is counted there', async () => {
    const call = await place();
    trunkId = 'trunk_2';
    ringing.resolve();
    await turns();
    expect(call.trunkId).to.equal('trunk_2');
    expect(told).to.deep.equal(['leg 0 over trunk_2']);
  });

  it('that no media node places is told of as failed, and gives everything back', async () => {
    refusal = new MediaError('no media node is connected');
    expect(await codeOf(place())).to.equal('originate_failed');
    expect(told).to.deep.equal(['given back']);
    expect(changes.at(-1)?.call.failure?.code).to.equal('media_unavailable');
  });

  it('that a media node is silent about is given up for good, before that is said', async () => {
    refusal = new NodeSilent('the media node does not say whether it places the call');
    expect(await codeOf(place())).to.equal('originate_failed');
    expect(told).to.deep.equal([`${changes[0]?.call.id} is given up`, 'given back']);
  });

  it('is not placed while there is no rtpengine', async () => {
    audio = false;
    expect(await codeOf(place())).to.equal('service_unavailable');
    expect(changes).to.deep.equal([]);
  });

  it('that Kamailio has no audio for is failed, media_unavailable, by the platform: the carrier was not asked', async () => {
    const call = await place();
    channel.end({ by: 'caller', cause: 'WHATEVER', sipCode: 599, at: new Date() });
    answered.resolve(false);
    await turns();
    expect(call.failure?.code).to.equal('media_unavailable');
    expect(call.hangup).to.deep.equal({ by: 'platform', cause: 'WHATEVER' });
  });

  it('is not placed while the process ends', async () => {
    outbound.drain();
    expect(await codeOf(place())).to.equal('service_unavailable');
    expect(changes).to.deep.equal([]);
  });

  it('goes on no longer than it may', async () => {
    channel.holdPlaying = true;
    const call = await place({ maxDurationSeconds: 1 });
    channel.answered = true;
    channel.answeredAt = new Date(Date.now() - 990);
    answered.resolve(true);
    await channel.ended;
    await turns();
    expect(channel.asked).to.deep.equal(['play /hello.wav', 'hangup ALLOTTED_TIMEOUT']);
    expect(call).to.include({ status: 'completed' });
    expect(call.hangup?.by).to.equal('platform');
  });
});

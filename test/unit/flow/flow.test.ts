import { expect } from 'chai';
import { pino } from 'pino';
import type { Call } from '../../../control/calls/call.ts';
import { Calls } from '../../../control/calls/calls.ts';
import type { Change } from '../../../control/calls/journal.ts';
import { FlowFailure } from '../../../control/flow/action.ts';
import { Flow, type FlowServices } from '../../../control/flow/flow.ts';
import { parseActions } from '../../../control/flow/schema.ts';
import type { FlowState } from '../../../control/flow/state.ts';
import { ApiError } from '../../../control/lib/errors.ts';
import { deferred } from '../../../control/lib/deferred.ts';
import { Ids } from '../../../control/lib/ids.ts';
import { ChannelGone, MediaError, type ConferenceEnd, type ParkedChannel } from '../../../control/media/media.ts';
import { FakeChannel } from './fake-channel.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Waits until a condition holds; the test's own timeout is its bound. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}

describe('a flow', () => {
  let channel: FakeChannel;
  let call: Call;
  let calls: Calls;
  let changes: Change[];
  let saved: Map<string, FlowState>;
  let answers: Record<string, unknown>;
  /** What was told to those who charge for it. */
  let paid: string[];
  let unpaid: Error | undefined;
  let refusal: Error | undefined;
  let asked: { url: string; method: string; digits?: string }[];

  beforeEach(() => {
    channel = new FakeChannel();
    changes = [];
    saved = new Map();
    asked = [];
    paid = [];
    unpaid = undefined;
    refusal = undefined;
    answers = {};
    calls = new Calls({ ids: new Ids(0), journal: { accepting: true, append: (c: Change) => changes.push(c), onCommit: () => undefined } as never, hasWebhook: () => true });
    call = calls.createInbound({ customerId: 'cust_1', applicationId: 'app_1', from: '+15551230001', to: '+15551230002', routeMode: 'webhook', routingTarget: 'app_1', answerUrl: 'https://example.com/answer' });
  });

  const watch = { routed: (id: string) => void paid.push(`leg over ${id}`), answered: () => void paid.push('leg answered'), ended: () => void paid.push('leg ended'), gone: () => void paid.push('leg gone') };
  const services = (): FlowServices => ({
    calls,
    states: { save: (id: string, state: FlowState) => saved.set(id, structuredClone(state)), load: (id: string) => Promise.resolve(saved.get(id)), forget: (id: string) => saved.delete(id) } as never,
    ask: ({ url, method, gathered }) => {
      asked.push({ url, method, digits: gathered?.digits });
      const answer = answers[url];
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(parseActions({ actions: answer }));
    },
    answerMethodOf: () => 'GET',
    speak: (text) => Promise.resolve(`/prompts/${text}.wav`),
    prepare: () => undefined,
    fetchAudio: (url) => Promise.resolve(`/audio/${encodeURIComponent(url)}`),
    admission: { admitInbound: () => (unpaid ? Promise.reject(unpaid) : Promise.resolve(void paid.push('call'))), moved: (_id, leg, trunkId) => void paid.push(`leg ${leg} over ${trunkId}`) },
    legs: {
      place: (_call, destination, from) => {
        if (refusal) return Promise.reject(refusal);
        return Promise.resolve(destination === '+15550000' ? undefined : { ...watch, route: { uris: [`sip:${destination}@carrier`], from: from ?? '+15551230001', headers: {} } });
      },
      resumed: () => watch,
    },
    recorder: {
      start: () => Promise.resolve(void channel.asked.push('start recording')),
      stop: () => Promise.reject(new Error('recording is not currently started')),
      resumed: () => Promise.resolve(),
    },
    streamer: {
      start: (_call, _channel, _dialog, { url, track }) => (url.includes('refused') ? Promise.reject(new Error('rtpengine does not answer')) : Promise.resolve(`${track} to ${url}`)),
      stop: (_call, { url, track }) => Promise.resolve(url === undefined && track === undefined ? 4 : 1),
      resumed: () => Promise.resolve(),
    },
    conferences: { stay: (_call, on, { room, mute, endOnExit, began, adopted }) => {
      if (!adopted) began();
      return adopted?.finished ?? on.conference(`app_1-${room}`, { mute, endOnExit });
    } },
    logger: pino({ enabled: false }),
  });
  const park = (adopted?: ParkedChannel['adopted']): ParkedChannel => ({ channel, headers: {}, dialog: { callId: '', fromTag: '', toTag: '' }, adopted });
  const run = async (...actions: unknown[]): Promise<void> => {
    answers['https://example.com/answer'] = actions;
    await new Flow(call, services()).run(park());
  };
  const kinds = () => changes.flatMap((change) => change.timeline.map((entry) => entry.kind));
  const gathered = () => changes.flatMap((c) => c.timeline).filter((e) => e.kind === 'call.gathered').map((e) => e.detail);

  it('answers before the first action, plays in order and hangs up at the end of the list', async () => {
    await run({ say: { text: 'one' } }, { type: 'play', url: 'https://example.com/two.wav', loop: 2 }, { pause: { seconds: 2 } });
    const audio = '/audio/https%3A%2F%2Fexample.com%2Ftwo.wav';
    expect(channel.asked).to.deep.equal(['answer', 'play /prompts/one.wav', `play ${audio}`, `play ${audio}`, 'play silence_stream://2000', 'hangup NORMAL_CLEARING']);
    expect(call.status).to.equal('completed');
    expect(call.hangup?.by).to.equal('application');
  });

  it('an empty list of actions answers nothing and refuses with 480', async () => {
    await run();
    expect(channel.asked).to.deep.equal(['refuse 480']);
    expect(call.failure?.code).to.equal('rejected');
  });

  it('a first reject refuses the call unanswered with its code', async () => {
    await run({ reject: { sip_code: 486 } });
    expect(channel.asked).to.deep.equal(['refuse 486']);
    expect(call.status).to.equal('failed');
    expect(call.failure?.code).to.equal('rejected');
  });

  it('a later reject hangs up the answered call', async () => {
    await run({ say: { text: 'no' } }, { reject: {} }, { say: { text: 'never' } });
    expect(channel.asked).to.deep.equal(['answer', 'play /prompts/no.wav', 'hangup CALL_REJECTED']);
    expect(call.status).to.equal('completed');
  });

  it('hangup ends the call and what follows it never runs', async () => {
    await run({ hangup: {} }, { say: { text: 'never' } });
    expect(channel.asked).to.deep.equal(['answer', 'hangup NORMAL_CLEARING']);
  });

  it('an answer_url that fails refuses the unanswered call with 503 and ends it failed', async () => {
    answers['https://example.com/answer'] = new FlowFailure('answer_url_error', 'the server answered 500');
    await new Flow(call, services()).run(park());
    expect(channel.asked).to.deep.equal(['refuse 503']);
    expect(call.status).to.equal('failed');
    expect(call.failure).to.deep.equal({ code: 'answer_url_error', message: 'the server answered 500' });
  });

  it('a redirect that fails hangs the answered call up, failed', async () => {
    answers['https://example.com/next'] = new FlowFailure('answer_url_error', 'the reply is not valid JSON');
    await run({ say: { text: 'one' } }, { redirect: { url: 'https://example.com/next' } });
    expect(channel.asked.at(-1)).to.equal('hangup NORMAL_TEMPORARY_FAILURE');
    expect(call.failure?.code).to.equal('answer_url_error');
  });

  it('a redirect replaces the rest and tells the digits', async () => {
    answers['https://example.com/next'] = [{ say: { text: 'two' } }];
    channel.holdPlaying = false;
    const flow = run({ gather: { num_digits: 2 } }, { redirect: { url: 'https://example.com/next', method: 'POST' } }, { say: { text: 'never' } });
    await until(() => channel.listening);
    channel.press('4', '2');
    await flow;
    expect(asked.at(-1)).to.deep.equal({ url: 'https://example.com/next', method: 'POST', digits: '42' });
    expect(channel.asked).to.deep.equal(['answer', 'play /prompts/two.wav', 'hangup NORMAL_CLEARING']);
  });

  it('redirects stop at their depth', async () => {
    answers['https://example.com/loop'] = [{ redirect: { url: 'https://example.com/loop', max_redirects: 3 } }];
    await run({ redirect: { url: 'https://example.com/loop' } });
    expect(asked.filter(({ url }) => url.endsWith('/loop'))).to.have.length(3);
    expect(call.failure?.code).to.equal('answer_url_error');
  });

  it('a key during the prompt stops it and counts', async () => {
    channel.holdPlaying = true;
    const flow = run({ gather: { prompt: 'menu', num_digits: 1 } });
    await until(() => channel.asked.includes('play /prompts/menu.wav'));
    channel.press('7');
    await flow;
    expect(channel.asked).to.include('stop');
    expect(gathered()).to.deep.equal([{ digits: '7', status: 'completed', timed_out: false, min_digits: 1, max_digits: 1, timeout_seconds: 5, finish_on_key: '#' }]);
    expect(channel.listening).to.equal(false);
  });

  it('the finishing key ends a range and is not a digit', async () => {
    const flow = run({ gather: { max_digits: 6, min_digits: 2 } });
    await until(() => channel.listening);
    channel.press('1', '2', '3', '#');
    await flow;
    expect(gathered()[0]).to.include({ digits: '123', status: 'completed', timed_out: false });
  });

  it('the finishing key before enough digits is too few', async () => {
    const flow = run({ gather: { num_digits: 4 } });
    await until(() => channel.listening);
    channel.press('1', '#');
    await flow;
    expect(gathered()[0]).to.include({ digits: '1', status: 'too_few_digits', timed_out: false });
  });

  it('an empty finish_on_key makes # a digit', async () => {
    const flow = run({ gather: { num_digits: 2, finish_on_key: '' } });
    await until(() => channel.listening);
    channel.press('#', '1');
    await flow;
    expect(gathered()[0]).to.include({ digits: '#1', status: 'completed' });
  });

  it('a key that comes in the same breath as the last one is not counted', async () => {
    const flow = run({ gather: { num_digits: 1 } });
    await until(() => channel.listening);
    channel.press('1', '2');
    await flow;
    expect(gathered()).to.have.length(1);
    expect(gathered()[0]).to.include({ digits: '1', status: 'completed' });
  });

  it('a prompt that the media node cannot play ends the call failed, and is no hang-up', async () => {
    channel.refusePlaying = new MediaError('FILE NOT FOUND');
    await run({ gather: { prompt: 'menu' } });
    expect(gathered()).to.deep.equal([]);
    expect(call.failure?.code).to.equal('media_unavailable');
  });

  it('no key in time is a timeout, and the flow goes on', async () => {
    await run({ gather: { timeout_seconds: 1 } }, { say: { text: 'still there' } });
    expect(gathered()[0]).to.include({ digits: '', status: 'timeout', timed_out: true });
    expect(channel.asked).to.include('play /prompts/still there.wav');
  });

  it('a caller who hangs up in a gather is told of as such', async () => {
    const flow = run({ gather: {} }, { say: { text: 'never' } });
    await until(() => channel.listening);
    channel.callerHangsUp();
    await flow;
    expect(gathered()[0]).to.include({ status: 'hangup' });
    expect(kinds().slice(-3)).to.deep.equal(['call.gathered', 'action.ended', 'call.completed']);
    expect(call.hangup?.by).to.equal('caller');
    expect(channel.listening).to.equal(false);
  });

  it('a caller who hangs up in a prompt completes the call', async () => {
    channel.holdPlaying = true;
    const flow = run({ say: { text: 'long' } }, { say: { text: 'never' } });
    await until(() => channel.asked.length === 2);
    channel.callerHangsUp();
    await flow;
    expect(call.hangup?.by).to.equal('caller');
    expect(kinds()).to.include('action.ended');
  });

  it('a caller who gives up while the answer_url is asked cancels the call', async () => {
    const flow = new Flow(call, { ...services(), ask: ({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted')))) });
    flow.prefetch();
    const running = flow.run(park());
    channel.callerHangsUp();
    await running;
    expect(call.status).to.equal('canceled');
  });

  it('a media node that refuses to play ends the call failed', async () => {
    channel.refusePlaying = new MediaError('FILE NOT FOUND');
    await run({ say: { text: 'one' } });
    expect(call.failure).to.deep.equal({ code: 'media_unavailable', message: 'FILE NOT FOUND' });
  });

  it('a lost media node ends the call failed', async () => {
    channel.holdPlaying = true;
    const flow = run({ say: { text: 'one' } });
    await until(() => channel.asked.length === 2);
    channel.end({ by: 'node', cause: 'MEDIA_NODE_LOST', at: new Date() });
    await flow;
    expect(call.status).to.equal('failed');
    expect(call.failure?.code).to.equal('media_unavailable');
  });

  it('the API hangs up an answered call as completed, by api', async () => {
    channel.holdPlaying = true;
    answers['https://example.com/answer'] = [{ say: { text: 'one' } }];
    const flow = new Flow(call, services());
    const running = flow.run(park());
    await until(() => channel.asked.length === 2);
    await flow.hangup();
    await running;
    expect(call.status).to.equal('completed');
    expect(call.hangup?.by).to.equal('api');
  });

  it('the API hangs up an unanswered call as canceled', async () => {
    const flow = new Flow(call, { ...services(), ask: ({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted')))) });
    flow.prefetch();
    await flow.hangup();
    expect(call.status).to.equal('canceled');
    await flow.run(park());
    expect(channel.asked).to.deep.equal(['refuse 480']);
    expect(call.hangup?.by).to.equal('api');
  });

  it('variables are set, replaced, removed and bounded', async () => {
    await run({ set_variable: { name: 'a', value: '1' } }, { set_variable: { name: 'b', value: '2' } }, { set_variable: { name: 'a', value: '3' } }, { unset_variable: { name: 'b' } });
    expect(call.variables).to.deep.equal({ a: '3' });
    const many = Array.from({ length: 101 }, (_, i) => ({ set_variable: { name: `v${i}`, value: '' } }));
    channel = new FakeChannel();
    call = calls.createInbound({ customerId: 'cust_1', applicationId: 'app_1', from: 'x', to: '+15551230002', routeMode: 'webhook', routingTarget: 'app_1', answerUrl: 'https://example.com/answer' });
    await run(...many);
    expect(call.failure?.code).to.equal('answer_url_error');
  });

  it('sends digits after their pause, mutes and holds, each going on to the next', async () => {
    await run({ send_digits: { digits: '12#w3', pause_before_ms: 700 } }, { mute: { direction: 'write' } }, { hold: {} }, { resume: {} }, { unmute: { direction: 'both' } });
    expect(channel.asked).to.deep.equal(['answer', 'play silence_stream://700', 'digits 12#', 'digits w', 'digits 3', 'mute write', 'hold', 'resume', 'unmute both', 'hangup NORMAL_CLEARING']);
  });

  it('streams are started and stopped beside the flow, and one that cannot be begun does not end the call', async () => {
    await run({ start_stream: { stream_url: 'wss://receiver.example/a' } }, { type: 'start_stream', stream_url: 'wss://refused.example/', track: 'both' }, { stop_stream: { track: 'inbound' } }, { stop_stream: {} });
    const ended = changes.flatMap((c) => c.timeline).filter((e) => e.kind === 'action.ended').map(({ detail }) => detail);
    expect(ended.map(({ result }) => result)).to.deep.equal(['ok', 'failed', 'ok', 'ok']);
    expect(ended[0]).to.include({ stream_sid: 'inbound to wss://receiver.example/a' });
    expect(ended[1]).to.include({ message: 'rtpengine does not answer' });
    expect(ended.map(({ stopped }) => stopped)).to.deep.equal([undefined, undefined, 1, 4]);
    expect(call.status).to.equal('completed');
  });

  it('a recording that cannot be started or stopped does not end the call', async () => {
    await run({ start_recording: {} }, { stop_recording: {} }, { say: { text: 'on' } });
    expect(channel.asked).to.deep.equal(['answer', 'start recording', 'play /prompts/on.wav', 'hangup NORMAL_CLEARING']);
    const ended = changes.flatMap((c) => c.timeline).filter((e) => e.kind === 'action.ended' && e.detail.action === 'stop_recording');
    expect(ended[0]?.detail).to.include({ result: 'failed', message: 'recording is not currently started' });
  });

  describe('a conference', () => {
    const endedWith = () => changes.flatMap((c) => c.timeline).filter((e) => e.kind === 'action.ended' && e.detail.action === 'conference').map((e) => ({ result: e.detail.result, ended: e.detail.ended }));

    for (const [end, told] of [['over', 'room_ended'], ['lost', 'room_unreachable'], ['unreachable', 'room_unreachable']] as const) {
      it(`that ends ${end} goes on with the next action and tells why`, async () => {
        const flow = run({ conference: { room: 'sales', mute: true } }, { say: { text: 'after' } });
        await until(() => channel.asked.length === 2);
        channel.leaveRoom(end);
        await flow;
        expect(channel.asked).to.deep.equal(['answer', 'conference app_1-sales true false', 'play /prompts/after.wav', 'hangup NORMAL_CLEARING']);
        expect(endedWith()).to.deep.equal([{ result: 'ok', ended: told }]);
      });
    }

    it('is left for other actions', async () => {
      answers['https://example.com/answer'] = [{ type: 'conference', room: 'sales', end_on_exit: true }, { say: { text: 'never' } }];
      const flow = new Flow(call, services());
      const running = flow.run(park());
      await until(() => channel.asked.length === 2);
      expect(await flow.replace(parseActions({ actions: [{ say: { text: 'out' } }] }))).to.equal(true);
      await running;
      expect(channel.asked).to.deep.equal(['answer', 'conference app_1-sales false true', 'interrupt', 'play /prompts/out.wav', 'hangup NORMAL_CLEARING']);
      expect(endedWith()).to.deep.equal([{ result: 'replaced', ended: 'left' }]);
    });

    it('ends with the caller who hangs up in it', async () => {
      const flow = run({ conference: { room: 'sales' } }, { say: { text: 'never' } });
      await until(() => channel.asked.length === 2);
      channel.callerHangsUp();
      await flow;
      expect(endedWith()).to.deep.equal([{ result: 'hangup', ended: undefined }]);
      expect(call.hangup?.by).to.equal('caller');
    });

    for (const bad of [{}, { room: '' }, { room: 'a b' }, { room: 'x'.repeat(65) }, { room: 'a', mute: 'yes' }, { room: 'a', record: true }]) {
      it(`is refused as ${JSON.stringify(bad).slice(0, 40)}`, () => {
        expect(() => parseActions({ actions: [{ conference: bad }] })).to.throw(/^actions\[0\]\.conference/);
      });
    }
  });

  describe('with a second leg', () => {
    const kinds = () => changes.flatMap((change) => change.timeline.map((entry) => entry.kind)).filter((kind) => kind.startsWith('leg.'));

    it('transfer: the flow is over once it is connected, and the callee who hangs up is named', async () => {
      const flow = run({ transfer: { to: '+15557777', from: '+15558888' } }, { say: { text: 'never' } });
      await until(() => channel.leg !== undefined);
      channel.leg?.onRinging?.();
      channel.leg?.onAnswered?.('uuid-b');
      channel.endLeg({ reached: true, cause: 'NORMAL_CLEARING', endedBy: 'callee' });
      await flow;
      expect(channel.asked).to.deep.equal(['answer', 'bridge sip:+15557777@carrier from +15558888', 'hangup NORMAL_CLEARING']);
      expect(call.hangup?.by).to.equal('callee');
      expect(call.status).to.equal('completed');
      expect(kinds()).to.deep.equal(['leg.requested', 'leg.ringing', 'leg.answered', 'leg.ended']);
    });

    for (const [what, result] of [['busy', { reached: false, sipCode: 486, cause: 'USER_BUSY' }], ['no answer', { reached: false, cause: 'NO_ANSWER' }]] as const) {
      it(`transfer: ${what} ends the call failed`, async () => {
        channel.legResult = result;
        await run({ transfer: { destination: 'sip:a@example.com' } }, { say: { text: 'never' } });
        expect(call.status).to.equal('failed');
        expect(call.failure?.code).to.equal('transfer_unreachable');
        expect(channel.asked.at(-1)).to.equal('hangup NORMAL_TEMPORARY_FAILURE');
      });
    }

    it('transfer: no way to the number is unreachable too', async () => {
      await run({ transfer: { destination: '+15550000' } });
      expect(call.failure?.code).to.equal('transfer_unreachable');
    });

    it('bridge: a leg that is not reached falls through to the actions after it', async () => {
      channel.legResult = { reached: false, sipCode: 486, cause: 'USER_BUSY' };
      await run({ bridge: { destination: '+15557777', timeout_seconds: 20 } }, { say: { text: 'sorry' } });
      expect(channel.leg?.timeoutSeconds).to.equal(20);
      expect(channel.asked.at(-2)).to.equal('play /prompts/sorry.wav');
      expect(call.status).to.equal('completed');
    });

    it('bridge: once connected the actions after it never run', async () => {
      channel.legResult = { reached: true, cause: 'NORMAL_CLEARING', endedBy: 'callee' };
      await run({ bridge: { destination: '+15557777' } }, { say: { text: 'never' } });
      expect(channel.asked).to.not.include('play /prompts/never.wav');
      expect(call.hangup?.by).to.equal('callee');
    });

    it('a caller who hangs up while it rings completes the answered call', async () => {
      const flow = run({ transfer: { destination: '+15557777' } });
      await until(() => channel.leg !== undefined);
      channel.callerHangsUp();
      await flow;
      expect(call.status).to.equal('completed');
      expect(call.hangup?.by).to.equal('caller');
    });

    it('other actions through the API end a leg that rings', async () => {
      answers['https://example.com/answer'] = [{ transfer: { destination: '+15557777' } }];
      const flow = new Flow(call, services());
      const running = flow.run(park());
      await until(() => channel.leg !== undefined);
      await flow.replace(parseActions({ actions: [{ say: { text: 'instead' } }] }));
      await running;
      expect(channel.asked).to.include('play /prompts/instead.wav');
      expect(call.status).to.equal('completed');
    });
  });

  describe('replaced through the API', () => {
    const start = async (...actions: unknown[]) => {
      answers['https://example.com/answer'] = actions;
      const flow = new Flow(call, services());
      return { flow, running: flow.run(park()) };
    };
    const replacement = parseActions({ actions: [{ say: { text: 'instead' } }] });

    it('stops the prompt and runs the given actions in place of the rest', async () => {
      channel.holdPlaying = true;
      const { flow, running } = await start({ say: { text: 'one', loop: 3 } }, { say: { text: 'never' } });
      await until(() => channel.asked.length === 2);
      channel.holdPlaying = false;
      await flow.replace(replacement);
      await running;
      expect(channel.asked).to.deep.equal(['answer', 'play /prompts/one.wav', 'interrupt', 'play /prompts/instead.wav', 'hangup NORMAL_CLEARING']);
      expect(kinds()).to.include('flow.replaced');
    });

    it('a gather it ends tells of no digits', async () => {
      const { flow, running } = await start({ gather: { num_digits: 4 } }, { say: { text: 'never' } });
      await until(() => channel.listening);
      channel.press('1');
      await flow.replace(replacement);
      await running;
      expect(gathered()).to.deep.equal([]);
      expect(channel.asked).to.include('play /prompts/instead.wav').and.not.include('play /prompts/never.wav');
      expect(channel.listening).to.equal(false);
    });

    it('a request for instructions is given up for it', async () => {
      const flow = new Flow(call, { ...services(), ask: ({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted')))) });
      flow.prefetch();
      const running = flow.run(park());
      await turn();
      await flow.replace(replacement);
      await running;
      expect(channel.asked).to.deep.equal(['interrupt', 'answer', 'play /prompts/instead.wav', 'hangup NORMAL_CLEARING']);
      expect(call.status).to.equal('completed');
    });

    it('comes too late when the call is being ended', async () => {
      const { flow, running } = await start({ say: { text: 'one' } });
      await running;
      expect(await flow.replace(replacement)).to.equal(false);
    });

    it('can be done again and again', async () => {
      channel.holdPlaying = true;
      const { flow, running } = await start({ say: { text: 'one' } });
      for (const text of ['two', 'three']) {
        const before = channel.asked.length;
        await until(() => channel.asked.length >= before && channel.asked.at(-1)?.startsWith('play') === true);
        await flow.replace(parseActions({ actions: [{ say: { text } }] }));
        await until(() => channel.asked.at(-1) === `play /prompts/${text}.wav`);
      }
      channel.callerHangsUp();
      await running;
      expect(call.hangup?.by).to.equal('caller');
    });
  });

  describe('that costs something', () => {
    it('is let in before it is answered', async () => {
      await run({ say: { text: 'one' } });
      expect(paid).to.deep.equal(['call']);
    });

    it('is not answered when there is no money for it', async () => {
      unpaid = new ApiError('insufficient_balance');
      await run({ say: { text: 'one' } });
      expect(channel.asked).to.deep.equal(['refuse 480']);
      expect(call.failure?.code).to.equal('insufficient_balance');
    });

    it('is not answered when nobody can say whether there is', async () => {
      unpaid = new ApiError('service_unavailable');
      await run({ say: { text: 'one' } });
      expect(channel.asked).to.deep.equal(['refuse 503']);
      expect(call.failure?.code).to.equal('internal_error');
    });

    it('ends failed when it is not paid for any longer', async () => {
      channel.holdPlaying = true;
      answers['https://example.com/answer'] = [{ say: { text: 'one' } }];
      const flow = new Flow(call, services());
      const running = flow.run(park());
      await until(() => channel.asked.includes('play /prompts/one.wav'));
      await flow.fail({ code: 'insufficient_balance', message: 'the balance does not cover more of this call' });
      await running;
      expect(channel.asked.at(-1)).to.equal('hangup NORMAL_CLEARING');
      expect(call).to.include({ status: 'failed' });
      expect(call.hangup?.by).to.equal('platform');
      expect(call.failure?.code).to.equal('insufficient_balance');
    });

    it('tells what becomes of its second leg, and of one that was not reached too', async () => {
      channel.legResult = { reached: false, cause: 'USER_BUSY', sipCode: 486 };
      await run({ bridge: { destination: '+15557777' } });
      expect(paid).to.deep.equal(['call', 'leg ended']);
    });

    for (const [refused, failure] of [['insufficient_balance', 'insufficient_balance'], ['cps_limit_reached', 'limit_reached'], ['spend_control_exceeded', 'limit_reached'], ['rate_not_found', 'transfer_unreachable']] as const) {
      it(`fails by ${failure} when its transfer is refused by ${refused}`, async () => {
        refusal = new ApiError(refused);
        await run({ transfer: { destination: '+15557777' } });
        expect(call.failure?.code).to.equal(failure);
        expect(kinds()).to.include('leg.refused');
        expect(channel.leg).to.equal(undefined);
      });
    }

    it('goes on with what follows a bridge that is refused', async () => {
      refusal = new ApiError('insufficient_balance');
      await run({ bridge: { destination: '+15557777' } }, { say: { text: 'sorry' } });
      expect(channel.asked).to.deep.equal(['answer', 'play /prompts/sorry.wav', 'hangup NORMAL_CLEARING']);
      expect(call.status).to.equal('completed');
    });
  });

  describe('taken over from a process that died', () => {
    const place = (actions: unknown[], at: Partial<FlowState>): void => {
      saved.set(call.id, { steps: parseActions({ actions }), index: 0, depth: 0, begun: 0, digits: '', ...at });
      channel.answered = true;
      calls.answered(call);
    };

    it('waits for the prompt that still plays, then goes on with the next action', async () => {
      place([{ say: { text: 'one' } }, { say: { text: 'two' } }], {});
      let finish: (how: 'finished') => void = () => undefined;
      const running = new Flow(call, services()).run(park({ playing: { source: '/prompts/one.wav', finished: new Promise((resolve) => { finish = resolve; }) } }));
      await turn();
      expect(channel.asked).to.deep.equal([]);
      finish('finished');
      await running;
      expect(channel.asked).to.deep.equal(['play /prompts/two.wav', 'hangup NORMAL_CLEARING']);
      expect(asked).to.deep.equal([]);
    });

    it('goes on with the next action when the prompt has ended meanwhile', async () => {
      place([{ say: { text: 'one' } }, { say: { text: 'two' } }], {});
      await new Flow(call, services()).run(park({}));
      expect(channel.asked).to.deep.equal(['play /prompts/two.wav', 'hangup NORMAL_CLEARING']);
    });

    it('plays a prompt that had not begun', async () => {
      place([{ say: { text: 'one', loop: 2 } }], { begun: -1 });
      await new Flow(call, services()).run(park({}));
      expect(channel.asked).to.deep.equal(['play /prompts/one.wav', 'play /prompts/one.wav', 'hangup NORMAL_CLEARING']);
    });

    it('asks again in a gather whose prompt had not begun', async () => {
      place([{ gather: { prompt: 'menu', num_digits: 1 } }], { begun: -1 });
      const running = new Flow(call, services()).run(park({}));
      await until(() => channel.asked.includes('play /prompts/menu.wav'));
      channel.press('3');
      await running;
      expect(gathered()[0]).to.include({ digits: '3' });
    });

    it('sends the keys that had not been handed over', async () => {
      place([{ send_digits: { digits: '12w34W5' } }], { begun: 3 });
      await new Flow(call, services()).run(park({}));
      expect(channel.asked).to.deep.equal(['digits 34', 'digits W', 'digits 5', 'hangup NORMAL_CLEARING']);
    });

    it('keeps the digits a gather had and does not repeat its prompt', async () => {
      place([{ gather: { prompt: 'menu', num_digits: 3 } }], { digits: '12' });
      const running = new Flow(call, services()).run(park({}));
      await until(() => channel.listening);
      channel.press('3');
      await running;
      expect(gathered()[0]).to.include({ digits: '123', status: 'completed' });
      expect(channel.asked).to.deep.equal(['hangup NORMAL_CLEARING']);
    });

    it('tells of a gather whose caller leaves while its prompt still plays', async () => {
      place([{ gather: { prompt: 'menu', num_digits: 3 } }], {});
      const running = new Flow(call, services()).run(park({ playing: { source: '/prompts/menu.wav', finished: channel.ended.then(() => Promise.reject(new ChannelGone(channel.uuid))) } }));
      await until(() => channel.listening);
      channel.callerHangsUp();
      await running;
      expect(gathered()[0]).to.include({ status: 'hangup' });
      expect(call.status).to.equal('completed');
    });

    it('sees a connected leg through to its end', async () => {
      place([{ transfer: { destination: '+15557777' } }], { legAnsweredAt: 1 });
      await new Flow(call, services()).run(park({ bridging: { connected: true, answered: Promise.resolve(true), finished: Promise.resolve({ reached: true, cause: 'NORMAL_CLEARING', endedBy: 'callee' }) } }));
      expect(call.hangup?.by).to.equal('callee');
    });

    it('knows of a leg that ended meanwhile whether it had been reached', async () => {
      place([{ bridge: { destination: '+15557777' } }, { say: { text: 'sorry' } }], {});
      await new Flow(call, services()).run(park({}));
      expect(channel.asked).to.include('play /prompts/sorry.wav');
    });

    it('stays in a conference that goes on, and goes on with the next', async () => {
      const stay = deferred<ConferenceEnd>();
      place([{ conference: { room: 'sales' } }, { conference: { room: 'support' } }, { say: { text: 'after' } }], {});
      const running = new Flow(call, services()).run(park({ conferencing: { node: channel.node, finished: stay.promise } }));
      stay.resolve('over');
      await until(() => channel.asked.length === 1);
      channel.leaveRoom('over');
      await running;
      expect(channel.asked).to.deep.equal(['conference app_1-support false false', 'play /prompts/after.wav', 'hangup NORMAL_CLEARING']);
    });

    it('does not enter a conference again that ended while nobody looked', async () => {
      place([{ conference: { room: 'sales' } }, { say: { text: 'after' } }], {});
      await new Flow(call, services()).run(park({}));
      expect(channel.asked).to.deep.equal(['play /prompts/after.wav', 'hangup NORMAL_CLEARING']);
    });

    it('enters a conference that had not begun', async () => {
      place([{ conference: { room: 'sales' } }], { begun: -1 });
      const running = new Flow(call, services()).run(park({}));
      await until(() => channel.asked.length === 1);
      channel.leaveRoom('over');
      await running;
      expect(channel.asked).to.deep.equal(['conference app_1-sales false false', 'hangup NORMAL_CLEARING']);
    });

    it('asks the answer_url again when the place is lost', async () => {
      channel.answered = true;
      calls.answered(call);
      answers['https://example.com/answer'] = [{ say: { text: 'again' } }];
      await new Flow(call, services()).run(park({}));
      expect(channel.asked).to.deep.equal(['interrupt', 'play /prompts/again.wav', 'hangup NORMAL_CLEARING']);
    });
  });
});

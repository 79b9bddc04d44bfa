import { expect } from 'chai';
import type { Call } from '../../../control/calls/call.ts';
import { FlowFailure } from '../../../control/flow/action.ts';
import { Flow } from '../../../control/flow/flow.ts';
import { parseActions } from '../../../control/flow/schema.ts';
import { MediaError } from '../../../control/media/media.ts';
import type { FakeChannel } from './fake-channel.ts';
import { ANSWER_URL, FlowRig, until } from './flow-rig.ts';

describe('a flow', () => {
  let rig: FlowRig;
  let call: Call;
  let channel: FakeChannel;

  beforeEach(() => {
    rig = new FlowRig();
    ({ call, channel } = rig);
  });

  it('answers before the first action, plays in order and hangs up at the end of the list', async () => {
    await rig.run(
      { say: { text: 'one' } },
      { type: 'play', url: 'https://example.com/two.wav', loop: 2 },
      { pause: { seconds: 2 } },
    );
    const audio = '/audio/https%3A%2F%2Fexample.com%2Ftwo.wav';
    expect(channel.asked).to.deep.equal([
      'answer',
      'play /prompts/one.wav',
      `play ${audio}`,
      `play ${audio}`,
      'play silence_stream://2000',
      'hangup NORMAL_CLEARING',
    ]);
    expect(call.status).to.equal('completed');
    expect(call.hangup?.by).to.equal('application');
  });

  it('an empty list of actions answers nothing and refuses with 480', async () => {
    await rig.run();
    expect(channel.asked).to.deep.equal(['refuse 480']);
    expect(call.failure?.code).to.equal('rejected');
  });

  it('a first reject refuses the call unanswered with its code', async () => {
    await rig.run({ reject: { sip_code: 486 } });
    expect(channel.asked).to.deep.equal(['refuse 486']);
    expect(call.status).to.equal('failed');
    expect(call.failure?.code).to.equal('rejected');
  });

  it('a later reject hangs up the answered call', async () => {
    await rig.run({ say: { text: 'no' } }, { reject: {} }, { say: { text: 'never' } });
    expect(channel.asked).to.deep.equal(['answer', 'play /prompts/no.wav', 'hangup CALL_REJECTED']);
    expect(call.status).to.equal('completed');
  });

  it('hangup ends the call and what follows it never runs', async () => {
    await rig.run({ hangup: {} }, { say: { text: 'never' } });
    expect(channel.asked).to.deep.equal(['answer', 'hangup NORMAL_CLEARING']);
  });

  it('an answer_url that fails refuses the unanswered call with 480 and ends it failed', async () => {
    rig.answers[ANSWER_URL] = new FlowFailure('answer_url_error', 'the server answered 500');
    await new Flow(call, rig.services()).run(rig.park());
    expect(channel.asked).to.deep.equal(['refuse 480']);
    expect(call.status).to.equal('failed');
    expect(call.failure).to.deep.equal({ code: 'answer_url_error', message: 'the server answered 500' });
  });

  it('a redirect that fails hangs the answered call up, failed', async () => {
    rig.answers['https://example.com/next'] = new FlowFailure(
      'answer_url_error',
      'the reply is not valid JSON',
    );
    await rig.run({ say: { text: 'one' } }, { redirect: { url: 'https://example.com/next' } });
    expect(channel.asked.at(-1)).to.equal('hangup NORMAL_TEMPORARY_FAILURE');
    expect(call.failure?.code).to.equal('answer_url_error');
  });

  it('a redirect replaces the rest and tells the digits', async () => {
    rig.answers['https://example.com/next'] = [{ say: { text: 'two' } }];
    channel.holdPlaying = false;
    const flow = rig.run(
      { gather: { num_digits: 2 } },
      { redirect: { url: 'https://example.com/next', method: 'POST' } },
      { say: { text: 'never' } },
    );
    await until(() => channel.listening);
    channel.press('4', '2');
    await flow;
    expect(rig.asked.at(-1)).to.deep.equal({ url: 'https://example.com/next', method: 'POST', digits: '42' });
    expect(channel.asked).to.deep.equal(['answer', 'play /prompts/two.wav', 'hangup NORMAL_CLEARING']);
  });

  it('redirects stop at their depth', async () => {
    rig.answers['https://example.com/loop'] = [
      { redirect: { url: 'https://example.com/loop', max_redirects: 3 } },
    ];
    await rig.run({ redirect: { url: 'https://example.com/loop' } });
    expect(rig.asked.filter(({ url }) => url.endsWith('/loop'))).to.have.length(3);
    expect(call.failure?.code).to.equal('answer_url_error');
  });

  it('a key during the prompt stops it and counts', async () => {
    channel.holdPlaying = true;
    const flow = rig.run({ gather: { prompt: 'menu', num_digits: 1 } });
    await until(() => channel.asked.includes('play /prompts/menu.wav'));
    channel.press('7');
    await flow;
    expect(channel.asked).to.include('stop');
    expect(rig.gathered).to.deep.equal([
      {
        digits: '7',
        status: 'completed',
        timed_out: false,
        min_digits: 1,
        max_digits: 1,
        timeout_seconds: 5,
        finish_on_key: '#',
      },
    ]);
    expect(channel.listening).to.equal(false);
  });

  it('the finishing key ends a range and is not a digit', async () => {
    const flow = rig.run({ gather: { max_digits: 6, min_digits: 2 } });
    await until(() => channel.listening);
    channel.press('1', '2', '3', '#');
    await flow;
    expect(rig.gathered[0]).to.include({ digits: '123', status: 'completed', timed_out: false });
  });

  it('the finishing key before enough digits is too few', async () => {
    const flow = rig.run({ gather: { num_digits: 4 } });
    await until(() => channel.listening);
    channel.press('1', '#');
    await flow;
    expect(rig.gathered[0]).to.include({ digits: '1', status: 'too_few_digits', timed_out: false });
  });

  it('an empty finish_on_key makes # a digit', async () => {
    const flow = rig.run({ gather: { num_digits: 2, finish_on_key: '' } });
    await until(() => channel.listening);
    channel.press('#', '1');
    await flow;
    expect(rig.gathered[0]).to.include({ digits: '#1', status: 'completed' });
  });

  it('a key that comes in the same breath as the last one is not counted', async () => {
    const flow = rig.run({ gather: { num_digits: 1 } });
    await until(() => channel.listening);
    channel.press('1', '2');
    await flow;
    expect(rig.gathered).to.have.length(1);
    expect(rig.gathered[0]).to.include({ digits: '1', status: 'completed' });
  });

  it('a prompt that the media node cannot play ends the call failed, and is no hang-up', async () => {
    channel.refusePlaying = new MediaError('FILE NOT FOUND');
    await rig.run({ gather: { prompt: 'menu' } });
    expect(rig.gathered).to.deep.equal([]);
    expect(call.failure?.code).to.equal('media_unavailable');
  });

  it('no key in time is a timeout, and the flow goes on', async () => {
    await rig.run({ gather: { timeout_seconds: 1 } }, { say: { text: 'still there' } });
    expect(rig.gathered[0]).to.include({ digits: '', status: 'timeout', timed_out: true });
    expect(channel.asked).to.include('play /prompts/still there.wav');
  });

  it('a caller who hangs up in a gather is told of as such', async () => {
    const flow = rig.run({ gather: {} }, { say: { text: 'never' } });
    await until(() => channel.listening);
    channel.callerHangsUp();
    await flow;
    expect(rig.gathered[0]).to.include({ status: 'hangup' });
    expect(rig.kinds.slice(-3)).to.deep.equal(['call.gathered', 'action.ended', 'call.completed']);
    expect(call.hangup?.by).to.equal('caller');
    expect(channel.listening).to.equal(false);
  });

  it('a caller who hangs up in a prompt completes the call', async () => {
    channel.holdPlaying = true;
    const flow = rig.run({ say: { text: 'long' } }, { say: { text: 'never' } });
    await until(() => channel.asked.length === 2);
    channel.callerHangsUp();
    await flow;
    expect(call.hangup?.by).to.equal('caller');
    expect(rig.kinds).to.include('action.ended');
  });

  it('a caller who gives up while the answer_url is asked cancels the call', async () => {
    const flow = new Flow(call, {
      ...rig.services(),
      ask: ({ signal }) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted')))),
    });
    flow.prefetch();
    const running = flow.run(rig.park());
    channel.callerHangsUp();
    await running;
    expect(call.status).to.equal('canceled');
  });

  it('a media node that refuses to play ends the call failed', async () => {
    channel.refusePlaying = new MediaError('FILE NOT FOUND');
    await rig.run({ say: { text: 'one' } });
    expect(call.failure).to.deep.equal({ code: 'media_unavailable', message: 'FILE NOT FOUND' });
  });

  it('a lost media node ends the call failed', async () => {
    channel.holdPlaying = true;
    const flow = rig.run({ say: { text: 'one' } });
    await until(() => channel.asked.length === 2);
    channel.end({ by: 'node', cause: 'MEDIA_NODE_LOST', at: new Date() });
    await flow;
    expect(call.status).to.equal('failed');
    expect(call.failure?.code).to.equal('media_unavailable');
  });

  it('the API hangs up an answered call as completed, by api', async () => {
    channel.holdPlaying = true;
    const { flow, running } = rig.start({ say: { text: 'one' } });
    await until(() => channel.asked.length === 2);
    await flow.hangup();
    await running;
    expect(call.status).to.equal('completed');
    expect(call.hangup?.by).to.equal('api');
  });

  it('the API hangs up an unanswered call as canceled', async () => {
    const flow = new Flow(call, {
      ...rig.services(),
      ask: ({ signal }) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted')))),
    });
    flow.prefetch();
    await flow.hangup();
    expect(call.status).to.equal('canceled');
    await flow.run(rig.park());
    expect(channel.asked).to.deep.equal(['refuse 480']);
    expect(call.hangup?.by).to.equal('api');
  });

  it('variables are set, replaced, removed and bounded', async () => {
    await rig.run(
      { set_variable: { name: 'a', value: '1' } },
      { set_variable: { name: 'b', value: '2' } },
      { set_variable: { name: 'a', value: '3' } },
      { unset_variable: { name: 'b' } },
    );
    expect(call.variables).to.deep.equal({ a: '3' });
    const many = Array.from({ length: 101 }, (_, i) => ({ set_variable: { name: `v${i}`, value: '' } }));
    rig = new FlowRig();
    await rig.run(...many);
    expect(rig.call.failure?.code).to.equal('answer_url_error');
  });

  it('sends digits after their pause, mutes and holds, each going on to the next', async () => {
    await rig.run(
      { send_digits: { digits: '12#w3', pause_before_ms: 700 } },
      { mute: { direction: 'write' } },
      { hold: {} },
      { resume: {} },
      { unmute: { direction: 'both' } },
    );
    expect(channel.asked).to.deep.equal([
      'answer',
      'play silence_stream://700',
      'digits 12#',
      'digits w',
      'digits 3',
      'mute write',
      'hold',
      'resume',
      'unmute both',
      'hangup NORMAL_CLEARING',
    ]);
  });

  it('streams are started and stopped beside the flow, and one that cannot be begun does not end the call', async () => {
    await rig.run(
      { start_stream: { stream_url: 'wss://receiver.example/a' } },
      { type: 'start_stream', stream_url: 'wss://refused.example/', track: 'both' },
      { stop_stream: { track: 'inbound' } },
      { stop_stream: {} },
    );
    const ended = rig.entries.filter((e) => e.kind === 'action.ended').map(({ detail }) => detail);
    expect(ended.map(({ result }) => result)).to.deep.equal(['ok', 'failed', 'ok', 'ok']);
    expect(ended[0]).to.include({ stream_sid: 'inbound to wss://receiver.example/a' });
    expect(ended[1]).to.include({ message: 'rtpengine does not answer' });
    expect(ended.map(({ stopped }) => stopped)).to.deep.equal([undefined, undefined, 1, 4]);
    expect(call.status).to.equal('completed');
  });

  it('a recording that cannot be started or stopped does not end the call', async () => {
    await rig.run({ start_recording: {} }, { stop_recording: {} }, { say: { text: 'on' } });
    expect(channel.asked).to.deep.equal([
      'answer',
      'start recording',
      'play /prompts/on.wav',
      'hangup NORMAL_CLEARING',
    ]);
    const ended = rig.entries.filter(
      (e) => e.kind === 'action.ended' && e.detail.action === 'stop_recording',
    );
    expect(ended[0]?.detail).to.include({ result: 'failed', message: 'recording is not currently started' });
  });

  describe('a conference', () => {
    const endedWith = () =>
      rig.entries
        .filter((e) => e.kind === 'action.ended' && e.detail.action === 'conference')
        .map((e) => ({ result: e.detail.result, ended: e.detail.ended }));

    for (const [end, told] of [
      ['over', 'room_ended'],
      ['lost', 'room_unreachable'],
      ['unreachable', 'room_unreachable'],
    ] as const) {
      it(`that ends ${end} goes on with the next action and tells why`, async () => {
        const flow = rig.run({ conference: { room: 'sales', mute: true } }, { say: { text: 'after' } });
        await until(() => channel.asked.length === 2);
        channel.leaveRoom(end);
        await flow;
        expect(channel.asked).to.deep.equal([
          'answer',
          'conference app_1-sales true false',
          'play /prompts/after.wav',
          'hangup NORMAL_CLEARING',
        ]);
        expect(endedWith()).to.deep.equal([{ result: 'ok', ended: told }]);
      });
    }

    it('is left for other actions', async () => {
      const { flow, running } = rig.start(
        { type: 'conference', room: 'sales', end_on_exit: true },
        { say: { text: 'never' } },
      );
      await until(() => channel.asked.length === 2);
      expect(await flow.replace(parseActions({ actions: [{ say: { text: 'out' } }] }))).to.equal(true);
      await running;
      expect(channel.asked).to.deep.equal([
        'answer',
        'conference app_1-sales false true',
        'interrupt',
        'play /prompts/out.wav',
        'hangup NORMAL_CLEARING',
      ]);
      expect(endedWith()).to.deep.equal([{ result: 'replaced', ended: 'left' }]);
    });

    it('ends with the caller who hangs up in it', async () => {
      const flow = rig.run({ conference: { room: 'sales' } }, { say: { text: 'never' } });
      await until(() => channel.asked.length === 2);
      channel.callerHangsUp();
      await flow;
      expect(endedWith()).to.deep.equal([{ result: 'hangup', ended: undefined }]);
      expect(call.hangup?.by).to.equal('caller');
    });

    for (const bad of [
      {},
      { room: '' },
      { room: 'a b' },
      { room: 'x'.repeat(65) },
      { room: 'a', mute: 'yes' },
      { room: 'a', record: true },
    ]) {
      it(`is refused as ${JSON.stringify(bad).slice(0, 40)}`, () => {
        expect(() => parseActions({ actions: [{ conference: bad }] })).to.throw(/^actions\[0\]\.conference/);
      });
    }
  });
});

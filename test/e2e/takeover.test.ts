import { expect } from 'chai';
import type { Call, CallOptions, Phone } from '../support/phone.ts';
import { hearsMusic } from '../support/hears.ts';
import { tone } from '../../cli/phone/sound.ts';
import { channelsOf, toneShare } from '../support/stereo.ts';
import { StreamReceiver } from '../support/stream-receiver.ts';
import { spoken } from '../../cli/phone/voice.ts';
import { writeWav } from '../../cli/phone/wav.ts';
import {
  audio,
  callTo,
  endedCallTo,
  healthy,
  pidOf,
  ready,
  timeline,
  until,
  type Json,
  type Tenant,
} from './platform.ts';
import { closing, phoneAt, stage } from './stage.ts';

const NEXT = 'The next action is running now.';
const LONG =
  'This is a rather long announcement, so that there is time enough for somebody to kill the control plane in the middle of it.';

/**
 * The control plane is killed once for many calls at a time: each is in another kind of action then, and each
 * must go on as if nothing had happened.
 */
describe('the control plane dies in the middle of an action', function () {
  this.timeout(90_000);
  afterEach(ready);

  /** A call of its own customer that runs these actions. */
  async function dial(
    actions: (tenant: Tenant) => unknown[],
    more: Partial<CallOptions> = {},
  ): Promise<{ call: Call; of: Tenant; id: string }> {
    const { own: of, dial: to } = await stage();
    const call = await to(actions(of), more);
    return { call, of, id: (await callTo(of)).id };
  }

  async function callee(
    address: string,
    manner: Parameters<Phone['listen']>[0],
    frequency = 600,
  ): Promise<Phone> {
    const open = await phoneAt(address);
    open.listen(manner, { sound: () => tone(frequency) });
    return open;
  }

  const kindsOf = async ({ id, of }: { id: string; of: Tenant }) =>
    (await timeline(id, of.key)).map(({ kind }) => kind);
  const begun = (which: { id: string; of: Tenant }, action: string) =>
    until(
      async () =>
        (await timeline(which.id, which.of.key)).some(
          (line) => line.kind === 'action.started' && line.action === action,
        ),
      `${action} to begin`,
    );
  /** Written with other changes some milliseconds later: what must survive the crash is waited for. */
  const told = (which: { id: string; of: Tenant }, kind: string) =>
    until(async () => (await kindsOf(which)).includes(kind), kind);

  /** Kills it, runs what happens meanwhile, and returns when its next life is ready. */
  async function kill(meanwhile?: () => void): Promise<void> {
    const pid = await pidOf('control');
    process.kill(pid, 'SIGKILL');
    meanwhile?.();
    await healthy('control', pid);
    await ready();
  }

  /** The call has ended as its flow wanted, was taken over, and its actions were asked for once. */
  async function endsRight(
    { call, of, id }: { call: Call; of: Tenant; id: string },
    expected: { status?: string; by?: string } = {},
  ): Promise<Json> {
    await call.ended(25_000);
    const record = await endedCallTo(of);
    expect(record).to.include({ id, status: expected.status ?? 'completed' });
    expect(record.hangup).to.include({ by: expected.by ?? 'application' });
    expect(await kindsOf({ id, of })).to.include('flow.resumed');
    expect(of.server.requests.filter(({ path }) => path === '/answer')).to.have.length(1);
    return record;
  }

  const hearsNext = async ({ call }: { call: Call }) =>
    call.heard.waitUntilHears(await spoken(NEXT), { timeoutMs: 25_000 });

  it('say, play, pause, send_digits: what sounds is heard to its end, and the next action runs', async () => {
    const beep = tone(1000);
    const samples = new Int16Array(8 * 8000);
    for (let at = 0; at < samples.length; at += 160) samples.set(beep(), at);
    const next = { say: { text: NEXT } };
    const say = await dial(() => [{ say: { text: LONG } }, next]);
    const play = await dial((of) => {
      of.server.answers.set('/beep.wav', (_request, response) =>
        response.setHeader('content-type', 'audio/wav').end(writeWav({ rate: 8000, samples })),
      );
      return [{ play: { url: `${of.server.base}/beep.wav` } }, next];
    });
    const pause = await dial(() => [{ pause: { seconds: 8 } }, next]);
    const keys = await dial(() => [{ send_digits: { digits: '1W2W3W4W5W6' } }, next]);
    await say.call.heard.waitUntilHears(await spoken(LONG), { fraction: 0.1 });
    await play.call.heard.waitUntilTone(1000);
    await keys.call.heard.waitUntilKeys('1');
    await begun(pause, 'pause');
    await kill();
    for (const each of [say, play, pause, keys]) {
      await hearsNext(each);
      await endsRight(each);
    }
    expect(
      say.call.heard.recognises(await spoken(LONG)).heardUntilMs,
      'the announcement to its end',
    ).to.be.greaterThan((await spoken(LONG)).length / 8 - 1500);
    expect(keys.call.heard.keys).to.equal('123456');
    const { startMs } = play.call.heard.recognises(await spoken(NEXT));
    // It lasts 8 s. What comes next waits until the next life is there, which may be later.
    expect(
      play.call.heard.tone(1000, 200, Math.min(startMs, 8000) - 300),
      'the tone without a break',
    ).to.be.greaterThan(0.9);
    expect(startMs, 'the length of the tone').to.be.greaterThan(7000);
    expect(play.call.heard.tone(1000, 9000, startMs), 'the tone again').to.be.below(0.1);
  });

  it('gather, hold, mute: keys before and after count, music goes on, what is muted stays so', async () => {
    const gather = await dial(() => [
      { gather: { num_digits: 4, timeout_seconds: 30 } },
      { say: { text: NEXT } },
    ]);
    const hold = await dial(() => [
      { hold: {} },
      { pause: { seconds: 8 } },
      { resume: {} },
      { say: { text: NEXT } },
    ]);
    const mute = await dial(() => [
      { mute: { direction: 'read' } },
      { say: { text: LONG } },
      { unmute: { direction: 'read' } },
      { say: { text: NEXT } },
    ]);
    await begun(gather, 'gather');
    await gather.call.press('12');
    await until(
      async () => (await kindsOf(gather)).filter((kind) => kind === 'digit').length === 2,
      'two keys to arrive',
    );
    await hearsMusic(hold.call);
    await begun(mute, 'say');
    await kill();
    await told(gather, 'flow.resumed');
    await gather.call.press('34');
    for (const each of [gather, hold, mute]) {
      await hearsNext(each);
      await endsRight(each);
    }
    expect((await gather.of.server.webhook(gather.id, 'call.gathered', 40_000)).data).to.include({
      digits: '1234',
      status: 'completed',
    });
    const back = hold.call.heard.recognises(await spoken(NEXT));
    expect(
      hold.call.heard.tone(330, 500, back.startMs - 300),
      'a note of the music, all the time',
    ).to.be.greaterThan(0.2);
    const { startMs } = mute.call.heard.recognises(await spoken(NEXT));
    expect(mute.call.heard.silence(0, startMs - 100), 'muted to the end').to.equal(true);
  });

  it('transfer and bridge, ringing: an answer meanwhile connects them, a refusal meanwhile is told, who rings on is answered later', async () => {
    const [answers, refuses, later] = [
      await callee('127.0.0.3', 'manual'),
      await callee('127.0.0.4', 'manual'),
      await callee('127.0.0.6', 'manual'),
    ];
    const transfer = await dial(() => [{ transfer: { destination: answers.uri, timeout_seconds: 60 } }]);
    const bridge = await dial(() => [
      { bridge: { destination: refuses.uri, timeout_seconds: 60 } },
      { say: { text: NEXT } },
    ]);
    const patient = await dial(() => [
      { bridge: { destination: later.uri, timeout_seconds: 60 } },
      { say: { text: 'Never heard.' } },
    ]);
    const [first, second, third] = [
      await answers.incoming(),
      await refuses.incoming(),
      await later.incoming(),
    ];
    for (const far of [first, second, third]) far.ring();
    for (const each of [transfer, bridge, patient]) await told(each, 'leg.ringing');
    await kill(() => {
      first.answer();
      second.refuse(486);
    });
    await transfer.call.heard.waitUntilTone(600);
    await hearsNext(bridge);
    await endsRight(bridge);
    third.answer();
    await patient.call.heard.waitUntilTone(600);
    await told(patient, 'leg.answered');
    await first.hangup();
    await third.hangup();
    await endsRight(transfer, { by: 'callee' });
    await endsRight(patient, { by: 'callee' });
  });

  it('transfer and bridge, connected: they go on talking; who hangs up is told, also while nobody looks', async () => {
    const [one, two, three] = [
      await callee('127.0.0.3', 'answer'),
      await callee('127.0.0.4', 'answer', 700),
      await callee('127.0.0.6', 'answer', 800),
    ];
    const transfer = await dial(() => [{ transfer: { destination: one.uri } }]);
    const bridge = await dial(() => [
      { bridge: { destination: two.uri } },
      { say: { text: 'Never heard.' } },
    ]);
    const leaving = await dial(() => [
      { bridge: { destination: three.uri } },
      { say: { text: 'Never heard.' } },
    ]);
    await transfer.call.heard.waitUntilTone(600);
    await bridge.call.heard.waitUntilTone(700);
    await leaving.call.heard.waitUntilTone(800);
    const far = [await one.incoming(), await two.incoming(), await three.incoming()] as const;
    for (const each of [transfer, bridge, leaving]) await told(each, 'leg.answered');
    await kill(() => void far[2].hangup());
    await transfer.call.heard.waitUntilTone(600, 500);
    await bridge.call.heard.waitUntilTone(700, 500);
    await far[0].hangup();
    await bridge.call.hangup();
    await far[1].ended();
    await endsRight(transfer, { by: 'callee' });
    await endsRight(bridge, { by: 'caller' });
    await leaving.call.ended();
    expect((await endedCallTo(leaving.of)).status).to.equal('completed');
  });

  it('start_recording and start_stream: the recording goes on, the stream comes back, and the call ends right', async () => {
    const receiver = closing(await StreamReceiver.open());
    const recorded = await dial(
      () => [{ start_recording: {} }, { say: { text: LONG } }, { say: { text: NEXT } }],
      { sound: tone(900) },
    );
    const streamed = await dial(
      () => [
        { start_stream: { stream_url: receiver.url } },
        { say: { text: LONG } },
        { say: { text: NEXT } },
      ],
      { sound: tone(900) },
    );
    await (await receiver.connection()).heard.inbound.waitUntilTone(900);
    await recorded.of.server.webhook(recorded.id, 'recording.started');
    await kill();
    await (await receiver.connection()).heard.inbound.waitUntilTone(900);
    for (const each of [recorded, streamed]) {
      await hearsNext(each);
      await endsRight(each);
    }
    const { data } = await recorded.of.server.webhook(recorded.id, 'recording.completed', 40_000);
    expect(data.duration_seconds).to.be.greaterThan(6);
    const file = await audio(`/v1/recordings/rec_${recorded.id}/audio`, recorded.of.key);
    expect(file.status).to.equal(200);
    const [left] = channelsOf(file.body);
    expect(toneShare(left, 900), 'the caller, all the time').to.be.greaterThan(0.8);
  });
});

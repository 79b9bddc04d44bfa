import { expect } from 'chai';
import { startCallForwarding } from '../../examples/call-forwarding/server.ts';
import { PROMPTS, startGatherAndTransfer } from '../../examples/gather-and-transfer/server.ts';
import { startOverview } from '../../examples/overview/server.ts';
import { startRecordAndTranscribe, type Recording } from '../../examples/record-and-transcribe/server.ts';
import type { ServeOptions } from '../../examples/serve.ts';
import { PROMPTS as IVR, startSimpleIvr, type Received } from '../../examples/simple-ivr/server.ts';
import type { Call, CallOptions, Phone } from '../support/phone.ts';
import { tone } from '../../cli/phone/sound.ts';
import { spoken } from '../../cli/phone/voice.ts';
import { audio, done, endedCallTo, until, type Tenant } from './platform.ts';
import { closing, phoneAt, stage, type Stage } from './stage.ts';

const SECRET = 'a-secret-of-the-examples';

describe('the examples', () => {
  let callee: Phone;
  let own: Tenant;
  let place: Stage['place'];
  let told: string[];
  const options: ServeOptions = { secret: SECRET, onWebhook: ({ event }) => told.push(event) };

  beforeEach(async () => {
    told = [];
    callee = await phoneAt('127.0.0.3');
  });

  /** A customer whose application is the example. */
  async function run(starting: Promise<{ url: string; close(): Promise<void> }>): Promise<void> {
    const { url } = closing(await starting);
    ({ own, place } = await stage({
      answer_url: `${url}/answer`,
      webhook_url: `${url}/webhooks`,
      webhook_secret: SECRET,
    }));
  }

  async function dial(more?: Partial<CallOptions>): Promise<Call> {
    const call = await place(more);
    await call.answered();
    return call;
  }

  const hears = async (call: Call, text: string) => call.heard.waitUntilHears(await spoken(text));
  const toldOf = (...events: string[]) =>
    until(
      () => events.every((event) => told.includes(event)),
      `the webhooks ${events.join(', ')}; got ${told.join(', ')}`,
    );

  it('overview: the caller hears its sentence', async () => {
    await run(startOverview(options));
    const call = await dial();
    await hears(call, 'Thanks for calling.');
    expect(await call.ended()).to.include({ by: 'remote', how: 'bye' });
    await toldOf('call.created', 'call.answered', 'call.completed');
  });

  it('call-forwarding: the caller is connected to the number', async () => {
    await run(startCallForwarding({ ...options, forwardTo: '+15551230002' }));
    await done(
      'POST',
      '/v1/trunks',
      { name: 'out', proxy: callee.address, port: callee.port, priority: 1 },
      own.key,
    );
    callee.listen('answer', { sound: () => tone(600) });
    const call = await dial({ sound: tone(900) });
    await hears(call, 'Please hold while we connect you.');
    const far = await callee.incoming();
    expect(far.invite?.uri).to.match(/^sip:\+15551230002@/);
    await call.heard.waitUntilTone(600);
    await far.heard.waitUntilTone(900);
    await far.hangup();
    await call.ended();
    expect(await endedCallTo(own)).to.include({ status: 'completed' });
    await toldOf('call.created', 'call.answered', 'call.completed');
  });

  it('call-forwarding: a busy number ends the call with the documented failure', async () => {
    await run(startCallForwarding({ ...options, forwardTo: callee.uri }));
    callee.listen({ refuse: 486 });
    const call = await dial();
    await call.ended();
    expect((await endedCallTo(own)).failure).to.include({ code: 'transfer_unreachable' });
    await toldOf('call.failed');
  });

  it('simple-ivr: a wrong key repeats the menu, two leads to support', async () => {
    const log: Received[] = [];
    await run(startSimpleIvr({ secret: SECRET, onEvent: (entry) => log.push(entry) }));
    const call = await dial();
    await hears(call, IVR.greeting);
    await call.heard.waitUntilHears(await spoken(IVR.menu), { fraction: 0.3 });
    await call.press('9');
    const { startMs } = await hears(call, IVR.sorry);
    await call.heard.waitUntilHears(await spoken(IVR.menu), { fraction: 0.3, sinceMs: startMs });
    await call.press('2');
    await hears(call, IVR.support);
    await hears(call, IVR.goodbye);
    await call.ended();
    await until(() => log.some(({ event }) => event === 'call.completed'), 'the last webhook');
    expect(log.every(({ verified }) => verified)).to.equal(true);
    expect(log.filter(({ event }) => event === 'call.gathered')).to.have.length(2);
  });

  it('gather-and-transfer: one leads to sales', async () => {
    callee.listen('answer', { sound: () => tone(600) });
    await run(
      startGatherAndTransfer({
        ...options,
        departments: { sales: callee.uri, support: 'sip:nobody@127.0.0.3:9' },
      }),
    );
    const call = await dial();
    await hears(call, PROMPTS.menu);
    await call.press('1');
    await call.heard.waitUntilTone(600);
    await call.hangup();
    await (await callee.incoming()).ended();
    expect((await endedCallTo(own)).hangup).to.include({ by: 'caller' });
    await toldOf('call.gathered', 'call.completed');
  });

  it('gather-and-transfer: two leads to support, which is busy, and the caller is told so', async () => {
    callee.listen({ refuse: 486 });
    await run(
      startGatherAndTransfer({
        ...options,
        departments: { sales: 'sip:nobody@127.0.0.3:9', support: callee.uri },
      }),
    );
    const call = await dial();
    await hears(call, PROMPTS.menu);
    await call.press('2');
    await hears(call, PROMPTS.nobody);
    await call.ended();
    expect((await endedCallTo(own)).status).to.equal('completed');
  });

  it('record-and-transcribe: the whole call is kept, and can be fetched where the webhook says', async () => {
    const recordings: Recording[] = [];
    callee.listen('answer', { sound: () => tone(600) });
    await run(
      startRecordAndTranscribe({
        ...options,
        transferTo: callee.uri,
        onRecording: (_call, recording) => recordings.push(recording),
      }),
    );
    const call = await dial({ sound: tone(900) });
    await hears(call, 'This call may be recorded.');
    await call.heard.waitUntilTone(600, 1000);
    await call.hangup();
    const recording = await until(() => recordings[0], 'the recording');
    const { id } = await endedCallTo(own);
    expect(recording).to.include({ id: `rec_${id}` });
    expect(recording.duration_seconds).to.be.greaterThan(2);
    const file = await audio(new URL(recording.file_url).pathname, own.key);
    expect(file.status).to.equal(200);
    expect(file.body.toString('latin1', 0, 4)).to.equal('RIFF');
    await toldOf('recording.started', 'recording.completed', 'call.completed');
  });
});

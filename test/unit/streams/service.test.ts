import { expect } from 'chai';
import { pino } from 'pino';
import type { Call } from '../../../control/calls/call.ts';
import { Calls } from '../../../control/calls/calls.ts';
import { Lifecycle } from '../../../control/calls/lifecycle.ts';
import type { Change } from '../../../control/calls/journal.ts';
import { Ids } from '../../../control/lib/ids.ts';
import { Rtpengine } from '../../../control/streams/rtpengine.ts';
import type { RunningStream } from '../../../control/streams/running-streams.ts';
import {
  StreamService,
  withoutSecrets,
  type StreamServiceOptions,
} from '../../../control/streams/service.ts';
import { StreamReceiver } from '../../support/stream-receiver.ts';
import { FakeChannel } from '../flow/fake-channel.ts';
import { FakeRtpengine } from './fake-rtpengine.ts';

const dialog = { callId: 'a-call', fromTag: 'caller', toTag: 'node' };

describe('the streams of a call', () => {
  let fake: FakeRtpengine;
  let receiver: StreamReceiver;
  let rtpengine: Rtpengine;
  let service: StreamService;
  let channel: FakeChannel;
  let call: Call;
  let calls: Calls;
  let changes: Change[];
  let saved: Map<string, readonly RunningStream[]>;

  const serve = (more: Partial<StreamServiceOptions> = {}): StreamService =>
    new StreamService({
      calls,
      rtpengine,
      ids: new Ids(0),
      allowPrivate: true,
      host: '127.0.0.1',
      ports: { first: 49_100, last: 49_199 },
      logger: pino({ enabled: false }),
      running: {
        save: (id, streams) => void saved.set(id, streams),
        load: (id) => Promise.resolve([...(saved.get(id) ?? [])]),
      },
      secretsOf: () => ['one', 'two'],
      retryMs: 10,
      ...more,
    });
  const createCalls = (): Calls =>
    new Calls({
      lifecycle: new Lifecycle(pino({ enabled: false })),
      ids: new Ids(0),
      journal: {
        accepting: true,
        append: (c: Change) => changes.push(c),
        onCommit: () => undefined,
      } as never,
      hasWebhook: () => true,
    });
  beforeEach(async () => {
    fake = await FakeRtpengine.open();
    receiver = await StreamReceiver.open();
    rtpengine = new Rtpengine([fake.address]);
    channel = new FakeChannel();
    changes = [];
    saved = new Map();
    calls = createCalls();
    call = calls.createInbound({
      customerId: 'cust_1',
      applicationId: 'app_1',
      from: '+15551230001',
      to: '+15551230002',
      routeMode: 'webhook',
      routingTarget: 'app_1',
    });
    service = serve();
  });
  afterEach(async () => {
    await service.close();
    rtpengine.close();
    fake.close();
    receiver.close();
  });

  const told = (kind: string): Record<string, unknown>[] =>
    changes
      .flatMap(({ timeline }) => timeline)
      .filter((entry) => entry.kind === kind)
      .map(({ detail }) => detail);
  const failure = (work: Promise<unknown>): Promise<Error> =>
    work.then(
      () => Promise.reject(new Error('it went well')),
      (error: Error) => error,
    );
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
  };

  it('give everything back when they end: the port, the clock, the keys and what rtpengine holds', async () => {
    await service.start(call, channel, dialog, { url: receiver.url, track: 'both' });
    const stream = await receiver.connection();
    await stream.until(() => (stream.media.inbound?.length ?? 0) > 10 || undefined, 'frames');
    stream.say(new Int16Array(1600));
    await until(() => fake.asked.includes('block media'));
    expect(service.counters).to.deep.equal({ streams: 1, calls: 1 });
    expect(saved.get(call.id)).to.have.length(1);
    expect(await service.stop(call, {})).to.equal(1);
    await stream.frame('stop');
    expect(
      fake.commands
        .filter(({ command }) => String(command).startsWith('un'))
        .map(
          ({ command, 'to-tag': to, 'from-tag': from }) =>
            `${String(command)} ${String(from ?? '')}>${String(to ?? '')}`,
        ),
    ).to.include.members([
      'unsubscribe >minivoice-inbound',
      'unsubscribe >minivoice-outbound',
      'unblock media node>',
      'unsubscribe minivoice-voice>caller',
    ]);
    expect(service.counters).to.deep.equal({ streams: 0, calls: 0 });
    expect(channel.listening).to.equal(false);
    expect(saved.get(call.id)).to.deep.equal([]);
    expect(told('stream.stopped')[0]).to.include({ reason: 'stopped' });
  });

  it('are signed with every secret while one is rotating', async () => {
    await service.start(call, channel, dialog, { url: `${receiver.url}?a=1`, track: 'inbound' });
    const { request } = await receiver.connection();
    expect(String(request.headers['x-minivoice-signature']).split(',')).to.have.length(2);
  });

  it('are four at most', async () => {
    for (let i = 0; i < 4; i++)
      await service.start(call, channel, dialog, { url: receiver.url, track: 'inbound' });
    expect(
      (await failure(service.start(call, channel, dialog, { url: receiver.url, track: 'inbound' }))).message,
    ).to.contain('at most 4');
    expect(service.counters).to.deep.equal({ streams: 4, calls: 1 });
    expect(fake.asked.filter((command) => command === 'subscribe request')).to.have.length(1);
  });

  it('cannot begin without rtpengine, and say so', async () => {
    fake.silent = true;
    expect(
      (await failure(service.start(call, channel, dialog, { url: receiver.url, track: 'both' }))).message,
    ).to.equal('rtpengine does not answer');
    expect(told('stream.stopped')[0]).to.include({
      reason: 'audio_unavailable',
      message: 'rtpengine does not answer',
    });
    fake.silent = false;
    fake.refused.set('subscribe request', 'Unknown call-ID');
    expect(
      (await failure(service.start(call, channel, dialog, { url: receiver.url, track: 'both' }))).message,
    ).to.contain('Unknown call-ID');
    expect(service.counters).to.deep.equal({ streams: 0, calls: 0 });
    expect(receiver.connections).to.have.length(0);
  });

  it('begin when the answer, of which the media node has told, has come to rtpengine too', async () => {
    fake.unanswered = 3;
    await service.start(call, channel, dialog, { url: receiver.url, track: 'outbound' });
    await receiver.connection();
    expect(fake.asked.filter((command) => command === 'query')).to.have.length(4);
    expect(fake.commands.find(({ command }) => command === 'subscribe request')).to.include({
      'from-tag': 'node',
    });
  });

  it('do not begin any more in a call that ends meanwhile', async () => {
    fake.unanswered = Infinity;
    const waiting = failure(service.start(call, channel, dialog, { url: receiver.url, track: 'inbound' }));
    await until(() => fake.asked.length > 1);
    channel.end({ by: 'caller', cause: 'NORMAL_CLEARING', at: new Date() });
    expect((await waiting).message).to.equal('the call has ended');
    fake.unanswered = 0;
    expect(
      (await failure(service.start(call, channel, dialog, { url: receiver.url, track: 'inbound' }))).message,
    ).to.equal('the call has ended');
    expect(told('stream.stopped').map(({ reason }) => reason)).to.deep.equal(['call_ended', 'call_ended']);
    expect(service.counters).to.deep.equal({ streams: 0, calls: 0 });
    expect(channel.listening).to.equal(false);
    expect(receiver.connections).to.have.length(0);
  });

  it('survive lost commands to rtpengine', async () => {
    fake.loses = 1;
    await service.start(call, channel, dialog, { url: receiver.url, track: 'inbound' });
    await receiver.connection();
    expect(fake.loses, 'how many are still to be lost').to.be.at.most(0);
    await until(() => told('stream.started').length === 1);
  });

  it('go on without the way back when rtpengine refuses that, and marks come back all the same', async () => {
    fake.refused.set('connect', 'no');
    await service.start(call, channel, dialog, { url: receiver.url, track: 'inbound' });
    const stream = await receiver.connection();
    stream.say(new Int16Array(800));
    stream.send({ event: 'mark', mark: { name: 'm' } });
    await stream.frame('mark');
    expect(told('stream.playback_failed')).to.have.length(1);
  });

  it('do not reach what is not public: not by name, not by number, and no second try is made', async () => {
    const strict = serve({
      calls: createCalls(),
      allowPrivate: false,
      resolve: () => Promise.resolve(['127.0.0.1']),
    });
    expect(
      (await failure(strict.start(call, channel, dialog, { url: receiver.url, track: 'inbound' }))).message,
    ).to.contain('wss');
    expect(
      (await failure(strict.start(call, channel, dialog, { url: 'wss://127.0.0.1/audio', track: 'inbound' })))
        .message,
    ).to.contain('not a public address');
    await strict.start(call, channel, dialog, {
      url: `wss://receiver.example:${new URL(receiver.url).port}/`,
      track: 'inbound',
    });
    await until(() => told('stream.stopped').length === 3);
    expect(told('stream.stopped').map(({ reason }) => reason)).to.deep.equal([
      'url_refused',
      'url_refused',
      'url_refused',
    ]);
    expect(told('stream.disconnected')).to.have.length(0);
    await strict.close();
  });

  it('give up a receiver that shows no life', async () => {
    const impatient = serve({ calls: createCalls(), pingMs: 300 });
    receiver.deaf = true;
    await impatient.start(call, channel, dialog, { url: receiver.url, track: 'both' });
    await until(() => told('stream.started').length === 1);
    await until(() => told('stream.disconnected').length >= 1);
    expect(told('stream.disconnected')[0]).to.include({ message: 'the receiver gives no sign of life' });
    await impatient.close();
  });

  it('ignore what is not of the protocol', async () => {
    await service.start(call, channel, dialog, { url: receiver.url, track: 'inbound' });
    const stream = await receiver.connection();
    for (const text of [
      '',
      'null',
      '[]',
      '{"event":"media"}',
      '{"event":"media","media":{"payload":5}}',
      '{"event":"unheard"}',
    ])
      stream.socket.send(text);
    stream.socket.send(Buffer.from([1, 2, 3]));
    stream.send({ event: 'mark', mark: { name: 'still here' } });
    await stream.frame('mark');
  });

  it('are ended by a frame that is too large only for that connection', async () => {
    await service.start(call, channel, dialog, { url: receiver.url, track: 'inbound' });
    const first = await receiver.connection();
    first.socket.send('x'.repeat(2 * 1024 * 1024));
    const second = await receiver.connection();
    await second.frame('start');
    expect(second.sid).to.equal(first.sid);
  });

  it('of a call that was taken over begin again with what rtpengine has given back', async () => {
    saved.set(call.id, [
      { sid: 'stream_1', url: receiver.url, track: 'inbound', startedAt: new Date(Date.now() - 5000) },
    ]);
    await service.resumed(call, channel, dialog);
    const stream = await receiver.connection();
    await stream.until(() => (stream.media.inbound?.length ?? 0) > 0 || undefined, 'a frame');
    expect(stream.sid).to.equal('stream_1');
    expect(Number(stream.media.inbound?.[0]?.timestamp)).to.be.at.least(5000);
    expect(fake.asked).to.include('unblock media');
  });

  it('of a call that ended while nobody looked are told to have ended', async () => {
    calls.stream(call, 'stream.started', { stream_sid: 'stream_1' });
    calls.stream(call, 'stream.stopped', { stream_sid: 'stream_2', reason: 'url_refused' });
    saved.set(call.id, [
      { sid: 'stream_1', url: 'wss://example.com/', track: 'inbound', startedAt: new Date() },
    ]);
    calls.end(call, { hangup: { by: 'platform', cause: 'UNKNOWN' } });
    await until(() => told('stream.stopped').length === 2);
    expect(told('stream.stopped')[1]).to.include({ stream_sid: 'stream_1', reason: 'call_ended' });
  });

  it('show no secret of their URL', () => {
    expect(withoutSecrets('wss://example.com/a?token=x&n=1&n=2')).to.equal(
      'wss://example.com/a?token=***&n=***',
    );
    expect(withoutSecrets('wss://example.com/a')).to.equal('wss://example.com/a');
  });
});

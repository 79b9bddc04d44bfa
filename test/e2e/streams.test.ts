import { createHmac } from 'node:crypto';
import { expect } from 'chai';
import { PROMPT, startMediaStream } from '../../examples/media-stream/server.ts';
import type { Call } from '../support/phone.ts';
import { recording, silence, tone } from '../../cli/phone/sound.ts';
import { StreamReceiver } from '../support/stream-receiver.ts';
import { spoken } from '../../cli/phone/voice.ts';
import { Payer } from './payer.ts';
import { callTo, crash, done, endedCallTo, ready, timeline, until, type Tenant } from './platform.ts';
import { closing, phoneAt, stage, type Stage } from './stage.ts';

/** So many 20 ms of a tone. */
function beep(frequency: number, ms: number): Int16Array {
  const source = tone(frequency);
  const samples = new Int16Array(ms * 8);
  for (let at = 0; at + 160 <= samples.length; at += 160) samples.set(source(), at);
  return samples;
}

/** Waits until the caller does not hear the tone any more, and the media node again. */
const untilOver = (call: Call, frequency: number): Promise<true> =>
  call.heard.until(
    () => call.heard.tone(frequency, call.heard.durationMs - 500) < 0.05 || undefined,
    'the end of the tone',
  );

describe('media streams', () => {
  let own: Tenant;
  let receiver: StreamReceiver;
  let place: Stage['place'];
  let dial: Stage['dial'];

  beforeEach(async () => {
    ({ own, place, dial } = await stage());
    receiver = closing(await StreamReceiver.open());
  });
  const stopped = async (callId: string, timeoutMs?: number) =>
    (await own.server.webhook(callId, 'stream.stopped', timeoutMs)).data;

  for (const codec of ['PCMU', 'PCMA'] as const) {
    it(`bring both sides of a call in ${codec} apart, in frames that receivers know, and end with the call`, async () => {
      const call = await dial(
        [
          { set_variable: { name: 'order', value: '42' } },
          { start_stream: { stream_url: `${receiver.url}?token=secret`, track: 'both' } },
          { say: { text: 'This sentence is heard by the caller and by the receiver.' } },
          { gather: { num_digits: 2, timeout_seconds: 20 } },
        ],
        { sound: tone(900), codecs: [codec] },
      );
      const stream = await receiver.connection();
      const { id } = await callTo(own);

      const { headers, url = '' } = stream.request;
      const signed = createHmac('sha256', own.server.secret)
        .update(`${String(headers['x-minivoice-timestamp'])}.${url.split('?')[1] ?? ''}`)
        .digest('hex');
      expect(headers).to.include({ 'x-minivoice-signature': `v1=${signed}`, 'x-minivoice-call-id': id });
      expect(headers).to.not.have.property('sec-websocket-extensions');

      await stream.heard.outbound.waitUntilHears(
        await spoken('This sentence is heard by the caller and by the receiver.'),
      );
      await stream.heard.inbound.waitUntilTone(900, 1000);
      expect(stream.heard.outbound.tone(900), 'the caller on the outbound track').to.be.below(0.05);
      await call.press('7#');
      await stream.until(
        () => stream.frames.filter(({ event }) => event === 'dtmf').length === 2 || undefined,
        'two keys',
      );
      await call.hangup();
      await stream.frame('stop');
      await stream.until(() => stream.closed !== undefined || undefined, 'the end of the connection');

      const [connected, start] = stream.frames;
      const sid = stream.sid;
      expect(connected).to.deep.equal({ event: 'connected', protocol: 'Call', version: '1.0.0' });
      expect(start).to.deep.equal({
        event: 'start',
        sequenceNumber: '1',
        streamSid: sid,
        start: {
          accountSid: own.customerId,
          streamSid: sid,
          callSid: id,
          tracks: ['inbound', 'outbound'],
          mediaFormat: { encoding: 'audio/x-mulaw', sampleRate: 8000, channels: 1 },
          customParameters: { order: '42' },
        },
      });
      expect(stream.frames.filter(({ event }) => event === 'dtmf').map(({ dtmf }) => dtmf)).to.deep.equal([
        { track: 'inbound_track', digit: '7' },
        { track: 'inbound_track', digit: '#' },
      ]);
      expect(stream.frames.at(-1)).to.deep.include({
        event: 'stop',
        stop: { accountSid: own.customerId, callSid: id, reason: 'call_ended', droppedFrames: '0' },
      });
      for (const media of Object.values(stream.media)) {
        expect(media.map(({ chunk }) => Number(chunk))).to.deep.equal(media.map((_, i) => i + 1));
        expect(media.every(({ payload }) => Buffer.from(payload, 'base64').length === 160)).to.equal(true);
        const stamps = media.map(({ timestamp }) => Number(timestamp));
        expect(stamps.every((stamp, i) => i === 0 || stamp - (stamps[i - 1] ?? 0) >= 20)).to.equal(true);
      }

      const shown = { stream_sid: sid, stream_url: `${receiver.url}?token=***`, track: 'both' };
      expect((await own.server.webhook(id, 'stream.started')).data).to.include(shown);
      expect(await stopped(id)).to.include({ ...shown, reason: 'call_ended' });
      await own.server.webhook(id, 'call.completed');
      expect(
        own.server
          .of(id)
          .map(({ event }) => event)
          .slice(-2),
      ).to.deep.equal(['stream.stopped', 'call.completed']);
      expect(
        (await timeline(id, own.key)).find(
          ({ kind, action }) => kind === 'action.ended' && action === 'start_stream',
        ),
      ).to.include({ result: 'ok', stream_sid: sid });
    });
  }

  it('what the receiver sends is heard by the caller in one piece, whatever the flow does, and marks come back after it', async () => {
    const call = await dial(
      [
        { start_stream: { stream_url: receiver.url } },
        { say: { text: 'Nothing much.' } },
        { gather: { num_digits: 1, timeout_seconds: 20 } },
      ],
      { sound: tone(900) },
    );
    const stream = await receiver.connection();
    await stream.frame('start');
    await call.heard.waitUntilHears(await spoken('Nothing much.'));
    const words = await spoken('This was said by the receiver of the stream.');
    const sinceMs = call.heard.durationMs;
    stream.say(words);
    stream.send({ event: 'mark', streamSid: stream.sid, mark: { name: 'the end' } });
    await stream.frame('mark');
    expect(call.heard.durationMs - sinceMs, 'heard by the time of the mark, in ms').to.be.greaterThan(
      words.length / 8 - 40,
    );
    const match = await call.heard.waitUntilHears(words, { sinceMs });
    expect(match.fraction).to.be.greaterThan(0.95);
    expect(stream.frames.find(({ event }) => event === 'mark')).to.deep.include({
      mark: { name: 'the end' },
      streamSid: stream.sid,
    });
    // After it the media node is heard again, and keys have come through all the while.
    await call.press('1');
    await call.ended();
    expect((await endedCallTo(own)).status).to.equal('completed');
  });

  it('begin in a call to which the carrier brings its audio with the ACK, too', async () => {
    const call = await dial(
      [
        { start_stream: { stream_url: receiver.url, track: 'both' } },
        { say: { text: 'That was late.' } },
        { gather: { num_digits: 1, timeout_seconds: 20 } },
      ],
      { sound: tone(900), offer: false },
    );
    const stream = await receiver.connection();
    await stream.heard.inbound.waitUntilTone(900, 500);
    await stream.heard.outbound.waitUntilHears(await spoken('That was late.'));
    stream.say(beep(1200, 1000));
    await call.heard.waitUntilTone(1200, 500);
    await call.hangup();
  });

  it('clear drops what has not been played and gives its marks back', async () => {
    const call = await dial([{ start_stream: { stream_url: receiver.url } }, { pause: { seconds: 20 } }]);
    const stream = await receiver.connection();
    await stream.frame('start');
    stream.say(beep(1200, 10_000));
    stream.send({ event: 'mark', streamSid: stream.sid, mark: { name: 'never reached' } });
    await call.heard.waitUntilTone(1200, 500);
    stream.send({ event: 'clear', streamSid: stream.sid });
    await stream.frame('mark');
    const atMs = call.heard.durationMs;
    await call.heard.until(() => call.heard.durationMs > atMs + 800 || undefined, 'what comes after', 5000);
    expect(call.heard.silence(atMs + 200, atMs + 800)).to.equal(true);
    await call.hangup();
  });

  it('keys that the flow sends to the caller pass while the receiver talks, and prompts are heard again after it', async () => {
    const call = await dial([
      { start_stream: { stream_url: receiver.url } },
      { gather: { num_digits: 1, timeout_seconds: 20 } },
      { send_digits: { digits: '15' } },
      { gather: { num_digits: 1, timeout_seconds: 20 } },
      { say: { text: 'And now it is our turn again.' } },
    ]);
    const stream = await receiver.connection();
    await stream.frame('start');
    stream.say(beep(1200, 4000));
    await call.heard.waitUntilTone(1200, 300);
    await call.press('3');
    await call.heard.waitUntilKeys('15');
    await untilOver(call, 1200);
    await call.press('3');
    await call.heard.waitUntilHears(await spoken('And now it is our turn again.'));
    await call.ended();
  });

  for (let round = 1; round <= 3; round++) {
    it(`begin in every call that is placed through the API, with both sides heard (${round} of 3)`, async () => {
      const payer = closing(await Payer.open());
      const words = 'The receiver hears what is said to the callee.';
      const { id } = await payer.place({
        actions: [
          ...(round === 1 ? [] : [{ pause: { seconds: 1 } }]),
          { start_stream: { stream_url: receiver.url, track: 'both' } },
          { say: { text: words } },
          { gather: { num_digits: 1, timeout_seconds: 20 } },
        ],
      });
      const far = await payer.carrier.incoming();
      far.rtp.play(tone(900));
      far.answer();
      const stream = await receiver.connection();
      await stream.heard.outbound.waitUntilHears(await spoken(words));
      await stream.heard.inbound.waitUntilTone(900, 500);
      expect(stream.heard.outbound.tone(900), 'the callee on the outbound track').to.be.below(0.05);
      stream.say(beep(1200, 1000));
      await far.heard.waitUntilTone(1200, 500);
      await far.press('5');
      await far.ended();
      expect(
        payer.server
          .of(id)
          .filter(({ event }) => event.startsWith('stream.'))
          .map(({ event }) => event)[0],
      ).to.equal('stream.started');
      expect((await payer.server.webhook(id, 'stream.stopped')).data).to.include({ reason: 'call_ended' });
    });
  }

  it('stop_stream ends the stream that is meant, and the call goes on', async () => {
    const call = await dial(
      [
        { start_stream: { stream_url: receiver.url, track: 'inbound' } },
        { start_stream: { stream_url: `${receiver.url}?n=2`, track: 'outbound' } },
        { gather: { num_digits: 1, timeout_seconds: 20 } },
        { stop_stream: { track: 'outbound' } },
        { gather: { num_digits: 1, timeout_seconds: 20 } },
        { stop_stream: {} },
        { say: { text: 'It goes on.' } },
      ],
      { sound: tone(900) },
    );
    const streams = [await receiver.connection(), await receiver.connection()];
    const second = streams.find(({ request }) => request.url?.includes('n=2'));
    const first = streams.find((one) => one !== second);
    if (!first || !second) throw new Error('two streams were wanted');
    await first.heard.inbound.waitUntilTone(900);
    expect(second.media.inbound).to.have.length(0);
    await call.press('1');
    expect((await second.frame('stop')).stop).to.include({ reason: 'stopped' });
    expect(first.frames.some(({ event }) => event === 'stop')).to.equal(false);
    await call.press('1');
    await first.frame('stop');
    await call.heard.waitUntilHears(await spoken('It goes on.'));
    await call.ended();
    const { id } = await endedCallTo(own);
    await until(
      () =>
        own.server.of(id).filter(({ event, data }) => event === 'stream.stopped' && data.reason === 'stopped')
          .length === 2,
      'two ends',
    );
  });

  it('a receiver that refuses is tried three times again, then the stream ends and the call goes on', async () => {
    receiver.refuseWith = 503;
    const call = await dial([
      { start_stream: { stream_url: receiver.url } },
      { gather: { num_digits: 1, timeout_seconds: 30 } },
      { say: { text: 'Nobody has noticed.' } },
    ]);
    const { id } = await callTo(own);
    expect(await stopped(id, 20_000)).to.include({
      reason: 'receiver_unreachable',
      message: 'the receiver answered 503',
    });
    expect(receiver.refused).to.equal(4);
    await call.press('1');
    await call.heard.waitUntilHears(await spoken('Nobody has noticed.'));
    await call.ended();
    expect((await endedCallTo(own)).status).to.equal('completed');
  }).timeout(40_000);

  it('a receiver that is lost and comes back gets the same stream over a new connection', async () => {
    const call = await dial(
      [{ start_stream: { stream_url: receiver.url } }, { gather: { num_digits: 1, timeout_seconds: 30 } }],
      { sound: tone(900) },
    );
    const first = await receiver.connection();
    await first.heard.inbound.waitUntilTone(900);
    first.socket.terminate();
    const second = await receiver.connection();
    await second.heard.inbound.waitUntilTone(900);
    expect(second.sid).to.equal(first.sid);
    expect(Number(second.media.inbound?.[0]?.timestamp)).to.be.greaterThan(
      Number(first.media.inbound?.at(-1)?.timestamp),
    );
    second.socket.close(1000);
    expect(await stopped((await callTo(own)).id)).to.include({ reason: 'receiver_closed' });
    await call.hangup();
  });

  it('a receiver that never reads does not hurt the call', async () => {
    receiver.deaf = true;
    const call = await dial(
      [
        { start_stream: { stream_url: receiver.url, track: 'both' } },
        { say: { text: 'The call does not mind at all.' } },
        { stop_stream: {} },
        { say: { text: 'Good-bye.' } },
      ],
      { sound: tone(900) },
    );
    await call.heard.waitUntilHears(await spoken('The call does not mind at all.'));
    await call.heard.waitUntilHears(await spoken('Good-bye.'));
    await call.ended();
    expect((await endedCallTo(own)).status).to.equal('completed');
  });

  it('a URL that may not be reached fails the action alone', async () => {
    const call = await dial(
      [{ start_stream: { stream_url: 'wss://10.0.0.1/audio' } }, { say: { text: 'We stay inside.' } }],
      { sound: silence() },
    );
    await call.heard.waitUntilHears(await spoken('We stay inside.'));
    await call.ended();
    const { id } = await endedCallTo(own);
    expect(await stopped(id)).to.include({ reason: 'url_refused' });
    expect(
      (await timeline(id, own.key)).find(
        ({ kind, action }) => kind === 'action.ended' && action === 'start_stream',
      ),
    ).to.include({ result: 'failed' });
  });

  it('goes on across a transfer, with what both say to each other', async () => {
    const callee = await phoneAt('127.0.0.3');
    callee.listen('answer', { sound: () => tone(600) });
    const call = await dial(
      [
        { start_stream: { stream_url: receiver.url, track: 'both' } },
        { transfer: { destination: callee.uri } },
      ],
      { sound: tone(900) },
    );
    const stream = await receiver.connection();
    const far = await callee.incoming();
    await stream.heard.outbound.waitUntilTone(600, 500);
    await stream.heard.inbound.waitUntilTone(900, 500);
    expect(stream.heard.inbound.tone(600)).to.be.below(0.05);
    await far.hangup();
    await call.ended();
    expect((await stream.frame('stop')).stop).to.include({ reason: 'call_ended' });
  });

  it('goes on after the control plane has died, over a new connection, even in the middle of a word', async () => {
    const call = await dial(
      [
        { start_stream: { stream_url: receiver.url } },
        { gather: { num_digits: 1, timeout_seconds: 30 } },
        { say: { text: 'We are back.' } },
      ],
      { sound: tone(900) },
    );
    const first = await receiver.connection();
    await first.frame('start');
    first.say(beep(1200, 10_000));
    await call.heard.waitUntilTone(1200, 300);
    await crash('control');
    await ready();
    const second = await receiver.connection();
    await second.heard.inbound.waitUntilTone(900);
    expect(second.sid).to.equal(first.sid);
    second.say(beep(1500, 1000));
    await call.heard.waitUntilTone(1500, 500);
    await untilOver(call, 1500);
    await call.press('1');
    await call.heard.waitUntilHears(await spoken('We are back.'));
    await call.ended();
    const { id } = await endedCallTo(own);
    expect(await stopped(id, 40_000)).to.include({ reason: 'call_ended', stream_sid: first.sid });
    await done('GET', `/v1/calls/${id}`, undefined, own.key);
  }).timeout(80_000);

  it('audio that rtpengine has lost is told, and the flow goes on without a stream', async () => {
    const call = await dial([
      { gather: { num_digits: 1, timeout_seconds: 30 } },
      { start_stream: { stream_url: receiver.url } },
      { gather: { num_digits: 1, timeout_seconds: 1 } },
    ]);
    const { id } = await callTo(own);
    await crash('rtpengine');
    await call.pressInfo('1');
    expect(await stopped(id)).to.include({ reason: 'audio_unavailable', frames_sent: 0 });
    await call.ended();
    expect((await endedCallTo(own)).status).to.equal('completed');
    // Kamailio asks rtpengine every other second whether it is back, and refuses calls until then.
    own.server.answers.set('/answer', [{ hangup: {} }]);
    await until(async () => {
      const next = await place();
      return next
        .answered()
        .then(() => next.ended())
        .then(
          () => true,
          () => false,
        );
    }, 'calls to be taken again');
  }).timeout(40_000);

  it('the example says to the caller what the caller has said', async () => {
    const example = closing(await startMediaStream({ secret: 'of-the-example' }));
    const parrot = await stage({ answer_url: `${example.url}/answer`, webhook_secret: 'of-the-example' });
    const call = await parrot.place();
    await call.answered();
    await call.heard.waitUntilHears(await spoken(PROMPT));
    const words = await spoken('Polly wants a cracker.');
    await until(
      async () => parrot.own.server.webhooks.some(({ event }) => event === 'stream.started'),
      'the stream',
    );
    call.rtp.play(recording(words));
    await call.heard.waitUntilHears(words);
    await call.press('1');
    await call.ended();
  }).timeout(40_000);
});

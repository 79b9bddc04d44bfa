import { expect } from 'chai';
import type { Call } from '../support/phone.ts';
import { tone } from '../../cli/phone/sound.ts';
import { channelsOf, toneShare } from '../support/stereo.ts';
import { StreamReceiver } from '../support/stream-receiver.ts';
import { spoken } from '../../cli/phone/voice.ts';
import { Payer } from './payer.ts';
import { audio, callTo, done, until } from './platform.ts';
import { closing, stage } from './stage.ts';

const WAIT = { gather: { num_digits: 1, timeout_seconds: 30 } };

describe('audio and keys as other telephones send them', function () {
  this.timeout(40_000);

  /** How much of a recording's left side, the far end's, each tone is. */
  const heardOf = async (payer: { key: string }, recordingId: string, tones: number[]): Promise<number[]> => {
    const [left] = channelsOf((await audio(`/v1/recordings/${recordingId}/audio`, payer.key)).body);
    return tones.map((frequency) => toneShare(left, frequency));
  };

  it('a callee that answers PCMU and PCMA is heard in either, and when it changes: by recording and stream', async () => {
    const payer = closing(await Payer.open());
    const receiver = closing(await StreamReceiver.open());
    const { id } = await payer.place({
      record: true,
      actions: [{ start_stream: { stream_url: receiver.url, track: 'inbound' } }, WAIT],
    });
    const far = await payer.carrier.incoming();
    far.answer();
    const stream = await receiver.connection();
    // It was answered PCMU first, and PCMA comes: any format of offer and answer may be used at any time.
    for (const [codec, frequency] of [
      ['PCMA', 600],
      ['PCMU', 900],
      ['PCMA', 1300],
    ] as const) {
      far.rtp.codec = codec;
      far.rtp.play(tone(frequency));
      await stream.heard.inbound.waitUntilTone(frequency, 600);
    }
    await far.press('7');
    await far.ended();
    expect((await payer.server.webhook(id, 'call.gathered')).data).to.include({ digits: '7' });
    await payer.server.webhook(id, 'recording.completed');
    for (const share of await heardOf(payer, `rec_${id}`, [600, 900, 1300]))
      expect(share).to.be.greaterThan(0.1);
  });

  it('a caller who describes his audio in the ACK alone is heard in the second codec of it', async () => {
    const { own, dial } = await stage();
    const call = await dial([{ start_recording: {} }, WAIT, { stop_recording: {} }], {
      offer: false,
      codecs: ['PCMU', 'PCMA'],
      sound: tone(700),
    });
    call.rtp.codec = 'PCMA';
    const { id } = await callTo(own);
    await own.server.webhook(id, 'recording.started');
    const sent = call.rtp.sent;
    await until(() => call.rtp.sent > sent + 50, 'a second of the tone');
    await call.press('1');
    await call.ended();
    await own.server.webhook(id, 'recording.completed');
    expect((await heardOf(own, `rec_${id}`, [700]))[0]).to.be.greaterThan(0.6);
  });

  it('a prompt is heard as well, and no louder, when the caller changes the codec in the middle of it', async () => {
    const { dial } = await stage();
    const call = await dial([{ say: { text: 'This is said before and after.', loop: 10 } }, WAIT]);
    const words = await spoken('This is said before and after.');
    await call.heard.waitUntilHears(words);
    const loudest = call.heard.loudest();
    for (const codec of ['PCMA', 'PCMU'] as const) {
      await call.changeCodec(codec);
      const sinceMs = call.heard.durationMs + 100;
      await call.heard.waitUntilHears(words, { sinceMs });
      expect(call.heard.loudest(sinceMs), codec).to.be.below(1.2 * loudest);
    }
    await call.hangup();
  });

  it('an offer in a call that nobody here can speak is refused, and the call goes on with audio and keys', async () => {
    const { own, dial } = await stage();
    const call = await dial([{ say: { text: 'This is said before and after.', loop: 10 } }, WAIT], {
      sound: tone(700),
    });
    const { id } = await callTo(own);
    const words = await spoken('This is said before and after.');
    await call.heard.waitUntilHears(words);
    const offer = [
      'v=0',
      'o=phone 1 9 IN IP4 127.0.0.2',
      's=-',
      'c=IN IP4 127.0.0.2',
      't=0 0',
      'm=audio 40000 RTP/AVP 18',
      'a=rtpmap:18 G729/8000',
      '',
    ].join('\r\n');
    for (const method of ['INVITE', 'UPDATE'])
      expect(
        (await call.request(method, [['Content-Type', 'application/sdp']], offer)).code,
        method,
      ).to.equal(488);
    await call.heard.waitUntilHears(words, { sinceMs: call.heard.durationMs });
    await done('POST', `/v1/calls/${id}/actions`, { actions: [WAIT] }, own.key);
    await call.press('7');
    await call.ended();
    expect((await own.server.webhook(id, 'call.gathered')).data).to.include({ digits: '7' });
  });

  const gathered = async (digits: string, press: (call: Call) => Promise<void>): Promise<void> => {
    const { own, dial } = await stage();
    const call = await dial([
      { gather: { min_digits: 1, max_digits: 6, timeout_seconds: 12, finish_on_key: '#' } },
    ]);
    const { id } = await callTo(own);
    await press(call);
    await call.press('#');
    await call.ended();
    expect((await own.server.webhook(id, 'call.gathered')).data).to.include({ status: 'completed', digits });
  };

  it('keys by SIP INFO are what the telephone has pressed, in either of the two ways of saying so', () =>
    gathered('1*A9*', async (call) => {
      for (const key of ['1', '*\r\n', 'a\r\n'])
        await call.request('INFO', [['Content-Type', 'application/dtmf']], key);
      await call.pressInfo('9*');
    }));

  it('keys whose timestamp never advances are told apart by their markers', () =>
    gathered('1223', (call) => call.press('1223', 120, 'never-advancing')));

  it('a key that is held for nine seconds is one key', () => gathered('7', (call) => call.press('7', 9000)));
});

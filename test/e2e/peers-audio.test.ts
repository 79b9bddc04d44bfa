import { expect } from 'chai';
import type { Call } from '../support/phone.ts';
import { tone } from '../support/sound.ts';
import { channelsOf, toneShare } from '../support/stereo.ts';
import { StreamReceiver } from '../support/stream-receiver.ts';
import { Payer } from './payer.ts';
import { audio, callTo, until } from './platform.ts';
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
    const { id } = await payer.place({ record: true, actions: [{ start_stream: { stream_url: receiver.url, track: 'inbound' } }, WAIT] });
    const far = await payer.carrier.incoming();
    far.answer();
    const stream = await receiver.connection();
    // It was answered PCMU first, and PCMA comes: any format of offer and answer may be used at any time.
    for (const [codec, frequency] of [['PCMA', 600], ['PCMU', 900], ['PCMA', 1300]] as const) {
      far.rtp.codec = codec;
      far.rtp.play(tone(frequency));
      await stream.heard.inbound.waitUntilTone(frequency, 600);
    }
    await far.press('7');
    await far.ended();
    expect((await payer.server.webhook(id, 'call.gathered')).data).to.include({ digits: '7' });
    await payer.server.webhook(id, 'recording.completed');
    for (const share of await heardOf(payer, `rec_${id}`, [600, 900, 1300])) expect(share).to.be.greaterThan(0.1);
  });

  it('a caller who describes his audio in the ACK alone is heard in the second codec of it', async () => {
    const { own, dial } = await stage();
    const call = await dial([{ start_recording: {} }, WAIT, { stop_recording: {} }], { offer: false, codecs: ['PCMU', 'PCMA'], sound: tone(700) });
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

  const gathered = async (digits: string, press: (call: Call) => Promise<void>): Promise<void> => {
    const { own, dial } = await stage();
    const call = await dial([{ gather: { min_digits: 1, max_digits: 6, timeout_seconds: 12, finish_on_key: '#' } }]);
    const { id } = await callTo(own);
    await press(call);
    await call.press('#');
    await call.ended();
    expect((await own.server.webhook(id, 'call.gathered')).data).to.include({ status: 'completed', digits });
  };

  it('keys by SIP INFO are what the telephone has pressed, in either of the two ways of saying so', () =>
    gathered('1*A9*', async (call) => {
      for (const key of ['1', '*\r\n', 'a\r\n']) await call.request('INFO', [['Content-Type', 'application/dtmf']], key);
      await call.pressInfo('9*');
    }));

  it('keys whose timestamp never advances are told apart by their markers', () =>
    gathered('1223', (call) => call.press('1223', 120, 'never-advancing')));

  it('a key that is held for nine seconds is one key', () => gathered('7', (call) => call.press('7', 9000)));
});

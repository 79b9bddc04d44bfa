import { expect } from 'chai';
import { placeDemoCall } from '../../../../cli/phone/demo-caller.ts';
import { Phone } from '../../../support/phone.ts';
import { sipp } from '../../../../cli/phone/sipp.ts';
import { recording } from '../../../../cli/phone/sound.ts';
import { spoken } from '../../../../cli/phone/voice.ts';

/** The platform is played by the test phone here. */
describe('cli/phone/demo-caller', () => {
  let platform: Phone;
  let call: { sip: string; from: string; to: string };

  beforeEach(async () => {
    platform = await Phone.open({ address: '127.0.0.9' });
    call = { sip: `${platform.address}:${platform.port}`, from: '+15550001111', to: '+15550002222' };
  });
  afterEach(async () => platform.close());

  it('tells the story of a call: SIP, what was heard, what was pressed, who hung up', async () => {
    const [welcome, sales] = await Promise.all([
      spoken('Welcome. Press one for sales.'),
      spoken('This is the sales team.'),
    ]);
    platform.listen('answer', { sound: () => recording(welcome) });
    const placed = placeDemoCall({
      ...call,
      expect: [
        { text: 'Welcome. Press one for sales.', thenPress: '1' },
        { text: 'This is the sales team.' },
      ],
    });
    const answered = await platform.incoming();
    await answered.heard.waitUntilKeys('1');
    await new Promise<void>((onEnd) => answered.rtp.play(recording(sales, { onEnd })));
    await answered.hangup();
    const { ok, story, sipCallId } = await placed;
    expect(story.map(({ kind, what }) => `${kind} ${what.replace(/sip:\S+/, 'URI')}`)).to.deep.equal([
      'sip → INVITE URI',
      'sip ← 100 Trying (INVITE)',
      'sip ← 180 Ringing (INVITE)',
      'sip ← 200 OK (INVITE)',
      'sip → ACK URI',
      'heard "Welcome. Press one for sales."',
      'pressed 1',
      'heard "This is the sales team."',
      'sip ← BYE URI',
      'sip → 200 OK (BYE)',
    ]);
    expect(ok).to.equal(true);
    expect(sipCallId).to.equal(answered.callId);
  });

  it('is not content with a call in which something else was said', async () => {
    const wrong = await spoken('You have reached the wrong number.');
    platform.listen('answer', { sound: () => recording(wrong) });
    const placed = placeDemoCall({
      ...call,
      patienceMs: 1000,
      expect: [{ text: 'Welcome. Press one for sales.' }],
    });
    const answered = await platform.incoming();
    await answered.ended();
    const { ok, story } = await placed;
    expect(ok).to.equal(false);
    expect(story.find(({ kind }) => kind === 'missed')?.what).to.match(
      /^"Welcome. Press one for sales.": did not hear 0.9 of a prompt/,
    );
  });

  it('is not content with a refusal, and acknowledges it', async () => {
    platform.listen({ refuse: 404, reason: 'Not Found' });
    const { ok, story } = await placeDemoCall({ ...call, patienceMs: 1000, expect: [{ text: 'Welcome.' }] });
    expect(ok).to.equal(false);
    expect(story.map(({ what }) => what)).to.include('← 404 Not Found (INVITE)');
    await platform.message((text) => text.startsWith('ACK '));
  });

  it('says when SIPp is not there', async () => {
    const outcome = await sipp({
      scenario: 'caller',
      remote: call.sip,
      localIp: '127.0.0.1',
      command: 'no-such-sipp',
    }).catch((error: unknown) => String(error));
    expect(outcome).to.contain('SIPp (no-such-sipp) could not be run');
  });
});

import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Phone, type Call } from '../../support/phone.ts';
import { tone } from '../../../cli/phone/sound.ts';
import { EslClient, type FsEvent } from './tools/esl-client.ts';
import { NodeProcess } from './tools/node-process.ts';
import { share } from './tools/sound.ts';
import { readStereo, talk, untilSilent } from './tools/talk.ts';

const EVENTS =
  'CHANNEL_PARK CHANNEL_PROGRESS CHANNEL_PROGRESS_MEDIA CHANNEL_ANSWER CHANNEL_BRIDGE CHANNEL_UNBRIDGE CHANNEL_EXECUTE_COMPLETE CHANNEL_HANGUP_COMPLETE DTMF';

for (const transport of ['udp', 'tcp'] as const) {
  describe(`embedded media node: a second leg over ${transport}`, () => {
    let node: NodeProcess;
    let esl: EslClient;
    let anna: Phone;
    let bob: Phone;
    let call: Call;
    let uuid = '';
    let leg = '';

    before(async () => {
      node = await NodeProcess.start();
      esl = await EslClient.connect(node.eslPort, EVENTS);
      anna = await Phone.open({ address: '127.0.0.1' });
      bob = await Phone.open({ address: '127.0.0.1', transport });
    });

    after(async () => {
      await Promise.all([anna.close(), bob.close()]);
      esl.close();
      await node.stop();
      expect(node.log).not.to.include('"level":"error"');
    });

    beforeEach(async () => {
      ({ call, uuid } = await talk(node, esl, anna, 440));
    });

    afterEach(async () => {
      await esl.api('hupall');
      await esl.until(
        () =>
          esl.events.some((e) => e['Event-Name'] === 'CHANNEL_HANGUP_COMPLETE' && e['Unique-ID'] === uuid),
        'the end',
      );
      expect(await esl.api('show channels count')).to.equal('\n0 total.\n');
    });

    /** Asks for the second leg; the promise is for its end. */
    const bridge = async (
      options: { timeout?: number; to?: string; more?: string } = {},
    ): Promise<FsEvent> => {
      leg = randomUUID();
      const id = `bridge-${leg}`;
      const {
        timeout = 20,
        to = `leg@127.0.0.1:${bob.port}${transport === 'tcp' ? ';transport=tcp' : ''}`,
        more = '',
      } = options;
      const variables = `origination_uuid=${leg}~mv_leg_of=${uuid}~originate_timeout=${timeout}~ignore_early_media=true~origination_caller_id_number=+4930222~origination_caller_id_name=+4930222`;
      const headers =
        'sip_h_X-MV-Call-ID=call_1~sip_h_X-MV-Targets=sip:a@h:5060;transport=tcp|sip:b@h?Subject=a&b%7D=c';
      await esl.execute(uuid, 'bridge', `{^^~${variables}~${headers}${more}}sofia/minivoice/${to}`, id);
      return esl.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-UUID': id });
    };

    /** After all of it the caller can be played to. */
    const commandsRun = async (): Promise<void> => {
      const id = randomUUID();
      await esl.execute(uuid, 'playback', 'tone_stream://%(500,0,600)', id);
      await call.heard.waitUntilTone(600);
      await esl.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-UUID': id });
    };

    it('connects: both hear each other, keys pass, and the caller stays when the callee leaves', async () => {
      bob.listen('manual', { sound: () => tone(1000) });
      const over = bridge();
      const answering = await bob.incoming();
      expect(answering.invite?.text).to.match(/^INVITE sip:leg@127\.0\.0\.1:\d+/);
      expect(answering.invite?.text).to.include(
        '\r\nX-MV-Targets: sip:a@h:5060;transport=tcp|sip:b@h?Subject=a&b%7D=c\r\n',
      );
      expect(answering.invite?.text).to.match(/\r\nFrom: "\+4930222" <sip:\+4930222@127\.0\.0\.1>;tag=/);
      answering.ring();
      await call.heard.waitUntilTone(425);
      const progress = await esl.event('CHANNEL_PROGRESS', { 'Unique-ID': leg });
      expect(progress).to.deep.include({
        'Answer-State': 'ringing',
        'Call-Direction': 'outbound',
        variable_mv_leg_of: uuid,
        'Other-Leg-Unique-ID': uuid,
      });
      expect(JSON.parse(await esl.api(`uuid_dump ${leg} json`))).to.deep.include({
        'Answer-State': 'ringing',
        variable_mv_leg_of: uuid,
      });
      expect(await esl.api('show channels count')).to.equal('\n2 total.\n');
      answering.answer();
      await Promise.all([call.heard.waitUntilTone(1000), answering.heard.waitUntilTone(440)]);
      await esl.event('CHANNEL_BRIDGE', { 'Unique-ID': uuid, 'Other-Leg-Unique-ID': leg });
      expect(JSON.parse(await esl.api(`uuid_dump ${uuid} json`))).to.deep.include({
        'Channel-State': 'CS_EXECUTE',
        variable_current_application: 'bridge',
      });
      await call.press('42#');
      await answering.heard.waitUntilKeys('42#');
      await answering.press('7');
      await call.heard.waitUntilKeys('7');
      await esl.event('DTMF', { 'Unique-ID': uuid, 'DTMF-Digit': '4' });
      await esl.event('DTMF', { 'Unique-ID': leg, 'DTMF-Digit': '7' });
      await esl.api(`uuid_send_dtmf ${uuid} 99@120`);
      await call.heard.waitUntilKeys('799');
      await answering.hangup();
      expect(await over).to.deep.include({
        'Answer-State': 'answered',
        'Channel-State': 'CS_EXECUTE',
        variable_originate_disposition: 'SUCCESS',
        variable_last_bridge_hangup_cause: 'NORMAL_CLEARING',
        variable_last_bridge_proto_specific_hangup_cause: 'sip:200',
      });
      await untilSilent(call.heard);
      await commandsRun();
      expect(
        esl.events.filter((e) => e['Event-Name'] === 'CHANNEL_PARK' && e['Unique-ID'] === uuid),
      ).to.have.length(1);
    });

    it('passes between legs of different codecs, and records both on one side each', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'embedded-bridge-'));
      const path = join(folder, 'call.wav');
      bob.listen('answer', { sound: () => tone(1000), codecs: ['PCMA'] });
      await esl.api(`uuid_setvar ${uuid} RECORD_STEREO true`);
      await esl.api(`uuid_record ${uuid} start ${path}`);
      const over = bridge();
      const answering = await bob.incoming();
      await Promise.all([call.heard.waitUntilTone(1000, 500), answering.heard.waitUntilTone(440, 500)]);
      await answering.hangup();
      await over;
      expect(await esl.api(`uuid_record ${uuid} stop ${path}`)).to.equal('+OK Success\n');
      const { left, right } = readStereo(path);
      const at = right.findIndex((_, i) => i % 1600 === 0 && share(right.slice(i, i + 1600), 1000) > 0.9);
      expect(at, 'the callee is heard right').to.be.at.least(0);
      expect(share(left.slice(at, at + 1600), 440)).to.be.above(0.9);
      rmSync(folder, { recursive: true });
      bob.listen('answer', { codecs: ['PCMU', 'PCMA'] });
    });

    it('mutes and holds a connected caller', async () => {
      bob.listen('answer', { sound: () => tone(1000) });
      const over = bridge();
      const answering = await bob.incoming();
      await Promise.all([call.heard.waitUntilTone(1000), answering.heard.waitUntilTone(440)]);
      await esl.api(`uuid_audio ${uuid} start read mute 1`);
      await untilSilent(answering.heard);
      await call.heard.waitUntilTone(1000);
      await esl.api(`uuid_audio ${uuid} start write mute 1`);
      await esl.api(`uuid_audio ${uuid} start read mute 0`);
      await Promise.all([untilSilent(call.heard), answering.heard.waitUntilTone(440)]);
      await esl.api(`uuid_audio ${uuid} start write mute 0`);
      await call.heard.waitUntilTone(1000);
      const music = await esl.api(`uuid_getvar ${uuid} hold_music`);
      await esl.api(`uuid_displace ${uuid} start ${music} 0 l`);
      await untilSilent(answering.heard);
      await esl.api(`uuid_displace ${uuid} stop ${music}`);
      await Promise.all([call.heard.waitUntilTone(1000), answering.heard.waitUntilTone(440)]);
      // The callee holds and comes back by re-INVITE.
      expect((await answering.hold()).direction).to.equal('recvonly');
      expect((await answering.resume()).direction).to.equal('sendrecv');
      await answering.heard.waitUntilTone(440);
      await esl.api(`uuid_kill ${leg} NORMAL_CLEARING`);
      expect((await answering.ended()).how).to.equal('bye');
      expect((await over).variable_originate_disposition).to.equal('SUCCESS');
      await commandsRun();
    });

    for (const [code, cause] of [
      [486, 'USER_BUSY'],
      [603, 'CALL_REJECTED'],
      [480, 'NO_USER_RESPONSE'],
      [404, 'UNALLOCATED_NUMBER'],
      [503, 'NORMAL_TEMPORARY_FAILURE'],
      [302, 'NORMAL_UNSPECIFIED'],
      [408, 'RECOVERY_ON_TIMER_EXPIRE'],
    ] as const) {
      it(`tells of a refusal with ${code} as ${cause}`, async () => {
        bob.listen({
          refuse: code,
          headers: code === 302 ? [['Contact', '<sip:elsewhere@127.0.0.1:1>']] : [],
        });
        expect(await bridge()).to.deep.include({
          'Answer-State': 'answered',
          variable_originate_disposition: cause,
          variable_last_bridge_hangup_cause: cause,
          variable_last_bridge_proto_specific_hangup_cause: `sip:${code}`,
        });
        expect(await esl.event('CHANNEL_HANGUP_COMPLETE', { 'Unique-ID': leg })).to.deep.include({
          variable_sip_term_status: String(code),
          variable_sip_hangup_disposition: 'recv_refuse',
          'Hangup-Cause': cause,
          variable_mv_leg_of: uuid,
        });
        const refused = await bob.incoming();
        await bob.until(
          () =>
            refused.messages.some(({ received, text }) => received && text.startsWith('ACK ')) || undefined,
          'the ACK',
        );
        await commandsRun();
      });
    }

    it('gives up a leg that rings for too long', async () => {
      bob.listen('ring');
      const over = bridge({ timeout: 2 });
      const ringing = await bob.incoming();
      await call.heard.waitUntilTone(425);
      expect((await ringing.ended()).how).to.equal('cancel');
      expect(await over).to.deep.include({
        variable_originate_disposition: 'NO_ANSWER',
        variable_last_bridge_hangup_cause: 'NO_ANSWER',
        variable_DIALSTATUS: 'NOANSWER',
      });
      await commandsRun();
    });

    it('cancels a leg that is killed while it rings', async () => {
      bob.listen('ring');
      const over = bridge();
      const ringing = await bob.incoming();
      await call.heard.waitUntilTone(425);
      expect(await esl.api(`uuid_kill ${leg} ORIGINATOR_CANCEL`)).to.equal('+OK\n');
      expect((await ringing.ended()).how).to.equal('cancel');
      expect((await over).variable_originate_disposition).to.equal('ORIGINATOR_CANCEL');
      expect(await esl.api(`uuid_kill ${leg} ORIGINATOR_CANCEL`)).to.equal('-ERR No such channel!\n');
      await commandsRun();
    });

    it('cancels the leg when the caller leaves while it rings', async () => {
      bob.listen('ring');
      const over = bridge();
      const ringing = await bob.incoming();
      await call.hangup();
      expect((await ringing.ended()).how).to.equal('cancel');
      expect(await over).to.deep.include({
        'Answer-State': 'hangup',
        variable_originate_disposition: 'ORIGINATOR_CANCEL',
      });
    });

    it('ends the connected leg when the caller leaves', async () => {
      bob.listen('answer');
      const over = bridge();
      const answering = await bob.incoming();
      await answering.heard.waitUntilTone(440);
      await call.hangup();
      expect((await answering.ended()).how).to.equal('bye');
      expect((await over)['Answer-State']).to.equal('hangup');
      expect((await esl.event('CHANNEL_HANGUP_COMPLETE', { 'Unique-ID': leg }))['Hangup-Cause']).to.equal(
        'NORMAL_CLEARING',
      );
    });

    it('still calls second legs when it takes no new calls, unless it is told not to', async () => {
      bob.listen({ refuse: 486 });
      await esl.api('fsctl pause inbound');
      expect((await bridge()).variable_originate_disposition).to.equal('USER_BUSY');
      await esl.api('fsctl pause');
      expect(await esl.api('fsctl pause_check')).to.equal('true');
      expect((await bridge()).variable_originate_disposition).to.equal('SWITCH_CONGESTION');
      await esl.api('fsctl resume');
      await bob.incoming();
      await commandsRun();
    });

    it('calls nobody by a string that says nobody', async () => {
      for (const [to, cause] of [
        ['', 'DESTINATION_OUT_OF_ORDER'],
        ['a@[::1]:99', 'INVALID_URL'],
      ] as const) {
        expect((await bridge({ to })).variable_originate_disposition).to.equal(cause);
      }
      await commandsRun();
    });
  });
}

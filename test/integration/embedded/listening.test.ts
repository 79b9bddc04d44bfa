import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Phone } from '../../support/phone.ts';
import { EslClient } from './tools/esl-client.ts';
import { NodeProcess } from './tools/node-process.ts';
import { share, writeTone } from './tools/sound.ts';
import { readStereo, talk, untilSilent, type Talk } from './tools/talk.ts';

const EVENTS = 'CHANNEL_PARK CHANNEL_EXECUTE_COMPLETE CHANNEL_HANGUP_COMPLETE RECORD_START RECORD_STOP DTMF';

describe('embedded media node: keys, hold, mute and recording', () => {
  let node: NodeProcess;
  let esl: EslClient;
  let phone: Phone;
  let folder = '';
  let it1: Talk;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'embedded-listen-'));
    writeTone(join(folder, '600.wav'), 600, 20);
    writeTone(join(folder, 'short.wav'), 600, 0.6);
    node = await NodeProcess.start();
    esl = await EslClient.connect(node.eslPort, EVENTS);
    phone = await Phone.open({ address: '127.0.0.1' });
  });

  after(async () => {
    await phone.close();
    esl.close();
    await node.stop();
    rmSync(folder, { recursive: true, force: true });
    expect(node.log).not.to.include('"level":"error"');
  });

  beforeEach(async () => {
    it1 = await talk(node, esl, phone, 440);
  });

  afterEach(async () => {
    await esl.api('hupall');
  });

  const record = async (name: string, uuid = it1.uuid): Promise<string> => {
    const path = join(folder, name);
    await esl.api(`uuid_setvar ${uuid} RECORD_STEREO true`);
    expect(await esl.api(`uuid_record ${uuid} start ${path}`)).to.equal('+OK Success\n');
    return path;
  };

  it('sends keys during a playback, whose audio makes room', async () => {
    const { call, uuid } = it1;
    await esl.execute(uuid, 'playback', join(folder, '600.wav'), 'keys');
    await call.heard.waitUntilTone(600);
    expect(await esl.api(`uuid_send_dtmf ${uuid} 12#@120`)).to.equal(`+OK ${uuid} sent DTMF 12#@120.\n`);
    await call.heard.waitUntilKeys('12#');
    await call.heard.waitUntilTone(600);
    expect(await esl.api('uuid_send_dtmf nobody 1@120')).to.equal('-ERR Cannot locate session!\n');
  });

  it('keeps the caller from hearing anything, and lets him again', async () => {
    const { call, uuid } = it1;
    await esl.execute(uuid, 'playback', join(folder, '600.wav'), 'mute');
    await call.heard.waitUntilTone(600);
    for (let twice = 0; twice < 2; twice++)
      expect(await esl.api(`uuid_audio ${uuid} start write mute 1`)).to.equal('+OK\n');
    await untilSilent(call.heard);
    // The other direction is a state of its own.
    await esl.api(`uuid_audio ${uuid} start read mute 0`);
    await untilSilent(call.heard);
    expect(await esl.api(`uuid_audio ${uuid} start write mute 0`)).to.equal('+OK\n');
    await call.heard.waitUntilTone(600);
    expect(await esl.api('uuid_audio nobody start read mute 1')).to.equal('-ERR No such channel!\n');
    expect(await esl.api(`uuid_audio ${uuid} start both mute 1`)).to.match(/^-USAGE/);
  });

  it('holds: music in place of a playback, which goes on unheard and ends in its time', async () => {
    const { call, uuid } = it1;
    const music = await esl.api(`uuid_getvar ${uuid} hold_music`);
    expect(music).to.match(/^tone_stream:/);
    expect(await esl.api(`uuid_displace ${uuid} stop ${music}`)).to.equal(
      '-ERR Cannot stop displace session!\n',
    );
    expect(await esl.api(`uuid_displace ${uuid} start ${music} 0 l`)).to.equal('+OK Success\n');
    expect(await esl.api(`uuid_displace ${uuid} start ${music} 0 l`)).to.equal(
      '-ERR Cannot displace session!\n',
    );
    expect(await esl.api(`uuid_buglist ${uuid}`)).to.include('<function>displace</function>');
    await call.heard.until(() => call.heard.loudest(call.heard.durationMs - 300) > 300 || undefined, 'music');
    const from = call.heard.durationMs;
    await esl.execute(uuid, 'playback', join(folder, 'short.wav'), 'held');
    expect(
      (await esl.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-UUID': 'held' }))['Application-Response'],
    ).to.equal('FILE PLAYED');
    expect(call.heard.tone(600, from)).to.equal(0);
    expect(await esl.api(`uuid_displace ${uuid} stop ${music}`)).to.equal('+OK Success\n');
    await untilSilent(call.heard);
    expect(await esl.api(`uuid_displace ${uuid} start /nowhere.wav 0 l`)).to.equal(
      '-ERR Cannot displace session!\n',
    );
    expect(await esl.api(`uuid_displace nobody start ${music} 0 l`)).to.equal(
      '-ERR Cannot locate session!\n',
    );
  });

  for (const codec of ['PCMU', 'PCMA'] as const) {
    it(`records the caller left and what he hears right, in ${codec}`, async () => {
      const { call, uuid } = await talk(node, esl, phone, 440, [codec]);
      const path = await record(`both-${codec}.wav`, uuid);
      await esl.execute(uuid, 'playback', join(folder, '600.wav'), `rec-${codec}`);
      await call.heard.waitUntilTone(600, 600);
      expect(await esl.api(`uuid_record ${uuid} stop ${path}`)).to.equal('+OK Success\n');
      const { left, right } = readStereo(path);
      expect(left.length).to.be.above(4000);
      const end = left.length - 2400;
      expect(share(left.slice(end), 440)).to.be.above(0.9);
      expect(share(right.slice(end), 600)).to.be.above(0.9);
      const stop = await esl.event('RECORD_STOP', { 'Record-File-Path': path });
      expect(stop.variable_record_samples).to.equal(String(left.length));
      expect(await esl.api(`uuid_record ${uuid} stop ${path}`)).to.equal(
        '-ERR Cannot stop record session!\n',
      );
    });
  }

  it('goes on as before when it has refused another description: heard, hearing, and with keys', async () => {
    const { call, uuid } = it1;
    await esl.execute(uuid, 'playback', join(folder, '600.wav'), 'unchanged');
    const offer = (...media: string[]): string =>
      ['v=0', 'o=phone 1 2 IN IP4 127.0.0.1', 's=-', 'c=IN IP4 127.0.0.1', 't=0 0', ...media, ''].join(
        '\r\n',
      );
    const unspeakable = [
      offer('m=audio 9 RTP/AVP 18'),
      offer('m=audio 0 RTP/AVP 0', 'm=image 9 udptl t38'),
      offer('m=audio 9 RTP/SAVP 0'),
      'v=0\r\nm=no',
    ];
    for (const method of ['INVITE', 'UPDATE']) {
      for (const body of unspeakable) {
        const { code } = await call.request(method, [['Content-Type', 'application/sdp']], body);
        expect(code, `${method} ${body}`).to.equal(488);
      }
    }
    const sinceMs = call.heard.durationMs;
    await call.heard.until(
      () => (call.heard.tone(600, sinceMs) > 0.8 && call.heard.durationMs > sinceMs + 300) || undefined,
      'the prompt to go on',
    );
    await call.press('7');
    await esl.event('DTMF', { 'Unique-ID': uuid, 'DTMF-Digit': '7' });
    const path = await record('unchanged.wav');
    const heard = call.heard.packets;
    await call.heard.until(() => call.heard.packets > heard + 40 || undefined, 'more');
    await esl.api(`uuid_record ${uuid} stop ${path}`);
    expect(share(readStereo(path).left.slice(1600), 440)).to.be.above(0.5);
  });

  it('goes on with what plays, in the new law, when a re-INVITE changes the codec in the middle of it', async () => {
    const { call, uuid } = it1;
    const music = await esl.api(`uuid_getvar ${uuid} hold_music`);
    await esl.execute(uuid, 'playback', join(folder, '600.wav'), 'changed');
    await call.heard.waitUntilTone(600);
    /** What sounds next. Bytes of the wrong law are a tone as well, and several times as loud. */
    const loudness = async (): Promise<number> => {
      const sinceMs = call.heard.durationMs + 100;
      await call.heard.until(() => call.heard.durationMs > sinceMs + 500 || undefined, 'more');
      return call.heard.loudest(sinceMs);
    };
    const loud = await loudness();
    for (const codec of ['PCMA', 'PCMU', 'PCMA'] as const) {
      await call.changeCodec(codec);
      expect(await loudness(), `the prompt in ${codec}`).to.be.within(0.8 * loud, 1.2 * loud);
    }
    expect(await esl.api(`uuid_displace ${uuid} start ${music} 0 l`)).to.equal('+OK Success\n');
    const soft = await loudness();
    await call.changeCodec('PCMU');
    expect(await loudness(), 'the music').to.be.below(2 * soft);
    await esl.api(`uuid_displace ${uuid} stop ${music}`);
  });

  it('hears keys whose ends are stamped later than their beginning, or are lost, once each', async () => {
    const { call, uuid } = it1;
    const keys = (): string =>
      esl.events
        .filter((e) => e['Event-Name'] === 'DTMF' && e['Unique-ID'] === uuid)
        .map((e) => e['DTMF-Digit'])
        .join('');
    await call.press('56788', 120, 'later-ends');
    await call.press('#');
    await esl.until(() => keys().includes('#'), 'the last key');
    expect(keys()).to.equal('56788#');
    await call.press('1223', 120, 'without-ends');
    await esl.until(() => keys().endsWith('3'), 'the last key');
    expect(keys()).to.equal('56788#1223');
  });

  it('records silence where the caller is muted', async () => {
    const { call, uuid } = it1;
    const path = await record('muted.wav');
    await call.heard.until(() => call.heard.packets > 30 || undefined, 'more');
    await esl.api(`uuid_audio ${uuid} start read mute 1`);
    const muted = call.heard.packets;
    await call.heard.until(() => call.heard.packets > muted + 30 || undefined, 'muted');
    await esl.api(`uuid_record ${uuid} stop ${path}`);
    const { left } = readStereo(path);
    expect(share(left.slice(1600, 3200), 440)).to.be.above(0.9);
    expect(Math.max(...left.slice(-3200).map(Math.abs))).to.equal(0);
  });

  it('has the file complete before it tells of the end of a call', async () => {
    const { call, uuid } = it1;
    const path = await record('left.wav');
    expect(await esl.api(`uuid_buglist ${uuid}`)).to.include(
      `<function>session_record</function>\n  <target>${path}</target>`,
    );
    expect(await record('left.wav'), 'a second start changes nothing').to.equal(path);
    const from = call.heard.packets;
    await call.heard.until(() => call.heard.packets > from + 60 || undefined, 'a second');
    await call.hangup();
    await esl.event('CHANNEL_HANGUP_COMPLETE', { 'Unique-ID': uuid });
    expect(readStereo(path).left.length).to.be.above(8000);
    const names = esl.events.filter((e) => e['Unique-ID'] === uuid).map((e) => e['Event-Name']);
    expect(names.indexOf('RECORD_STOP')).to.be.within(0, names.indexOf('CHANNEL_HANGUP_COMPLETE') - 1);
  });

  it('has the files complete when it is told to end', async () => {
    const other = await NodeProcess.start();
    const itsEsl = await EslClient.connect(other.eslPort, EVENTS);
    const path = join(folder, 'farewell.wav');
    const { call, uuid } = await talk(other, itsEsl, phone, 440);
    await itsEsl.api(`uuid_setvar ${uuid} RECORD_STEREO true`);
    await itsEsl.api(`uuid_record ${uuid} start ${path}`);
    const from = call.heard.packets;
    await call.heard.until(() => call.heard.packets > from + 20 || undefined, 'something to record');
    await other.stop();
    itsEsl.close();
    expect(share(readStereo(path).left.slice(1600), 440)).to.be.above(0.9);
  });

  it('says so when it cannot record', async () => {
    const { uuid } = it1;
    expect(await esl.api(`uuid_record ${uuid} start /proc/none/a.wav`)).to.equal(
      '-ERR Cannot record session!\n',
    );
    expect(await esl.api(`uuid_record ${uuid} start relative.wav`)).to.equal('-ERR Cannot record session!\n');
    expect(await esl.api('uuid_record nobody start /tmp/a.wav')).to.equal('-ERR Cannot locate session!\n');
    expect(await esl.api(`uuid_record ${uuid} stop all`)).to.equal('-ERR Cannot stop record session!\n');
  });

  it('removes a recording in which there is nothing', async () => {
    const path = join(folder, 'nothing.wav');
    const started = esl.api(`uuid_record ${it1.uuid} start ${path}`);
    const stopped = esl.api(`uuid_record ${it1.uuid} stop ${path}`);
    await Promise.all([started, stopped]);
    const samples = Number(
      esl.events.find((e) => e['Event-Name'] === 'RECORD_STOP' && e['Record-File-Path'] === path)
        ?.variable_record_samples,
    );
    expect(existsSync(path)).to.equal(samples > 0);
  });
});

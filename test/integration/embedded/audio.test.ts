import dgram from 'node:dgram';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Caller } from './tools/caller.ts';
import { EslClient } from './tools/esl-client.ts';
import { NodeProcess } from './tools/node-process.ts';
import { loud, samplesOf, share, writeTone } from './tools/sound.ts';

const EVENTS =
  'CHANNEL_PARK CHANNEL_EXECUTE_COMPLETE PLAYBACK_START PLAYBACK_STOP CHANNEL_HANGUP_COMPLETE DTMF';

describe('embedded media node: audio and keys', () => {
  let node: NodeProcess;
  let esl: EslClient;
  let folder = '';
  const callers: Caller[] = [];
  const sockets: dgram.Socket[] = [];

  async function call(formats: string = '0 8 101'): Promise<{ anna: Caller; uuid: string }> {
    const anna = await Caller.open(node.sipPort);
    callers.push(anna);
    anna.invite({ sdp: anna.sdp('sendrecv', formats) });
    const uuid = (await esl.event('CHANNEL_PARK', { variable_sip_call_id: anna.callId }))['Unique-ID'] ?? '';
    await esl.api(`uuid_answer ${uuid}`);
    await anna.response(200);
    return { anna, uuid };
  }

  /** Plays something to its end and gives the packets that came meanwhile. */
  async function heard(anna: Caller, uuid: string, source: string, id: string): Promise<Buffer[]> {
    const from = anna.rtp.length;
    await esl.execute(uuid, 'playback', source, id);
    await esl.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-UUID': id });
    return anna.rtp.slice(from);
  }

  function keys(uuid: string): string {
    return esl.events
      .filter((e) => e['Event-Name'] === 'DTMF' && e['Unique-ID'] === uuid)
      .map((e) => e['DTMF-Digit'])
      .join('');
  }

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'embedded-audio-'));
    writeTone(join(folder, 'a.wav'), 440, 0.5);
    writeTone(join(folder, 'stereo.wav'), 600, 0.3, { rate: 44_100, channels: 2 });
    writeTone(join(folder, 'eight.wav'), 600, 0.3, { rate: 16_000, bits: 8 });
    node = await NodeProcess.start();
    esl = await EslClient.connect(node.eslPort, EVENTS);
  });

  after(async () => {
    esl.close();
    await node.stop();
    rmSync(folder, { recursive: true, force: true });
    expect(node.log).not.to.include('"level":"error"');
  });

  afterEach(async () => {
    await esl.api('hupall');
    for (const each of callers.splice(0)) each.close();
    for (const each of sockets.splice(0)) each.close();
  });

  it('plays a file that is heard whole, in either codec', async () => {
    for (const [formats, payload] of [
      ['0 8 101', 0],
      ['8 0 101', 8],
    ] as const) {
      const { anna, uuid } = await call(formats);
      const tone = loud(samplesOf(await heard(anna, uuid, join(folder, 'a.wav'), `a${payload}`), payload));
      expect(tone.length).to.be.within(3700, 4000);
      expect(share(tone, 440)).to.be.above(0.9);
    }
  });

  it('plays files of other kinds', async () => {
    const { anna, uuid } = await call();
    for (const name of ['stereo.wav', 'eight.wav']) {
      const tone = loud(samplesOf(await heard(anna, uuid, join(folder, name), name), 0));
      expect(tone.length, name).to.be.within(2100, 2400);
      expect(share(tone, 600), name).to.be.above(0.9);
    }
  });

  it('plays tones and music without files', async () => {
    const { anna, uuid } = await call();
    const tone = loud(samplesOf(await heard(anna, uuid, 'tone_stream://%(200,100,1000);loops=2', 't'), 0));
    expect(share(tone.slice(0, 1500), 1000)).to.be.above(0.9);
    expect(tone.length).to.be.within(3900, 4000);
    const from = anna.rtp.length;
    await esl.execute(uuid, 'playback', 'local_stream://moh', 'moh');
    await anna.until(() => loud(samplesOf(anna.rtp.slice(from), 0)).length > 800, 'music');
    await esl.api(`uuid_break ${uuid}`);
    await esl.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-UUID': 'moh' });
  });

  it('sends silence while nothing plays, in an unbroken stream', async () => {
    const { anna, uuid } = await call();
    await anna.until(() => anna.rtp.length >= 5, 'silence');
    await heard(anna, uuid, join(folder, 'a.wav'), 'stream');
    await anna.until(() => anna.rtp.length >= 40, 'more');
    const packets = anna.rtp.slice(0, 40);
    expect(loud(samplesOf(packets.slice(0, 4), 0))).to.have.length(0);
    expect(new Set(packets.map((p) => p.readUInt32BE(8))).size).to.equal(1);
    for (const [i, packet] of packets.entries()) {
      expect(packet.length).to.equal(172);
      expect(packet[0]).to.equal(0x80);
      expect((packet[1] ?? 0) >> 7, `marker of packet ${i}`).to.equal(i === 0 ? 1 : 0);
      const before = packets[i - 1];
      if (!before) continue;
      expect((packet.readUInt16BE(2) - before.readUInt16BE(2)) & 0xffff).to.equal(1);
      // A stall of the machine may cost frames; the clock of the audio goes on for them.
      expect(((packet.readUInt32BE(4) - before.readUInt32BE(4)) >>> 0) % 160).to.equal(0);
    }
  });

  it('sends no audio to a caller on hold', async () => {
    const { anna, uuid } = await call();
    await anna.until(() => anna.rtp.length > 2, 'audio');
    anna.send(anna.request('INVITE', { body: anna.sdp('sendonly') }));
    await anna.until(
      () => anna.received.filter((m) => m.status === 200 && m.method === 'INVITE').length === 2,
      'the answer to hold',
    );
    const held = anna.rtp.length;
    // Some frames' time goes by.
    await esl.execute(uuid, 'sleep', '150', 'while-held');
    await esl.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-UUID': 'while-held' });
    expect(anna.rtp.length - held).to.be.at.most(1);
    anna.send(anna.request('INVITE', { body: anna.sdp() }));
    await anna.until(() => anna.rtp.length > held + 3, 'audio after hold');
    // After a pause the first packet is marked.
    expect(anna.rtp.slice(held).some((p) => ((p[1] ?? 0) & 0x80) !== 0)).to.equal(true);
  });

  it("sends where the caller's audio really comes from, and is not misled by a third party", async () => {
    const { anna } = await call();
    const [moved, stranger] = [dgram.createSocket('udp4'), dgram.createSocket('udp4')];
    sockets.push(moved, stranger);
    await Promise.all(
      [moved, stranger].map((socket) => new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))),
    );
    const counts = { moved: 0, stranger: 0 };
    stranger.on('message', () => counts.stranger++);
    const arrives = new Promise<void>((resolve) =>
      moved.on('message', () => {
        if (++counts.moved === 10) resolve();
      }),
    );
    // Not of the agreed type: no reason to follow it.
    anna.sendRtp(72, Buffer.alloc(20), { from: stranger });
    anna.sendRtp(0, Buffer.alloc(160, 0xff), { from: moved });
    await new Promise<void>((resolve) => moved.once('message', () => resolve()));
    for (let i = 0; i < 5; i++) {
      anna.sendRtp(0, Buffer.alloc(160, 0xff), { from: stranger });
      anna.sendRtp(0, Buffer.alloc(160, 0xff), { from: moved });
    }
    await arrives;
    expect(counts.stranger).to.equal(0);
  });

  it('tells each key once: repeated packets, doubled ones, lost ends, both kinds of INFO', async () => {
    const { anna, uuid } = await call();
    anna.press('1');
    anna.press('1', { double: true });
    anna.press('#', { ends: 1 });
    anna.press('2', { ends: 0 });
    anna.press('*');
    await esl.until(() => keys(uuid).length >= 5, 'five keys');
    anna.send(anna.request('INFO', { body: 'Signal=7\r\nDuration=160\r\n', type: 'application/dtmf-relay' }));
    await anna.response(200, 'INFO');
    anna.send(anna.request('INFO', { body: '9', type: 'application/dtmf' }));
    await esl.until(() => keys(uuid).length >= 7, 'seven keys');
    expect(keys(uuid)).to.equal('11#2*79');
    const events = esl.events.filter((e) => e['Event-Name'] === 'DTMF' && e['Unique-ID'] === uuid);
    expect(events[0]).to.deep.include({ 'DTMF-Duration': '960', 'DTMF-Source': 'RTP' });
    expect(events[5]).to.deep.include({ 'DTMF-Duration': '1280', 'DTMF-Source': 'ENDPOINT' });
    expect(Object.keys(events[0] ?? {}).some((name) => name.startsWith('variable_'))).to.equal(false);
  });

  it('uses the payload type for keys that the caller offered', async () => {
    const anna = await Caller.open(node.sipPort);
    callers.push(anna);
    anna.invite({ sdp: anna.sdp('sendrecv', '0 97').replaceAll(':101 ', ':97 ') });
    const uuid = (await esl.event('CHANNEL_PARK', { variable_sip_call_id: anna.callId }))['Unique-ID'] ?? '';
    await esl.api(`uuid_answer ${uuid}`);
    expect((await anna.response(200)).body).to.include('a=rtpmap:97 telephone-event/8000');
    anna.press('4', { payload: 101 });
    anna.press('5', { payload: 97 });
    await esl.until(() => keys(uuid).length > 0, 'a key');
    expect(keys(uuid)).to.equal('5');
  });

  it('goes on playing when a key is pressed, unless it is one that ends the playback', async () => {
    const { anna, uuid } = await call();
    await esl.execute(uuid, 'playback', 'silence_stream://60000', 'k0');
    await esl.event('PLAYBACK_START', { 'Unique-ID': uuid });
    anna.press('*');
    await esl.until(() => keys(uuid) === '*', 'the key');
    expect(esl.events.some((e) => e['Application-UUID'] === 'k0')).to.equal(false);
    await esl.api(`uuid_setvar ${uuid} playback_terminators #`);
    anna.press('1');
    anna.press('#');
    await esl.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-UUID': 'k0' });
    expect(keys(uuid)).to.equal('*1#');
    expect(await esl.api(`uuid_getvar ${uuid} playback_terminator_used`)).to.equal('#');
  });

  it('keeps a key pressed during a sleep for what comes next', async () => {
    const { anna, uuid } = await call();
    await esl.execute(uuid, 'sleep', '60000', 'sleep');
    anna.press('3');
    await esl.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-UUID': 'sleep' });
    await esl.until(() => keys(uuid) === '3', 'the key');
  });

  it('sends keys as events with three ends each', async () => {
    const { anna, uuid } = await call();
    await anna.until(() => anna.rtp.length > 0, 'audio');
    expect(await esl.api(`uuid_send_dtmf ${uuid} 42#@120`)).to.equal(`+OK ${uuid} sent DTMF 42#@120.\n`);
    const events = (): Buffer[] => anna.rtp.filter((p) => ((p[1] ?? 0) & 0x7f) === 101);
    const ends = (): Buffer[] => events().filter((p) => ((p[13] ?? 0) & 0x80) !== 0);
    await anna.until(() => ends().length === 9, 'nine end packets');
    expect(ends().map((p) => p[12])).to.deep.equal([4, 4, 4, 2, 2, 2, 11, 11, 11]);
    expect(new Set(ends().map((p) => p.readUInt16BE(14)))).to.deep.equal(new Set([960]));
    for (const key of [4, 2, 11]) {
      const packets = events().filter((p) => p[12] === key);
      expect(new Set(packets.map((p) => p.readUInt32BE(4))).size, 'one timestamp per key').to.equal(1);
      expect(packets.map((p) => (p[1] ?? 0) >> 7)).to.deep.equal([
        1,
        ...new Array(packets.length - 1).fill(0),
      ]);
    }
  });

  it('counts what it sent and received', async () => {
    const { anna, uuid } = await call();
    for (let i = 0; i < 3; i++) anna.sendRtp(0, Buffer.alloc(160, 0xff));
    await anna.until(() => anna.rtp.length > 5, 'audio');
    anna.bye();
    const end = await esl.event('CHANNEL_HANGUP_COMPLETE', { 'Unique-ID': uuid });
    expect(end.variable_rtp_audio_in_packet_count).to.equal('3');
    expect(Number(end.variable_rtp_audio_out_packet_count)).to.be.at.least(5);
  });
});

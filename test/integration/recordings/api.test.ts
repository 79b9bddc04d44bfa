import { rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Call } from '../../../control/calls/call.ts';
import { isTerminal } from '../../../control/calls/call.ts';
import { CallService } from '../../../control/calls/service.ts';
import { recordingControl } from '../../../control/recordings/control.ts';
import { recordingRoutes } from '../../../control/recordings/routes.ts';
import { startApi, type TestApi } from '../http/api.ts';
import { createDatabase, type TestDatabase } from '../webhooks/database.ts';
import { mediaFolder, refused, RecordingChannel, Room } from './room.ts';

describe('the API of recordings', () => {
  let database: TestDatabase;
  let folder: string;
  let room: Room;
  let api: TestApi;
  let own: Awaited<ReturnType<TestApi['customer']>>;
  let stranger: Awaited<ReturnType<TestApi['customer']>>;
  const channels = new Map<string, RecordingChannel>();

  before(async () => {
    database = await createDatabase();
    folder = await mediaFolder();
    room = new Room(database, { mediaFiles: folder });
    await room.takeOver();
    const calls = new CallService({
      calls: room.calls,
      store: room.callStore,
      attemptsOf: async () => [],
      hangup: async () => false,
    });
    api = await startApi({
      endpoints: recordingRoutes({
        service: room.service,
        call: (id, scope) => calls.get(id, scope),
        control: recordingControl({ service: room.service, channelOf: (id) => channels.get(id) }),
      }),
    });
    [own, stranger] = [await api.customer('Own'), await api.customer('Stranger')];
  });
  after(async () => {
    await api.close();
    await room.close();
    await database.drop();
    await rm(folder, { recursive: true });
  });

  /** A call of ours with a channel. */
  function call(): { live: Call; channel: RecordingChannel } {
    const live = room.call(own.applicationId);
    const channel = new RecordingChannel();
    channels.set(live.id, channel);
    return { live, channel };
  }
  const control = (id: string, body?: unknown, key = own.key) =>
    api.send('POST', `/v1/calls/${id}/recordings`, { key, body });
  const get = (path: string, key = own.key) => api.send('GET', path, { key });
  const audio = (id: string, headers: Record<string, string> = {}, method = 'GET', key = own.key) =>
    fetch(`${api.url}/v1/recordings/${id}/audio`, {
      method,
      headers: { Authorization: `Bearer ${key}`, ...headers },
    });
  /** A completed recording of ours. */
  async function completed(): Promise<{ id: string; bytes: Buffer; live: Call }> {
    const { live, channel } = call();
    await control(live.id);
    await control(live.id, { action: 'stop' });
    await room.ended(`rec_${live.id}`);
    return { id: `rec_${live.id}`, bytes: channel.audio, live };
  }

  it('starts and stops a recording in the documented shape', async () => {
    const { live, channel } = call();
    const started = await control(live.id);
    expect(started.status).to.equal(200);
    const { created_at, updated_at, ...recording } = started.body.data.recording;
    expect(started.body.data).to.deep.equal({
      call_id: live.id,
      provider_call_id: channel.uuid,
      action: 'start',
      recording: started.body.data.recording,
    });
    expect(recording).to.deep.equal({
      id: `rec_${live.id}`,
      call_id: live.id,
      customer_id: 'cust_1',
      application_id: own.applicationId,
      provider_call_id: channel.uuid,
      status: 'started',
      storage_type: 'local',
      file_url: '',
      duration_seconds: 0,
      size_bytes: 0,
    });
    expect([created_at, updated_at].every((time) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(time))).to.equal(
      true,
    );
    expect((await control(live.id, { action: 'start' })).body.data.recording.id).to.equal(`rec_${live.id}`);
    const stopped = await control(live.id, { action: 'stop' });
    expect(stopped.body.data).to.include({ action: 'stop' });
    expect(stopped.body.data.recording).to.include({
      status: 'completed',
      duration_seconds: 3,
      size_bytes: channel.audio.length,
      file_url: `https://api.example.com/v1/recordings/rec_${live.id}/audio`,
    });
  });

  it('refuses with the documented codes', async () => {
    const { live, channel } = call();
    const outcome = async (...args: Parameters<typeof control>) => {
      const { status, body } = await control(...args);
      return [status, body.error?.code];
    };
    expect(await outcome(live.id, { action: 'pause' })).to.deep.equal([400, 'invalid_action']);
    expect(await outcome(live.id, { action: 7 })).to.deep.equal([400, 'invalid_request']);
    expect(await outcome(live.id, { acton: 'stop' })).to.deep.equal([400, 'invalid_request']);
    expect(
      (await api.send('POST', `/v1/calls/${live.id}/recordings`, { key: own.key, raw: '{' })).body.error.code,
    ).to.equal('invalid_json');
    expect(await outcome(live.id, {}, 'mv_live_nobody')).to.deep.equal([401, 'unauthorized']);
    expect(await outcome('call_nobody')).to.deep.equal([404, 'active_call_not_found']);
    expect(await outcome(live.id, {}, stranger.key)).to.deep.equal([404, 'active_call_not_found']);
    expect(await outcome(live.id, { action: 'stop' })).to.deep.equal([404, 'recording_not_started']);
    channels.delete(live.id);
    expect(await outcome(live.id)).to.deep.equal([409, 'call_uuid_missing']);
    channels.set(live.id, channel);
    channel.refuse = refused();
    expect(await outcome(live.id)).to.deep.equal([502, 'recording_start_failed']);
    await control(live.id);
    channel.refuse = refused();
    expect(await outcome(live.id, { action: 'stop' })).to.deep.equal([502, 'recording_stop_failed']);
    await channel.end();
    room.hangUp(live);
    expect(isTerminal(live.status)).to.equal(true);
    expect(await outcome(live.id, { action: 'stop' })).to.deep.equal([404, 'active_call_not_found']);
    await room.ended(`rec_${live.id}_2`);
  });

  it("lists a call's recordings, newest first and in pages, with the call over and forgotten", async () => {
    const { live } = call();
    for (let i = 0; i < 3; i++) {
      await control(live.id);
      await control(live.id, { action: 'stop' });
    }
    room.hangUp(live);
    await room.journal.settled();
    const path = `/v1/calls/${live.id}/recordings`;
    const first = await get(`${path}?limit=2`);
    expect([first.body.count, first.body.data.map(({ id }: { id: string }) => id)]).to.deep.equal([
      2,
      [`rec_${live.id}_3`, `rec_${live.id}_2`],
    ]);
    const second = await get(`${path}?limit=2&cursor=${first.body.next_cursor}`);
    expect(second.body.data.map(({ id }: { id: string }) => id)).to.deep.equal([`rec_${live.id}`]);
    expect(second.body.next_cursor).to.equal(undefined);
    expect((await get(path, stranger.key)).body.error.code).to.equal('call_not_found');
  });

  it("shows and plays an application's own recordings only", async () => {
    const { id, bytes } = await completed();
    expect((await get(`/v1/recordings/${id}`)).body).to.include({
      id,
      status: 'completed',
      size_bytes: bytes.length,
    });
    for (const [path, key] of [
      [`/v1/recordings/${id}`, stranger.key],
      ['/v1/recordings/rec_nothing', own.key],
    ] as const) {
      expect((await get(path, key)).status).to.equal(404);
    }
    expect((await audio(id, {}, 'GET', stranger.key)).status).to.equal(404);
    expect((await api.send('DELETE', `/v1/recordings/${id}`, { key: stranger.key })).status).to.equal(404);
    expect((await audio(id)).status).to.equal(200);
  });

  it('gives the audio whole, in parts, and its size alone', async () => {
    const { id, bytes } = await completed();
    const whole = await audio(id);
    expect([
      whole.status,
      whole.headers.get('content-type'),
      whole.headers.get('content-length'),
      whole.headers.get('accept-ranges'),
    ]).to.deep.equal([200, 'audio/wav', String(bytes.length), 'bytes']);
    expect(Buffer.from(await whole.arrayBuffer()).equals(bytes)).to.equal(true);
    const part = await audio(id, { Range: 'bytes=100-199' });
    expect([
      part.status,
      part.headers.get('content-range'),
      part.headers.get('content-length'),
    ]).to.deep.equal([206, `bytes 100-199/${bytes.length}`, '100']);
    expect(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(100, 200))).to.equal(true);
    const end = await audio(id, { Range: 'bytes=-10' });
    expect(Buffer.from(await end.arrayBuffer()).equals(bytes.subarray(-10))).to.equal(true);
    const head = await audio(id, { Range: 'bytes=0-9' }, 'HEAD');
    expect([
      head.status,
      head.headers.get('content-length'),
      (await head.arrayBuffer()).byteLength,
    ]).to.deep.equal([200, String(bytes.length), 0]);
    const beyond = await audio(id, { Range: `bytes=${bytes.length}-` });
    expect([beyond.status, beyond.headers.get('content-range')]).to.deep.equal([
      416,
      `bytes */${bytes.length}`,
    ]);
    expect(((await beyond.json()) as { error: { code: string } }).error.code).to.equal(
      'range_not_satisfiable',
    );
    const tag = whole.headers.get('etag') ?? '';
    expect((await audio(id, { Range: 'bytes=0-9', 'If-Range': tag })).status).to.equal(206);
    expect((await audio(id, { Range: 'bytes=0-9', 'If-Range': '"another"' })).status).to.equal(200);
  });

  it('a listener who leaves in the middle leaves nothing open', async () => {
    const { live, channel } = call();
    channel.audio = Buffer.concat([channel.audio, Buffer.alloc(20_000_000)]);
    channel.audio.writeUInt32LE(channel.audio.length - 8, 4);
    channel.audio.writeUInt32LE(channel.audio.length - 44, 40);
    await control(live.id);
    await control(live.id, { action: 'stop' });
    await room.ended(`rec_${live.id}`);
    const { hostname, port } = new URL(api.url);
    const socket = connect(Number(port), hostname);
    socket.write(
      `GET /v1/recordings/rec_${live.id}/audio HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${own.key}\r\n\r\n`,
    );
    await new Promise((resolve) => socket.once('data', resolve));
    socket.destroy();
    expect(Number((await audio(`rec_${live.id}`, {}, 'HEAD')).headers.get('content-length'))).to.equal(
      channel.audio.length,
    );
  });

  it('deletes what has ended, and says so of what has not', async () => {
    const { live, channel } = call();
    await control(live.id);
    const path = `/v1/recordings/rec_${live.id}`;
    const running = await api.send('DELETE', path, { key: own.key });
    expect([running.status, running.body.error.code]).to.deep.equal([409, 'recording_in_progress']);
    expect((await audio(`rec_${live.id}`)).status).to.equal(404);
    await control(live.id, { action: 'stop' });
    await room.ended(`rec_${live.id}`);
    expect((await api.send('DELETE', path, { key: own.key })).status).to.equal(204);
    expect((await get(path)).status).to.equal(404);
    expect((await audio(`rec_${live.id}`)).status).to.equal(404);
    expect((await api.send('DELETE', path, { key: own.key })).status).to.equal(404);
    expect((await get(`/v1/calls/${live.id}/recordings`)).body).to.deep.equal({ count: 0, data: [] });
    await channel.end();
  });

  it('audio that has gone from the storage is not there; a storage that cannot be reached is said to be', async () => {
    const { id } = await completed();
    await rm(join(folder, 'kept/cust_1', `${id}.wav`));
    expect((await audio(id)).status).to.equal(404);
    await database.db('recordings').where({ id }).update({ storage_type: 's3' });
    expect((await audio(id)).status).to.equal(503);
    expect((await api.send('DELETE', `/v1/recordings/${id}`, { key: own.key })).status).to.equal(503);
  });

  it('is in the document, with the parts and the media type of the audio', async () => {
    const operation = api.document.paths['/v1/recordings/{id}/audio']?.['get'];
    expect(Object.keys(operation?.responses ?? {})).to.include.members(['200', '206', '404', '416']);
    expect(Object.keys(operation?.responses['206']?.content ?? {})).to.deep.equal(['audio/wav']);
    expect(operation?.parameters?.map(({ name, in: where }) => `${name} in ${where}`)).to.have.members([
      'id in path',
      'Range in header',
    ]);
    expect(await (await fetch(`${api.url}/docs`)).text()).to.contain('audio/wav');
  });
});

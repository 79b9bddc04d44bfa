import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { expect } from 'chai';
import { deferred } from '../../../control/lib/deferred.ts';
import { LocalStorage } from '../../../control/recordings/local-storage.ts';
import { S3Storage } from '../../../control/recordings/s3-storage.ts';
import type { RecordingOptions } from '../../../control/recordings/service.ts';
import type { Storage } from '../../../control/recordings/storage.ts';
import { createDatabase, type TestDatabase } from '../webhooks/database.ts';
import { mediaFolder, moveAway, RecordingChannel, Room, until } from './room.ts';
import { startS3 } from './s3-server.ts';

describe('recordings survive', () => {
  let database: TestDatabase;
  let s3: Awaited<ReturnType<typeof startS3>>;
  let folder: string;
  let channel: RecordingChannel;
  let rooms: Room[];
  before(async () => {
    database = await createDatabase();
    s3 = await startS3('recordings');
  });
  after(async () => {
    await database.drop();
    await s3.close();
  });
  beforeEach(async () => {
    for (const table of ['recordings', 'calls']) await database.db(table).delete();
    Object.assign(s3.state, { failWith: undefined, hang: false, requests: [] });
    folder = await mediaFolder();
    channel = new RecordingChannel();
    rooms = [];
  });
  afterEach(async () => {
    await Promise.all(rooms.map((room) => room.close()));
    await rm(folder, { recursive: true });
  });

  /** A control process begins its life. */
  async function begin(options: Partial<RecordingOptions> = {}): Promise<Room> {
    const room = new Room(database, { mediaFiles: folder, ...options });
    rooms.push(room);
    await room.takeOver();
    return room;
  }
  const onS3 = (): Pick<RecordingOptions, 'storage' | 'storages'> => ({
    storage: 's3',
    storages: { s3: new S3Storage({ ...s3.options, timeoutMs: 2000 }) },
  });
  const die = async (room: Room): Promise<void> => {
    rooms = rooms.filter((one) => one !== room);
    await room.kill();
  };
  const uploads = () => s3.state.requests.filter((request) => request.startsWith('PUT'));
  const whole = { start: 0, end: stereoBytes() - 1 };

  it('in S3: uploaded, removed from the media files, and fetched from there', async () => {
    const room = await begin(onS3());
    const call = room.call();
    await room.service.start(call, channel);
    await room.service.stop(call, channel);
    const ended = await room.ended(`rec_${call.id}`);
    expect([ended.status, ended.storageType]).to.deep.equal(['completed', 's3']);
    expect((await buffer(await room.service.library.audio(ended, whole))).equals(channel.audio)).to.equal(
      true,
    );
    expect(uploads()).to.deep.equal([`PUT /recordings/cust_1/rec_${call.id}.wav`]);
    await until(
      async () => ((await readdir(join(folder, 'recordings'))).length === 0 ? true : undefined),
      'the file to be removed',
    );
    await room.service.library.delete(ended.id, { applicationId: 'app_1' });
    expect(s3.state.requests.at(-1)).to.equal(`DELETE /recordings/cust_1/rec_${call.id}.wav`);
  });

  it('a storage that is down for a while: completed once it is back, and not told of before', async () => {
    const room = await begin(onS3());
    s3.state.failWith = 503;
    const call = room.call();
    await room.service.start(call, channel);
    await channel.end();
    room.hangUp(call);
    await room.until(`rec_${call.id}`, ({ attempts }) => attempts >= 3);
    expect((await room.store.find(`rec_${call.id}`))?.status).to.equal('started');
    expect(await room.names(call.id)).to.deep.equal(['recording.started']);
    s3.state.failWith = undefined;
    expect((await room.ended(`rec_${call.id}`)).status).to.equal('completed');
    expect(await room.names(call.id)).to.deep.equal(['recording.started', 'recording.completed']);
  });

  it('a storage that never comes back: failed at last, with the file left for the operator', async () => {
    const room = await begin({ ...onS3(), giveUpMs: 100 });
    s3.state.failWith = 500;
    const call = room.call();
    await room.service.start(call, channel);
    await room.service.stop(call, channel);
    expect((await room.ended(`rec_${call.id}`)).failure).to.equal('the recording could not be stored');
    expect(await room.names(call.id)).to.deep.equal(['recording.started', 'recording.failed']);
    expect(existsSync(join(folder, 'recordings', `rec_${call.id}.wav`))).to.equal(true);
  });

  it('a crash between stop and upload', async () => {
    s3.state.hang = true;
    const first = await begin(onS3());
    const call = first.call();
    await first.service.start(call, channel);
    await first.service.stop(call, channel);
    await until(async () => (uploads().length > 0 ? true : undefined), 'the upload to begin');
    await first.journal.settled();
    await die(first);
    s3.state.hang = false;
    const second = await begin(onS3());
    expect((await second.ended(`rec_${call.id}`)).status).to.equal('completed');
    expect(await second.names(call.id)).to.deep.equal(['recording.started', 'recording.completed']);
  });

  it('a crash between the file being stored and anybody hearing of it', async () => {
    const real = new LocalStorage(join(folder, 'kept'));
    const stored = deferred<void>();
    // Takes the file, and never comes back.
    const forgetful: Storage = {
      type: 'local',
      size: (key) => real.size(key),
      read: (key, range) => real.read(key, range),
      delete: (key) => real.delete(key),
      put: async (key, file) => {
        await real.put(key, file);
        stored.resolve();
        await new Promise(() => undefined);
      },
    };
    const first = await begin({ storages: { local: forgetful } });
    const call = first.call();
    await first.service.start(call, channel);
    await first.service.stop(call, channel);
    await stored.promise;
    await first.journal.settled();
    await die(first);
    const second = await begin();
    const ended = await second.ended(`rec_${call.id}`);
    expect([ended.status, ended.durationSeconds, ended.sizeBytes]).to.deep.equal([
      'completed',
      3,
      channel.audio.length,
    ]);
    expect((await buffer(await second.service.library.audio(ended, whole))).equals(channel.audio)).to.equal(
      true,
    );
    expect(await second.names(call.id)).to.deep.equal(['recording.started', 'recording.completed']);
  });

  it('a file that is lost on its way: failed, not waited for', async () => {
    const losing: Storage = Object.assign(new LocalStorage(join(folder, 'kept')), {
      size: async () => undefined,
    });
    const room = await begin({ storages: { local: losing } });
    const call = room.call();
    await room.service.start(call, channel);
    const path = join(folder, 'recordings', `rec_${call.id}.wav`);
    // Somebody takes it away after it has been looked at.
    losing.put = async (key, file, about) => {
      await rm(path);
      return LocalStorage.prototype.put.call(
        new LocalStorage(join(folder, 'kept')),
        key,
        file,
        ...([about] as unknown as []),
      );
    };
    await room.service.stop(call, channel);
    expect((await room.ended(`rec_${call.id}`)).failure).to.equal(
      'the file was lost on its way to the storage',
    );
  });

  it('the end of a control process while the call goes on: the recording does too, and is completed with the call', async () => {
    const first = await begin();
    const call = first.call();
    await first.service.start(call, channel);
    await first.journal.settled();
    await die(first);
    const second = await begin();
    const adopted = second.calls.get(call.id);
    if (!adopted) throw new Error('the call should have been adopted');
    await second.service.resumed(adopted, channel);
    expect((await second.service.start(adopted, channel)).id).to.equal(`rec_${call.id}`);
    expect(channel.asked).to.deep.equal(['start']);
    await channel.end();
    second.hangUp(adopted);
    expect((await second.ended(`rec_${call.id}`)).status).to.equal('completed');
    expect(await second.names(call.id)).to.deep.equal(['recording.started', 'recording.completed']);
  });

  it('the end of a control process before the media node has heard of the recording: it begins with the next', async () => {
    const first = await begin();
    const call = first.call();
    const deaf = new RecordingChannel();
    deaf.hold = deferred();
    void first.service.start(call, deaf).catch(() => undefined);
    await until(async () => (deaf.asked.length > 0 ? true : undefined), 'the node to be asked');
    await first.journal.settled();
    await die(first);
    const second = await begin();
    const adopted = second.calls.get(call.id);
    if (!adopted) throw new Error('the call should have been adopted');
    await second.service.resumed(adopted, channel);
    await second.service.stop(adopted, channel);
    expect((await second.ended(`rec_${call.id}`)).status).to.equal('completed');
    expect(await second.names(call.id)).to.deep.equal(['recording.started', 'recording.completed']);
  });

  it('a call that ends while nobody looks: its recording is completed from the file', async () => {
    const first = await begin();
    const call = first.call();
    await first.service.start(call, channel);
    await first.journal.settled();
    await die(first);
    await channel.end();
    await database.db('calls').where({ id: call.id }).update({ status: 'completed', ended_at: new Date() });
    const second = await begin();
    expect((await second.ended(`rec_${call.id}`)).status).to.equal('completed');
    expect((await second.told(call.id)).map(({ data }) => data.event_key)).to.deep.equal([
      `${call.id}:recording.started`,
      `${call.id}:recording.completed`,
    ]);
  });

  it('a folder that is away for a while: nothing is missing before it is back', async () => {
    const room = await begin({ patienceMs: 1 });
    const call = room.call();
    await room.service.start(call, channel);
    await channel.end();
    await moveAway(join(folder, 'recordings'), join(folder, 'away'));
    room.hangUp(call);
    await room.until(`rec_${call.id}`, ({ attempts }) => attempts >= 2);
    await moveAway(join(folder, 'away'), join(folder, 'recordings'));
    expect((await room.ended(`rec_${call.id}`)).status).to.equal('completed');
  });

  it('a database that is away when they stop: finished once it is back, and not taken for running meanwhile', async () => {
    const room = await begin();
    const call = room.call();
    await room.service.start(call, channel);
    const original = room.store.stopped.bind(room.store);
    let tries = 0;
    room.store.stopped = (...args) =>
      ++tries < 2 ? Promise.reject(new Error('read ECONNRESET')) : original(...args);
    await room.service.stop(call, channel);
    expect(room.service.counters).to.include({ running: 0, unmarked: 1 });
    expect((await room.service.start(call, channel)).id).to.equal(`rec_${call.id}_2`);
    expect((await room.ended(`rec_${call.id}`)).status).to.equal('completed');
  });

  it('many at once: no more are worked on than may be, and all are told of once', async () => {
    const room = await begin({ concurrency: 3 });
    const calls = Array.from({ length: 20 }, () => room.call());
    const channels = calls.map(() => new RecordingChannel());
    for (const [i, call] of calls.entries()) await room.service.start(call, channels[i] ?? channel);
    expect(room.service.counters.running).to.equal(20);
    await Promise.all(channels.map((one) => one.end()));
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, room.service.counters.finishing);
    }, 1);
    for (const call of calls) room.hangUp(call);
    for (const call of calls) expect((await room.ended(`rec_${call.id}`)).status).to.equal('completed');
    clearInterval(watch);
    expect(most).to.equal(3);
    for (const call of calls)
      expect(await room.names(call.id)).to.deep.equal(['recording.started', 'recording.completed']);
    await until(
      async () => (Object.values(room.service.counters).every((n) => n === 0) ? true : undefined),
      'nothing to be left',
    );
  });

  it('recordings of another control process are left alone', async () => {
    const other = new Room(database, { mediaFiles: folder, instance: 2 });
    rooms.push(other);
    await other.takeOver();
    const call = other.call();
    await other.service.start(call, channel);
    const room = new Room(database, { mediaFiles: folder });
    rooms.push(room);
    await room.service.recover();
    expect(room.service.counters).to.deep.equal({ running: 0, finishing: 0, waiting: 0, unmarked: 0 });
    expect((await room.store.find(`rec_${call.id}`))?.stoppedAt).to.equal(undefined);
  });
});

function stereoBytes(): number {
  return new RecordingChannel().audio.length;
}

import { readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { deferred } from '../../../control/lib/deferred.ts';
import type { ApiError } from '../../../control/lib/errors.ts';
import { ChannelGone } from '../../../control/media/media.ts';
import { inspectWav } from '../../../control/recordings/wav-file.ts';
import { createDatabase, type TestDatabase } from '../webhooks/database.ts';
import { mediaFolder, refused, RecordingChannel, Room, until } from './room.ts';

describe('a recording', () => {
  let database: TestDatabase;
  let folder: string;
  let room: Room;
  let channel: RecordingChannel;
  before(async () => {
    database = await createDatabase();
  });
  after(() => database.drop());
  beforeEach(async () => {
    for (const table of ['recordings', 'calls']) await database.db(table).delete();
    folder = await mediaFolder();
    room = new Room(database, { mediaFiles: folder });
    await room.takeOver();
    channel = new RecordingChannel();
  });
  afterEach(async () => {
    await room.close();
    await rm(folder, { recursive: true });
  });

  const written = (id: string) => join(folder, 'recordings', `${id}.wav`);
  const kept = (id: string) => join(folder, 'kept/cust_1', `${id}.wav`);
  const codeOf = (work: Promise<unknown>) =>
    work.then(
      () => 'none',
      (error: ApiError) => error.code,
    );

  it('starts, stops, and is completed when its audio can be fetched', async () => {
    const call = room.call();
    const started = await room.service.start(call, channel);
    expect(room.service.library.toJson(started)).to.include({
      id: `rec_${call.id}`,
      call_id: call.id,
      customer_id: 'cust_1',
      application_id: 'app_1',
      provider_call_id: channel.uuid,
      status: 'started',
      storage_type: 'local',
      file_url: '',
      duration_seconds: 0,
      size_bytes: 0,
    });
    await room.service.stop(call, channel);
    const ended = await room.ended(started.id);
    expect(room.service.library.toJson(ended)).to.include({
      status: 'completed',
      duration_seconds: 3,
      size_bytes: channel.audio.length,
      file_url: `https://api.example.com/v1/recordings/rec_${call.id}/audio`,
    });
    expect((await readFile(kept(started.id))).equals(channel.audio)).to.equal(true);
    expect(await readdir(join(folder, 'recordings'))).to.deep.equal([]);
    const told = await room.told(call.id);
    expect(told.map(({ event, data }) => [event, data.status, data.event_key])).to.deep.equal([
      ['recording.started', 'started', `${call.id}:recording.started`],
      ['recording.completed', 'completed', `${call.id}:recording.completed`],
    ]);
    expect(told[1]?.data).to.include({
      id: started.id,
      duration_seconds: 3,
      size_bytes: channel.audio.length,
    });
    expect(room.service.counters).to.include({ running: 0, unmarked: 0 });
  });

  it('has a row before the media node is asked', async () => {
    const call = room.call();
    channel.hold = deferred();
    const starting = room.service.start(call, channel);
    await until(async () => (channel.asked.length > 0 ? true : undefined), 'the node to be asked');
    expect((await room.store.find(`rec_${call.id}`))?.recordingAt).to.equal(undefined);
    expect((await room.store.find(`rec_${call.id}`))?.status).to.equal('started');
    channel.hold.resolve();
    await starting;
  });

  it('that runs is what a second start gets, also when both come at once', async () => {
    const call = room.call();
    const both = await Promise.all([room.service.start(call, channel), room.service.start(call, channel)]);
    expect(both.map(({ id }) => id)).to.deep.equal([`rec_${call.id}`, `rec_${call.id}`]);
    expect((await room.service.start(call, channel)).id).to.equal(`rec_${call.id}`);
    expect(channel.asked).to.deep.equal(['start']);
    expect(await room.names(call.id)).to.deep.equal(['recording.started']);
  });

  it('is followed by a second one of the same call, with a number in its id', async () => {
    const call = room.call();
    for (const id of [`rec_${call.id}`, `rec_${call.id}_2`, `rec_${call.id}_3`]) {
      expect((await room.service.start(call, channel)).id).to.equal(id);
      await room.service.stop(call, channel);
    }
    for (const id of [`rec_${call.id}`, `rec_${call.id}_2`, `rec_${call.id}_3`])
      expect((await room.ended(id)).status).to.equal('completed');
    expect((await room.service.library.list(call.id, 10)).map(({ n }) => n)).to.deep.equal([3, 2, 1]);
    const keys = (await room.told(call.id)).map(({ data }) => data.event_key);
    expect(new Set(keys).size).to.equal(6);
  });

  it('that is deleted gives its id to no other', async () => {
    const call = room.call();
    await room.service.start(call, channel);
    expect(await codeOf(room.service.library.delete(`rec_${call.id}`, { applicationId: 'app_1' }))).to.equal(
      'recording_in_progress',
    );
    await room.service.stop(call, channel);
    await room.ended(`rec_${call.id}`);
    await room.service.library.delete(`rec_${call.id}`, { applicationId: 'app_1' });
    expect(await room.store.find(`rec_${call.id}`)).to.equal(undefined);
    expect(await readdir(join(folder, 'kept/cust_1'))).to.deep.equal([]);
    expect((await room.service.start(call, channel)).id).to.equal(`rec_${call.id}_2`);
  });

  it('that was not started cannot be stopped, and one of a call that is over cannot be started', async () => {
    const call = room.call();
    expect(await codeOf(room.service.stop(call, channel))).to.equal('recording_not_started');
    await room.service.start(call, channel);
    await room.service.stop(call, channel);
    expect(await codeOf(room.service.stop(call, channel))).to.equal('recording_not_started');
    room.hangUp(call);
    expect(await codeOf(room.service.start(call, channel))).to.equal('active_call_not_found');
  });

  it('still running when the call ends is completed, and told of by a call that is over', async () => {
    const call = room.call();
    await room.service.start(call, channel);
    await channel.end();
    room.hangUp(call);
    expect((await room.ended(`rec_${call.id}`)).status).to.equal('completed');
    const told = await room.told(call.id);
    expect(told.map(({ event, call: { status } }) => [event, status])).to.deep.equal([
      ['recording.started', 'in_progress'],
      ['recording.completed', 'completed'],
    ]);
    expect(room.calls.get(call.id)).to.equal(undefined);
    expect((await room.callStore.find(call.id))?.status).to.equal('completed');
  });

  it('is completed from what there is when the node has died with the file open', async () => {
    const call = room.call();
    await room.service.start(call, channel);
    channel.die();
    room.hangUp(call);
    const ended = await room.ended(`rec_${call.id}`);
    expect([ended.status, ended.durationSeconds]).to.deep.equal(['completed', 3]);
    expect(await inspectWav(kept(ended.id))).to.include({ closed: true, seconds: 3 });
  });

  it('waits for a file that is closed late', async () => {
    const call = room.call();
    await room.service.start(call, channel);
    room.hangUp(call);
    await room.until(`rec_${call.id}`, ({ stoppedAt }) => stoppedAt !== undefined);
    await channel.end();
    expect((await room.ended(`rec_${call.id}`)).sizeBytes).to.equal(channel.audio.length);
  });

  it('fails when the node has written no file, or no audio', async () => {
    const [nothing, empty] = [room.call(), room.call()];
    channel.writesNothing = true;
    await room.service.start(nothing, channel);
    const mute = new RecordingChannel();
    mute.audio = mute.audio.subarray(0, 44);
    await room.service.start(empty, mute);
    room.hangUp(nothing);
    room.hangUp(empty);
    expect((await room.ended(`rec_${nothing.id}`)).failure).to.equal('the media node has written no file');
    expect((await room.ended(`rec_${empty.id}`)).failure).to.equal('the recording holds no audio');
    expect(await room.names(nothing.id)).to.deep.equal(['recording.started', 'recording.failed']);
    expect((await room.told(nothing.id))[1]?.data).to.include({
      status: 'failed',
      message: 'the media node has written no file',
    });
  });

  it('that the node refuses has failed, once, and the next one may begin', async () => {
    const call = room.call();
    channel.refuse = refused();
    expect(await codeOf(room.service.start(call, channel))).to.equal('recording_start_failed');
    expect((await room.service.start(call, channel)).id).to.equal(`rec_${call.id}_2`);
    expect((await room.ended(`rec_${call.id}`)).status).to.equal('failed');
    expect(await room.names(call.id)).to.deep.equal(['recording.failed', 'recording.started']);
  });

  it('that the node does not stop goes on, and can be stopped later', async () => {
    const call = room.call();
    await room.service.start(call, channel);
    channel.refuse = refused();
    expect(await codeOf(room.service.stop(call, channel))).to.equal('recording_stop_failed');
    expect((await room.service.start(call, channel)).id).to.equal(`rec_${call.id}`);
    await room.service.stop(call, channel);
    expect((await room.ended(`rec_${call.id}`)).status).to.equal('completed');
  });

  it('of a call that ends while it is being started ends too', async () => {
    const [before, after] = [room.call(), room.call()];
    // The channel goes before the node has heard of it.
    channel.hold = deferred();
    const starting = room.service.start(before, channel);
    await until(async () => (channel.asked.length > 0 ? true : undefined), 'the node to be asked');
    channel.die();
    room.hangUp(before);
    channel.hold.resolve();
    expect(await starting.catch((error: unknown) => error)).to.be.instanceOf(ChannelGone);
    expect((await room.ended(`rec_${before.id}`)).status).to.equal('failed');
    expect(await room.names(before.id)).to.deep.equal(['recording.failed']);
    // The node has begun, and the call is over when its answer arrives.
    const second = new RecordingChannel();
    second.hold = deferred();
    const late = room.service.start(after, second);
    await until(async () => (second.asked.length > 0 ? true : undefined), 'the node to be asked');
    room.hangUp(after);
    second.hold.resolve();
    await late;
    await second.end();
    expect((await room.ended(`rec_${after.id}`)).status).to.equal('completed');
    expect(room.service.counters.running).to.equal(0);
  });

  it('leaves nothing among the media files for long', async () => {
    const call = room.call();
    await room.service.start(call, channel);
    await room.service.stop(call, channel);
    await room.ended(`rec_${call.id}`);
    const old = new Date(Date.now() - 8 * 24 * 3600 * 1000);
    const running = room.call();
    await room.service.start(running, channel);
    await writeFile(written(`rec_${call.id}`), 'left behind');
    await writeFile(written('rec_call_of_nobody'), 'old');
    await utimes(written('rec_call_of_nobody'), old, old);
    await writeFile(written('rec_call_of_somebody'), 'new');
    await writeFile(join(folder, 'recordings/README'), 'not ours');
    await room.service.recover();
    await until(
      async () => ((await readdir(join(folder, 'recordings'))).length === 3 ? true : undefined),
      'the sweep',
    );
    expect(await readdir(join(folder, 'recordings'))).to.have.members([
      `rec_${running.id}.wav`,
      'rec_call_of_somebody.wav',
      'README',
    ]);
    expect((await stat(written(`rec_${running.id}`))).size).to.be.greaterThan(0);
  });
});

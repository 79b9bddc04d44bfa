import { copyFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Call } from '../../../control/calls/call.ts';
import type { Calls } from '../../../control/calls/calls.ts';
import { createCalls } from '../../../control/calls/create.ts';
import type { Journal } from '../../../control/calls/journal.ts';
import type { CallStore } from '../../../control/calls/store.ts';
import { connectDatabase, type Database } from '../../../control/lib/database.ts';
import type { deferred } from '../../../control/lib/deferred.ts';
import { Ids } from '../../../control/lib/ids.ts';
import { createLogger } from '../../../control/lib/logger.ts';
import { ChannelGone, MediaError } from '../../../control/media/media.ts';
import { LocalStorage } from '../../../control/recordings/local-storage.ts';
import type { Recording } from '../../../control/recordings/recording.ts';
import {
  RecordingService,
  type RecordableChannel,
  type RecordingOptions,
} from '../../../control/recordings/service.ts';
import { RecordingStore } from '../../../control/recordings/store.ts';
import { stereoWav } from '../../unit/recordings/stereo-wav.ts';
import type { TestDatabase } from '../webhooks/database.ts';

/**
 * A channel whose media node writes files as real ones do: the header is right when the file is closed, not
 * before.
 */
export class RecordingChannel implements RecordableChannel {
  readonly uuid = 'b0b2d7c4-0000-4000-8000-000000000001';
  readonly node = '127.0.0.1:5080';
  readonly asked: string[] = [];
  audio = stereoWav(3);
  /** What the node answers instead, once. */
  refuse: Error | undefined;
  /** Set to make the node's answer wait. */
  hold: ReturnType<typeof deferred<void>> | undefined;
  writesNothing = false;
  #gone = false;
  readonly #files = new Set<string>();

  async startRecording(file: string): Promise<void> {
    await this.#ask('start');
    this.#files.add(file);
    if (this.writesNothing) return;
    const open = Buffer.from(this.audio);
    open.writeUInt32LE(0, 4);
    open.writeUInt32LE(0, 40);
    await writeFile(file, open);
  }

  async stopRecording(file: string): Promise<void> {
    await this.#ask('stop');
    await this.#close(file);
  }

  /** The caller is gone; the node closes its files. */
  async end(): Promise<void> {
    this.#gone = true;
    for (const file of [...this.#files]) await this.#close(file);
  }

  /** The node is gone, and its files stay as they are. */
  die(): void {
    this.#gone = true;
    this.#files.clear();
  }

  async #ask(what: string): Promise<void> {
    if (this.#gone) throw new ChannelGone(this.uuid);
    this.asked.push(what);
    await this.hold?.promise;
    if (this.#gone) throw new ChannelGone(this.uuid);
    const { refuse } = this;
    this.refuse = undefined;
    if (refuse) throw refuse;
  }

  async #close(file: string): Promise<void> {
    if (!this.#files.delete(file) || this.writesNothing) return;
    await writeFile(`${file}.tmp`, this.audio);
    await copyFile(`${file}.tmp`, file).finally(() => rm(`${file}.tmp`));
  }
}

export const refused = (): MediaError => new MediaError('-ERR Cannot record session!');

/**
 * The recordings room of one control process, with its calls, on a database and media files that outlive it.
 */
export class Room {
  readonly calls: Calls;
  readonly service: RecordingService;
  readonly store: RecordingStore;
  readonly callStore: CallStore;
  readonly journal: Journal;
  readonly #db: Database;

  constructor(
    database: Pick<TestDatabase, 'url'>,
    options: Partial<RecordingOptions> & Pick<RecordingOptions, 'mediaFiles'>,
  ) {
    this.#db = connectDatabase(database.url, 4);
    this.store = new RecordingStore(this.#db);
    const logger = createLogger('silent');
    const room = createCalls({ db: this.#db, ids: new Ids(1), hasWebhook: () => true, logger });
    [this.callStore, this.journal, this.calls] = [room.store, room.journal, room.calls];
    this.service = new RecordingService({
      store: this.store,
      calls: this.calls,
      storedCall: (id) => this.callStore.find(id),
      storages: { local: new LocalStorage(join(options.mediaFiles, 'kept')) },
      storage: 'local',
      instance: 1,
      publicUrl: 'https://api.example.com/',
      logger,
      patienceMs: 600,
      retryMs: 20,
      ...options,
    });
  }

  call(applicationId = 'app_1'): Call {
    const call = this.calls.createInbound({
      customerId: 'cust_1',
      applicationId,
      from: '+15551230001',
      to: '+15551230002',
      routeMode: 'webhook',
      routingTarget: applicationId,
    });
    this.calls.answered(call);
    return call;
  }

  hangUp(call: Call): void {
    this.calls.end(call, { hangup: { by: 'caller', cause: 'NORMAL_CLEARING' } });
  }

  /** Takes over what an earlier room has left, as a control process does when it starts. */
  async takeOver(): Promise<void> {
    for (const call of await this.callStore.unfinished()) this.calls.adopt(call);
    await this.service.recover();
  }

  /** As if the process were killed: what is under way is not waited for. */
  async kill(): Promise<void> {
    await this.journal.close(0);
    await this.service.close(0);
    await this.#db.destroy();
  }

  async close(): Promise<void> {
    await this.service.close(5000);
    await this.journal.close(1000);
    await this.#db.destroy();
  }

  /** The recording once it is what is expected of it. */
  async until(id: string, what: (recording: Recording) => boolean): Promise<Recording> {
    return until(async () => {
      const recording = await this.store.find(id);
      return recording && what(recording) ? recording : undefined;
    }, id);
  }

  ended = (id: string): Promise<Recording> => this.until(id, ({ status }) => status !== 'started');

  /** What the application was told of a call's recordings, in order. */
  async told(
    callId: string,
  ): Promise<{ event: string; call: { status: string }; data: Record<string, unknown> }[]> {
    await this.journal.settled();
    const rows = (await this.#db('webhook_deliveries')
      .where({ call_id: callId })
      .where('event', 'like', 'recording.%')
      .orderBy('seq')) as { body: string }[];
    return rows.map(
      ({ body }) =>
        JSON.parse(body) as { event: string; call: { status: string }; data: Record<string, unknown> },
    );
  }

  names = async (callId: string): Promise<string[]> => (await this.told(callId)).map(({ event }) => event);
}

/** Polls what only the database or the disk can tell. @throws Error after ten seconds */
export async function until<T>(look: () => Promise<T | undefined>, what: string): Promise<T> {
  for (
    const end = Date.now() + 10_000;
    Date.now() < end;
    await new Promise((resolve) => setTimeout(resolve, 20))
  ) {
    const found = await look();
    if (found !== undefined) return found;
  }
  throw new Error(`waited in vain for ${what}`);
}

export const mediaFolder = (): Promise<string> => mkdtemp(join(tmpdir(), 'media-files-'));
export const moveAway = (from: string, to: string): Promise<void> => rename(from, to);

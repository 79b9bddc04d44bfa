import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../lib/logger.ts';
import type { Announcer } from './announcer.ts';
import { mediaFileName, type Recording, type StorageType } from './recording.ts';
import { isMissing, MissingFile, type Storage } from './storage.ts';
import type { RecordingStore } from './store.ts';
import { inspectWav, repairWav, sha256OfFile } from './wav-file.ts';

export interface FinisherOptions {
  store: RecordingStore;
  announcer: Announcer;
  storages: Readonly<Partial<Record<StorageType, Storage>>>;
  /** Which one new recordings go to. */
  storage: StorageType;
  /** Where media nodes write. */
  folder: string;
  /** This control process: it finishes the recordings of its own calls. */
  instance: number;
  toJson: (recording: Recording) => Record<string, unknown>;
  logger: Logger;
  now?: () => Date;
  /** Recordings finished at once. */
  concurrency?: number;
  /** How long a file may stay as it is without being whole, in ms, before what there is of it is taken. */
  patienceMs?: number;
  /** First wait after a failed attempt, in ms; it doubles, up to five minutes. */
  retryMs?: number;
  /** After this long without the storage taking it, in ms, a recording has failed. */
  giveUpMs?: number;
}

type Outcome = 'ended' | 'later';

const LOOK_AGAIN_MS = 200;
const NOT_WHOLE_MS = 1000;
const LONGEST_PAUSE_MS = 5000;
const LONGEST_RETRY_MS = 300_000;
/**
 * A recording that has been told of but is still listed was not stored; it is looked at again after this
 * long.
 */
const UNTOLD_MS = 60_000;

/**
 * Finishes recordings that the media node has stopped writing: waits until the file is whole, looks at it,
 * hands it to the storage and tells that it can be fetched, or that it failed. What is left to do is in the
 * database and nowhere else, so that it survives this process; here are only the few that are being worked
 * on.
 */
export class Finisher {
  readonly #o: FinisherOptions;
  readonly #now: () => Date;
  readonly #concurrency: number;
  readonly #patienceMs: number;
  readonly #busy = new Map<string, Promise<void>>();
  readonly #watchers = new Map<string, Set<() => void>>();
  #waiting = 0;
  #loop: Promise<void> | undefined;
  #stopping = false;
  #woken = false;
  #wakeUp = (): void => {};

  constructor(options: FinisherOptions) {
    this.#o = options;
    this.#now = options.now ?? (() => new Date());
    this.#concurrency = options.concurrency ?? 8;
    this.#patienceMs = options.patienceMs ?? 10_000;
  }

  /** Recordings being worked on. */
  get running(): number {
    return this.#busy.size;
  }

  /** Recordings that wait to be finished, those worked on included, when last looked. */
  get waiting(): number {
    return this.#waiting;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  /** Begins nothing more, and waits for what runs, for at most so many milliseconds. */
  async stop(ms: number): Promise<void> {
    this.#stopping = true;
    this.#wakeUp();
    await within(ms, Promise.all([this.#loop, ...this.#busy.values()]));
  }

  /** There is something new to do. */
  wake(): void {
    this.#woken = true;
    this.#wakeUp();
  }

  /** Resolves when the recording has ended, or after `ms` milliseconds. */
  async ended(id: string, ms: number): Promise<void> {
    let tell = (): void => {};
    const told = new Promise<void>((resolve) => {
      tell = resolve;
    });
    const watchers = this.#watchers.get(id) ?? new Set();
    this.#watchers.set(id, watchers.add(tell));
    await within(ms, told);
    watchers.delete(tell);
    if (watchers.size === 0) this.#watchers.delete(id);
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.#stopping;) {
      this.#woken = false;
      let pauseMs = LONGEST_PAUSE_MS;
      try {
        pauseMs = await this.#begin();
        failures = 0;
      } catch (error) {
        if (++failures === 1)
          this.#o.logger.error({ err: error }, 'recordings that wait to be finished cannot be read');
        pauseMs = Math.min(200 * 2 ** failures, LONGEST_PAUSE_MS);
      }
      await this.#pause(pauseMs);
    }
  }

  /** Begins what is due, as far as there is room. Returns for how long there is nothing to do, in ms. */
  async #begin(): Promise<number> {
    const { store, instance } = this.#o;
    if (this.#busy.size < this.#concurrency) {
      const due = await store.due(instance, this.#now(), this.#concurrency + this.#busy.size);
      for (const recording of due) {
        if (this.#busy.size >= this.#concurrency || this.#stopping) break;
        if (this.#busy.has(recording.id)) continue;
        this.#busy.set(recording.id, this.#work(recording));
      }
    }
    const { count, nextAt } = await store.backlog(instance);
    this.#waiting = count;
    // With all hands full the next free one wakes this loop.
    if (!nextAt || this.#busy.size > 0) return LONGEST_PAUSE_MS;
    return Math.min(Math.max(nextAt.getTime() - this.#now().getTime(), 0), LONGEST_PAUSE_MS);
  }

  async #work(recording: Recording): Promise<void> {
    const { store, logger } = this.#o;
    try {
      if ((await this.#finish(recording)) === 'later')
        await store.tryAgain(recording.id, recording.attempts, this.#after(NOT_WHOLE_MS));
    } catch (error) {
      await this.#failed(recording, error).catch((again: unknown) => {
        logger.error(
          { err: again, recording: recording.id },
          'a recording could not be put off; it is tried again',
        );
      });
    } finally {
      this.#busy.delete(recording.id);
      this.wake();
    }
  }

  async #finish(recording: Recording): Promise<Outcome> {
    const file = join(this.#o.folder, mediaFileName(recording.id));
    const storage = this.#o.storages[recording.storageType] ?? this.#o.storages[this.#o.storage];
    if (!storage) throw new Error(`there is no storage ${recording.storageType}`);
    if (!recording.sha256) {
      const outcome = await this.#look(recording, file);
      if (outcome) return outcome;
    }
    try {
      await storage.put(recording.fileKey, file, {
        sizeBytes: recording.sizeBytes,
        sha256: recording.sha256 ?? '',
      });
    } catch (error) {
      if (!(error instanceof MissingFile)) throw error;
      // An earlier attempt may have got this far.
      if ((await storage.size(recording.fileKey)) !== recording.sizeBytes)
        return this.#end(recording, 'failed', 'the file was lost on its way to the storage');
    }
    recording.storageType = storage.type;
    const outcome = await this.#end(recording, 'completed');
    // Should this not happen, the sweep at start-up does it.
    await rm(file, { force: true }).catch((error: unknown) =>
      this.#o.logger.warn(
        { err: error, file },
        'a recording that is stored could not be removed from the media files',
      ),
    );
    return outcome;
  }

  /**
   * Waits a moment for the file to be whole, and keeps what it is. Returns an outcome where it goes no
   * further for now.
   */
  async #look(recording: Recording, file: string): Promise<Outcome | undefined> {
    const found = await this.#settled(file, recording.stoppedAt ?? this.#now());
    if (found === 'growing') return 'later';
    if (found === 'missing') return this.#end(recording, 'failed', 'the media node has written no file');
    if (found === 'empty') return this.#end(recording, 'failed', 'the recording holds no audio');
    recording.durationSeconds = Math.round(found.seconds);
    recording.sizeBytes = found.sizeBytes;
    recording.sha256 = await sha256OfFile(file);
    await this.#o.store.inspected(recording, this.#after(UNTOLD_MS));
    return undefined;
  }

  async #settled(
    file: string,
    stoppedAt: Date,
  ): Promise<'growing' | 'missing' | 'empty' | { seconds: number; sizeBytes: number }> {
    let before: { size: number; mtimeMs: number };
    try {
      before = await stat(file);
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
      const { size, mtimeMs } = await stat(file);
      if (size !== before.size || mtimeMs !== before.mtimeMs) return 'growing';
    } catch (error) {
      if (!isMissing(error)) throw error;
      await stat(this.#o.folder); // Without the folder itself nobody can say what is missing.
      return this.#now().getTime() - stoppedAt.getTime() < this.#patienceMs ? 'growing' : 'missing';
    }
    const wav = await inspectWav(file);
    if (wav?.closed && wav.audioBytes > 0) return wav;
    if (this.#now().getTime() - Math.max(before.mtimeMs, stoppedAt.getTime()) < this.#patienceMs)
      return 'growing';
    if (!wav || wav.audioBytes === 0) return 'empty';
    await repairWav(file);
    return (await inspectWav(file)) ?? 'empty';
  }

  async #end(recording: Recording, status: 'completed' | 'failed', failure?: string): Promise<Outcome> {
    const { announcer, store, toJson } = this.#o;
    Object.assign(recording, { status, failure, updatedAt: this.#now() });
    await announcer.tell(
      recording.callId,
      `recording.${status}`,
      { ...toJson(recording), ...(failure !== undefined && { message: failure }) },
      (trx) => store.ended(trx, recording),
    );
    for (const tell of this.#watchers.get(recording.id) ?? []) tell();
    return 'ended';
  }

  async #failed(recording: Recording, error: unknown): Promise<void> {
    const { store, logger, retryMs = 1000, giveUpMs = 24 * 3600 * 1000 } = this.#o;
    const attempts = recording.attempts + 1;
    const wait = Math.min(retryMs * 2 ** (attempts - 1), LONGEST_RETRY_MS) * (1 + Math.random() / 10);
    await store.tryAgain(recording.id, attempts, this.#after(wait));
    if (attempts === 1 || attempts % 10 === 0)
      logger.warn({ err: error, recording: recording.id, attempts }, 'a recording cannot be finished yet');
    if (
      recording.status !== 'started' ||
      this.#now().getTime() - (recording.stoppedAt ?? recording.createdAt).getTime() < giveUpMs
    )
      return;
    logger.error(
      { err: error, recording: recording.id, attempts },
      'a recording is given up; its file stays among the media files for a week',
    );
    await this.#end(recording, 'failed', 'the recording could not be stored');
  }

  readonly #after = (ms: number): Date => new Date(this.#now().getTime() + ms);

  async #pause(ms: number): Promise<void> {
    if (ms <= 0 || this.#woken || this.#stopping) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wakeUp = () => {};
  }
}

/** Waits for `work`, but no longer than `ms` milliseconds. */
async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([
    work,
    new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms);
    }),
  ]);
  clearTimeout(timer);
}

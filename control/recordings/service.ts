import { chmod, mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isTerminal, type Call } from '../calls/call.ts';
import type { Calls } from '../calls/calls.ts';
import { ApiError } from '../lib/errors.ts';
import { Turns } from '../lib/turns.ts';
import { ChannelGone, type Channel } from '../media/media.ts';
import { Announcer } from './announcer.ts';
import { Finisher, type FinisherOptions } from './finisher.ts';
import { RecordingLibrary, type LibraryOptions } from './library.ts';
import { mediaFileName, recordingId, type Recording, type StorageType } from './recording.ts';
import { isMissing } from './storage.ts';
import { sweepMediaFiles } from './sweep.ts';

export interface RecordingOptions
  extends
    Omit<LibraryOptions, 'fileOf'>,
    Pick<FinisherOptions, 'concurrency' | 'patienceMs' | 'retryMs' | 'giveUpMs'> {
  calls: Calls;
  /** A call as the database has it. */
  storedCall: (id: string) => Promise<Call | undefined>;
  /** Which one new recordings go to. */
  storage: StorageType;
  /** Folder shared with the media nodes; recordings are written into `recordings` below it. */
  mediaFiles: string;
  /** This control process's number. */
  instance: number;
}

/** What is needed of a channel here. */
export type RecordableChannel = Pick<Channel, 'uuid' | 'node' | 'startRecording' | 'stopRecording'>;

const MARK_AGAIN_MS = 1000;

/**
 * Starts and stops recordings of calls, and keeps what they leave. One call has one recording running at
 * most; a row exists before the media node is asked, so that every file has an owner, whatever dies in
 * between.
 */
export class RecordingService {
  /** What there is of recordings, for their owners. */
  readonly library: RecordingLibrary;
  readonly #o: RecordingOptions;
  readonly #now: () => Date;
  readonly #folder: string;
  readonly #announcer: Announcer;
  readonly #finisher: Finisher;
  /** Recordings that run, by call. */
  readonly #running = new Map<string, Recording>();
  /** What is being done about a call's recordings: one thing after the other. */
  readonly #turns = new Turns();
  /** Recordings that have stopped, until the database knows. */
  readonly #unmarked = new Map<string, Recording>();
  /** Recordings that could not be started, until the database knows. */
  readonly #unstarted = new Set<string>();
  #marking: Promise<void> | undefined;
  #closed = false;

  constructor(options: RecordingOptions) {
    const { store, calls, storedCall } = options;
    this.#o = options;
    this.#now = options.now ?? (() => new Date());
    this.#folder = join(options.mediaFiles, 'recordings');
    this.library = new RecordingLibrary({ ...options, fileOf: (recording) => this.#fileOf(recording) });
    this.#announcer = new Announcer({ calls, storedCall, transaction: (work) => store.transaction(work) });
    this.#finisher = new Finisher({
      ...options,
      announcer: this.#announcer,
      folder: this.#folder,
      toJson: (recording) => this.library.toJson(recording),
    });
    calls.lifecycle.afterEnd('recordings', (call) => this.channelEnded(call));
  }

  /** Figures for gauges. */
  get counters(): { running: number; finishing: number; waiting: number; unmarked: number } {
    return {
      running: this.#running.size,
      finishing: this.#finisher.running,
      waiting: this.#finisher.waiting,
      unmarked: this.#unmarked.size + this.#unstarted.size,
    };
  }

  /**
   * Takes up what an earlier life of this process has left: recordings of calls that go on go on, all others
   * are finished from their files. To be called once the calls in progress have been adopted.
   */
  async recover(): Promise<void> {
    const { store, calls, instance, logger } = this.#o;
    await this.#makeFolder();
    for (const recording of await store.running(instance)) {
      const call = calls.get(recording.callId);
      if (call && !isTerminal(call.status)) this.#running.set(call.id, recording);
      else this.#stopped(recording);
    }
    await store.allDue(instance, this.#now());
    this.#finisher.start();
    void sweepMediaFiles({ folder: this.#folder, store, now: this.#now }).catch((error: unknown) => {
      logger.warn({ err: error }, 'what recordings have left among the media files could not be swept');
    });
  }

  /**
   * Waits for what runs, for at most so many milliseconds. What is left is done by the next life of this
   * process.
   */
  async close(ms: number): Promise<void> {
    this.#closed = true;
    await this.#finisher.stop(ms);
  }

  /**
   * Records the call from now on. While a recording runs that one is returned.
   * @throws ApiError `active_call_not_found` when the call is over, `recording_start_failed`; ChannelGone
   */
  start(call: Call, channel: RecordableChannel): Promise<Recording> {
    return this.#turns.take(call.id, async () => {
      if (isTerminal(call.status)) throw new ApiError('active_call_not_found');
      const running = this.#running.get(call.id);
      return running ?? this.#start(call, channel);
    });
  }

  /**
   * Stops the recording that runs. It is `completed`, or `failed`, a moment later.
   * @throws ApiError `recording_not_started`, `recording_stop_failed`
   */
  stop(call: Call, channel: RecordableChannel): Promise<Recording> {
    return this.#turns.take(call.id, async () => {
      const recording = this.#running.get(call.id) ?? (await this.#findRunning(call.id)).running;
      if (!recording) throw new ApiError('recording_not_started');
      try {
        await channel.stopRecording(this.#fileOf(recording));
      } catch (error) {
        // The end of the channel has stopped it just as well.
        if (!(error instanceof ChannelGone)) {
          this.#o.logger.warn({ err: error, recording: recording.id }, 'a recording could not be stopped');
          throw new ApiError('recording_stop_failed');
        }
      }
      this.#stopped(recording);
      return recording;
    });
  }

  /** The call is over, and the recording that was running with it. */
  channelEnded(call: Call): void {
    if (!this.#running.has(call.id) && !this.#turns.has(call.id)) return;
    void this.#turns.take(call.id, async () => {
      const recording = this.#running.get(call.id);
      if (recording) this.#stopped(recording);
    });
  }

  /**
   * The channel of a call was taken over from an earlier life of this process. A recording that was ordered
   * then, without the media node having heard of it, begins now; one that runs goes on.
   */
  resumed(call: Call, channel: RecordableChannel): Promise<void> {
    return this.#turns.take(call.id, async () => {
      const recording = this.#running.get(call.id) ?? (await this.#findRunning(call.id)).running;
      if (!recording || recording.recordingAt) return;
      try {
        if (!(await exists(this.#fileOf(recording)))) await channel.startRecording(this.#fileOf(recording));
        this.#begun(recording);
      } catch (error) {
        await this.#startFailed(recording, error).catch(() => undefined);
      }
    });
  }

  /** The recording once it has ended, or as it is after `ms` milliseconds. */
  async ended(recording: Recording, ms: number): Promise<Recording> {
    await this.#finisher.ended(recording.id, ms);
    return (await this.#o.store.find(recording.id)) ?? recording;
  }

  async #start(call: Call, channel: RecordableChannel): Promise<Recording> {
    const { store, instance, storage } = this.#o;
    let recording: Recording;
    try {
      const { running, latest } = await this.#findRunning(call.id);
      if (running) return running;
      const n = (latest?.n ?? 0) + 1;
      const id = recordingId(call.id, n);
      const now = this.#now();
      recording = {
        id,
        callId: call.id,
        n,
        customerId: call.customerId,
        applicationId: call.applicationId,
        instance,
        providerCallId: channel.uuid,
        mediaNode: channel.node,
        status: 'started',
        storageType: storage,
        fileKey: `${call.customerId}/${id}.wav`,
        durationSeconds: 0,
        sizeBytes: 0,
        attempts: 0,
        createdAt: now,
        updatedAt: now,
      };
      await store.insert(recording);
      this.#running.set(call.id, recording);
      await this.#makeFolder();
    } catch (error) {
      return this.#startFailed(this.#running.get(call.id) ?? { callId: call.id }, error);
    }
    try {
      await channel.startRecording(this.#fileOf(recording));
    } catch (error) {
      if (error instanceof ChannelGone) {
        // It may have begun; what there is of it is found when it is finished.
        this.#stopped(recording);
        throw error;
      }
      return this.#startFailed(recording, error, channel);
    }
    this.#begun(recording);
    return recording;
  }

  #begun(recording: Recording): void {
    const at = this.#now();
    recording.recordingAt = at;
    void this.#tell(recording, 'started', {}, (trx) => this.#o.store.recordingSince(trx, recording.id, at));
  }

  /** @throws ApiError `recording_start_failed`, always */
  async #startFailed(
    recording: Recording | { callId: string },
    error: unknown,
    channel?: RecordableChannel,
  ): Promise<never> {
    const { logger, store } = this.#o;
    const message = 'the recording could not be started';
    logger.warn({ err: error, call: recording.callId }, message);
    if ('id' in recording) {
      this.#running.delete(recording.callId);
      // A node that did not answer in time may be recording all the same.
      await channel?.stopRecording(this.#fileOf(recording)).catch(() => undefined);
      await rm(this.#fileOf(recording), { force: true }).catch(() => undefined);
      const ended: Recording = { ...recording, status: 'failed', failure: message, updatedAt: this.#now() };
      this.#unstarted.add(recording.id);
      void this.#tell(ended, 'failed', { message }, (trx) => store.ended(trx, ended)).then((told) => {
        // Then it is left to what finishes recordings, which tries until it is told.
        if (!told) this.#stopped(recording);
        this.#unstarted.delete(recording.id);
      });
    } else {
      const call = this.#o.calls.get(recording.callId);
      // One that cannot be stored is in the log of the journal.
      if (call)
        this.#o.calls
          .recording(call, 'recording.failed', { call_id: call.id, message })
          .catch(() => undefined);
    }
    throw new ApiError('recording_start_failed');
  }

  /** Whether the event is stored, in the end. Nobody should wait for that: what it tells of has happened. */
  async #tell(
    recording: Recording,
    what: Recording['status'],
    more: Record<string, unknown>,
    also: Parameters<Announcer['tell']>[3],
  ): Promise<boolean> {
    try {
      await this.#announcer.tell(
        recording.callId,
        `recording.${what}`,
        { ...this.library.toJson(recording), ...more },
        also,
      );
      return true;
    } catch (error) {
      this.#o.logger.error(
        { err: error, recording: recording.id },
        `that a recording is ${what} could not be told`,
      );
      return false;
    }
  }

  /**
   * The recording of a call that runs, where this process has not heard of it yet, and the newest it has had.
   */
  async #findRunning(callId: string): Promise<{ running?: Recording; latest?: Recording }> {
    const latest = await this.#o.store.latest(callId);
    const runs =
      latest?.status === 'started' &&
      !latest.stoppedAt &&
      !this.#unmarked.has(latest.id) &&
      !this.#unstarted.has(latest.id);
    if (runs) this.#running.set(callId, latest);
    return { latest, running: runs ? latest : undefined };
  }

  /**
   * The media node writes no more: from here on the database says what is left to do, as soon as it can be
   * told.
   */
  #stopped(recording: Recording): void {
    recording.stoppedAt = this.#now();
    this.#running.delete(recording.callId);
    this.#unmarked.set(recording.id, recording);
    this.#marking ??= this.#mark().finally(() => {
      this.#marking = undefined;
    });
  }

  async #mark(): Promise<void> {
    for (let failures = 0; !this.#closed || failures === 0;) {
      const [next] = this.#unmarked.values();
      if (!next) return;
      try {
        await this.#o.store.stopped(next.id, next.stoppedAt ?? this.#now());
        this.#unmarked.delete(next.id);
        this.#finisher.wake();
        failures = 0;
      } catch (error) {
        if (++failures === 1)
          this.#o.logger.error(
            { err: error, waiting: this.#unmarked.size },
            'the end of recordings cannot be stored; trying again',
          );
        await new Promise((resolve) => {
          setTimeout(resolve, MARK_AGAIN_MS);
        });
      }
    }
  }

  /** Media nodes run as somebody else and must be able to write here, whatever our own umask. */
  async #makeFolder(): Promise<void> {
    if (await mkdir(this.#folder, { recursive: true })) await chmod(this.#folder, 0o777);
  }

  #fileOf(recording: Recording): string {
    return join(this.#folder, mediaFileName(recording.id));
  }
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    (error: unknown) => {
      if (isMissing(error)) return false;
      throw error;
    },
  );

import { rm } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { ApiError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { Recording, StorageType } from './recording.ts';
import { recordingToJson } from './schema.ts';
import { MissingFile, type ByteRange, type Storage } from './storage.ts';
import type { RecordingStore } from './store.ts';

export interface LibraryOptions {
  store: RecordingStore;
  /**
   * Every storage there are recordings in; one that is not configured any more keeps its recordings, out of
   * reach.
   */
  storages: Readonly<Partial<Record<StorageType, Storage>>>;
  /** Where the media node has written a recording. */
  fileOf: (recording: Recording) => string;
  /** Where customers reach the API. */
  publicUrl: string;
  logger: Logger;
  now?: () => Date;
}

/** An application sees its own recordings; another's does not exist. */
export interface Scope {
  applicationId: string;
}

/** Recordings as their owners find, hear and delete them. */
export class RecordingLibrary {
  readonly #o: LibraryOptions;
  readonly #now: () => Date;
  readonly #publicUrl: string;

  constructor(options: LibraryOptions) {
    this.#o = options;
    this.#now = options.now ?? (() => new Date());
    this.#publicUrl = options.publicUrl.replace(/\/+$/, '');
  }

  readonly toJson = (recording: Recording): ReturnType<typeof recordingToJson> =>
    recordingToJson(recording, this.#publicUrl);

  /** @throws ApiError `not_found` */
  async get(id: string, { applicationId }: Scope): Promise<Recording> {
    const recording = await this.#o.store.find(id);
    if (!recording || recording.applicationId !== applicationId)
      throw new ApiError('not_found', 'recording not found');
    return recording;
  }

  /** A call's recordings, newest first; `before` is the number the page starts after. */
  list(callId: string, limit: number, before?: number): Promise<Recording[]> {
    return this.#o.store.list(callId, limit, before);
  }

  /** Opens a recording's audio. @throws ApiError `not_found`, `service_unavailable` */
  async audio(recording: Recording, range: ByteRange): Promise<Readable> {
    try {
      return await this.#storageOf(recording).read(recording.fileKey, range);
    } catch (error) {
      throw this.#unreachable(recording, error);
    }
  }

  /**
   * Deletes the audio, and the recording with it.
   * @throws ApiError `not_found`, `recording_in_progress`, `service_unavailable`
   */
  async delete(id: string, scope: Scope): Promise<void> {
    const recording = await this.get(id, scope);
    if (recording.status === 'started') throw new ApiError('recording_in_progress');
    try {
      await rm(this.#o.fileOf(recording), { force: true });
      if (recording.status === 'completed') await this.#storageOf(recording).delete(recording.fileKey);
    } catch (error) {
      throw this.#unreachable(recording, error);
    }
    await this.#o.store.deleted(id, this.#now());
  }

  #storageOf(recording: Recording): Storage {
    const storage = this.#o.storages[recording.storageType];
    if (!storage) throw new Error(`the storage ${recording.storageType} is not configured`);
    return storage;
  }

  #unreachable(recording: Recording, error: unknown): ApiError {
    if (error instanceof MissingFile)
      return new ApiError('not_found', 'the audio of this recording is not there any more');
    this.#o.logger.error(
      { err: error, recording: recording.id },
      'the audio of a recording cannot be reached',
    );
    return new ApiError('service_unavailable', 'the audio cannot be reached right now', { retryAfter: 30 });
  }
}

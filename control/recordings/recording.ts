export type StorageType = 'local' | 's3';

/** One recording of a call, as the platform holds it. */
export interface Recording {
  readonly id: string;
  readonly callId: string;
  /** Which one of its call, from 1. */
  readonly n: number;
  readonly customerId: string;
  readonly applicationId: string | undefined;
  /** The control process its call belongs to: the only one that finishes it. */
  readonly instance: number;
  readonly providerCallId: string;
  readonly mediaNode: string;
  status: 'started' | 'completed' | 'failed';
  storageType: StorageType;
  /** Its name in the storage. */
  readonly fileKey: string;
  durationSeconds: number;
  sizeBytes: number;
  /** Of the file, in hex; known once the file is whole. */
  sha256?: string;
  /** When the media node said that it records. */
  recordingAt?: Date;
  /** When the media node stopped writing: from then on the file is being finished. */
  stoppedAt?: Date;
  /** Failed attempts to finish it. */
  attempts: number;
  /** Why it failed, for its owner. */
  failure?: string;
  readonly createdAt: Date;
  updatedAt: Date;
}

/** `rec_<call id>` for the first recording of a call, `rec_<call id>_2` … after. */
export const recordingId = (callId: string, n: number): string =>
  n === 1 ? `rec_${callId}` : `rec_${callId}_${n}`;

/** Which recording of its call this id names; 0, which comes before all, where it names none. */
export function numberOf(callId: string, id: string): number {
  if (id === recordingId(callId, 1)) return 1;
  return Number(/^_([1-9]\d{0,8})$/.exec(id.slice(recordingId(callId, 1).length))?.[1] ?? 0);
}

/** The name of the file a media node writes for this recording. */
export const mediaFileName = (id: string): string => `${id}.wav`;

/** The recording whose media file this is, or undefined for any other file. */
export const recordingOfFile = (name: string): string | undefined =>
  /^(rec_[A-Za-z0-9._]+)\.wav$/.exec(name)?.[1];

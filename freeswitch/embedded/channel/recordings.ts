import { rm } from 'node:fs/promises';
import { WavWriter, type Written } from '../media/wav-writer.ts';
import type { Call } from './call.ts';

/** Recordings of one channel at a time. */
const MAX_RECORDINGS = 16;

interface Recording {
  writer: WavWriter;
  watch: NodeJS.Timeout;
}

/** The recordings of a channel, by file. They go on whatever runs on it and end with it. */
export class Recordings {
  readonly #channel: Call;
  readonly #all = new Map<string, Recording>();
  readonly #opening = new Map<string, Promise<boolean>>();

  constructor(channel: Call) {
    this.#channel = channel;
  }

  get files(): IterableIterator<string> {
    return this.#all.keys();
  }

  /**
   * Resolves when the file is there, also where it is being recorded already.
   * @returns false when it cannot be written
   */
  start(path: string): Promise<boolean> {
    if (this.#all.has(path)) return Promise.resolve(true);
    const running = this.#opening.get(path);
    if (running) return running;
    if (!path.startsWith('/') || !path.endsWith('.wav') || path.includes('\0')) return Promise.resolve(false);
    if (this.#all.size + this.#opening.size >= MAX_RECORDINGS) return Promise.resolve(false);
    const opening = this.#start(path).finally(() => this.#opening.delete(path));
    this.#opening.set(path, opening);
    return opening;
  }

  async #start(path: string): Promise<boolean> {
    const channel = this.#channel;
    if (!(await channel.preAnswer()) || !(await channel.mediaCodec())) return false;
    try {
      const writer = await WavWriter.create(path, channel.variables.isTrue('RECORD_STEREO') ? 2 : 1);
      if (channel.down) {
        await writer.close();
        await rm(path, { force: true });
        return false;
      }
      // A disk that fails or cannot follow ends the recording, not the call.
      const watch = setInterval(() => void (writer.failure !== undefined && this.stop(path)), 1000);
      this.#all.set(path, { writer, watch });
      channel.audio.record(writer);
    } catch (error) {
      channel.log.warn({ err: error, uuid: channel.uuid, file: path }, 'cannot record');
      channel.variables.set('record_completion_cause', 'uri-failure');
      return false;
    }
    const origin = { file: 'switch_ivr_async.c', fn: 'record_callback', line: 1481 };
    channel.emit('RECORD_START', origin, { 'Record-File-Path': path });
    channel.emit('MEDIA_BUG_START', BUG, {
      'Media-Bug-Function': 'session_record',
      'Media-Bug-Target': path,
    });
    return true;
  }

  /** Resolves when the file is complete. @returns false when it was not being recorded */
  async stop(path: string): Promise<boolean> {
    const recording = this.#all.get(path);
    if (!recording) return false;
    this.#all.delete(path);
    clearInterval(recording.watch);
    const channel = this.#channel;
    channel.audio.stopRecording(recording.writer);
    let written: Written = { samples: 0, bytes: 0 };
    let cause = channel.down ? 'no-input-timeout' : 'success-maxtime';
    try {
      written = await recording.writer.close();
      if (written.samples === 0) {
        await rm(path, { force: true });
        cause = 'empty-file';
      }
    } catch (error) {
      channel.log.error({ err: error, uuid: channel.uuid, file: path }, 'recording is not whole');
      cause = 'uri-failure';
    }
    const { variables } = channel;
    variables.set('record_file_size', written.bytes);
    variables.set('record_samples', written.samples);
    variables.set('record_seconds', Math.floor(written.samples / 8000));
    variables.set('record_ms', Math.floor(written.samples / 8));
    variables.set('record_completion_cause', cause);
    const origin = { file: 'switch_ivr_async.c', fn: 'send_record_stop_event', line: 1240 };
    channel.emit('RECORD_STOP', origin, { 'Record-File-Path': path, 'Record-Completion-Cause': cause });
    channel.emit('MEDIA_BUG_STOP', BUG, { 'Media-Bug-Function': 'session_record', 'Media-Bug-Target': path });
    return true;
  }

  /** Resolves when all files are complete. @returns whether there were any */
  async stopAll(): Promise<boolean> {
    await Promise.all(this.#opening.values());
    const files = [...this.#all.keys()];
    await Promise.all(files.map((file) => this.stop(file)));
    return files.length > 0;
  }
}

const BUG = { file: 'switch_core_media_bug.c', fn: 'switch_core_media_bug_add', line: 1 };

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { copyFile, open, rename, type FileHandle } from 'node:fs/promises';

/** A WAV file on disk, as its header tells of it and as it is. */
export interface WavFile {
  sizeBytes: number;
  /** Bytes of audio that are there. */
  audioBytes: number;
  seconds: number;
  /** Whether the header's lengths are those of the file: its writer has closed it. */
  closed: boolean;
}

interface Layout {
  sizeBytes: number;
  riffBytes: number;
  bytesPerSecond: number;
  frameBytes: number;
  audioAt: number;
  saidAudioBytes: number;
}

/** Where the format and the beginning of the audio are looked for; no writer puts more in front of them. */
const HEADER_BYTES = 4096;
const PCM = 1;
const EXTENSIBLE = 0xfffe;

/**
 * What there is of a recording; undefined where it is no WAV file of PCM, or not one yet.
 * @throws the file system's errors
 */
export async function inspectWav(path: string): Promise<WavFile | undefined> {
  const file = await open(path, 'r');
  try {
    const layout = await readLayout(file);
    if (!layout) return undefined;
    const { sizeBytes, riffBytes, audioAt, saidAudioBytes } = layout;
    const closed = riffBytes + 8 === sizeBytes && audioAt + saidAudioBytes <= sizeBytes;
    const audioBytes = wholeFrames(closed ? saidAudioBytes : sizeBytes - audioAt, layout);
    return { sizeBytes, audioBytes, seconds: audioBytes / layout.bytesPerSecond, closed };
  } finally {
    await file.close();
  }
}

/**
 * Writes the lengths into a header whose writer has died before it could, and cuts off what is behind the
 * last whole frame. The file is replaced by a copy, since media nodes may run as somebody else, whose files
 * may be read and no more.
 */
export async function repairWav(path: string): Promise<void> {
  const copy = `${path}.part`;
  await copyFile(path, copy);
  const file = await open(copy, 'r+');
  try {
    const layout = await readLayout(file);
    if (!layout) throw new Error('not a WAV file');
    const audioBytes = wholeFrames(layout.sizeBytes - layout.audioAt, layout);
    await file.truncate(layout.audioAt + audioBytes);
    await file.write(uint32(layout.audioAt + audioBytes - 8), 0, 4, 4);
    await file.write(uint32(audioBytes), 0, 4, layout.audioAt - 4);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(copy, path);
}

/** SHA-256 of a file, in hex. */
export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

async function readLayout(file: FileHandle): Promise<Layout | undefined> {
  const { size } = await file.stat();
  const buffer = Buffer.alloc(HEADER_BYTES);
  const { bytesRead } = await file.read(buffer, 0, HEADER_BYTES, 0);
  const head = buffer.subarray(0, bytesRead);
  if (
    head.length < 12 ||
    head.toString('latin1', 0, 4) !== 'RIFF' ||
    head.toString('latin1', 8, 12) !== 'WAVE'
  )
    return undefined;
  let format: Pick<Layout, 'bytesPerSecond' | 'frameBytes'> | undefined;
  for (let at = 12; at + 8 <= head.length;) {
    const name = head.toString('latin1', at, at + 4);
    const length = head.readUInt32LE(at + 4);
    if (name === 'data')
      return (
        format && {
          ...format,
          sizeBytes: size,
          riffBytes: head.readUInt32LE(4),
          audioAt: at + 8,
          saidAudioBytes: length,
        }
      );
    if (name === 'fmt ') format = readFormat(head.subarray(at + 8, at + 8 + length));
    at += 8 + length + (length & 1); // Chunks begin at even offsets.
  }
  return undefined;
}

function readFormat(body: Buffer): Pick<Layout, 'bytesPerSecond' | 'frameBytes'> | undefined {
  if (body.length < 16) return undefined;
  const code = body.readUInt16LE(0);
  const [channels, rate, bits] = [body.readUInt16LE(2), body.readUInt32LE(4), body.readUInt16LE(14)];
  const frameBytes = (channels * bits) / 8;
  if (
    (code !== PCM && code !== EXTENSIBLE) ||
    bits !== 16 ||
    channels < 1 ||
    channels > 8 ||
    rate < 4000 ||
    rate > 192_000
  )
    return undefined;
  return { frameBytes, bytesPerSecond: frameBytes * rate };
}

const wholeFrames = (bytes: number, { frameBytes }: Layout): number => bytes - (bytes % frameBytes);

function uint32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value);
  return buffer;
}

/** A WAV file as media nodes write it: stereo, 8 kHz, 16 bit. No two samples in a row are alike. */
export function stereoWav(seconds: number): Buffer {
  const frames = Math.round(8000 * seconds);
  const file = Buffer.alloc(44 + 4 * frames);
  file.write('RIFF', 0, 'latin1');
  file.writeUInt32LE(file.length - 8, 4);
  file.write('WAVEfmt ', 8, 'latin1');
  file.writeUInt32LE(16, 16);
  file.writeUInt16LE(1, 20);
  file.writeUInt16LE(2, 22);
  file.writeUInt32LE(8000, 24);
  file.writeUInt32LE(32_000, 28);
  file.writeUInt16LE(4, 32);
  file.writeUInt16LE(16, 34);
  file.write('data', 36, 'latin1');
  file.writeUInt32LE(4 * frames, 40);
  for (let i = 0; i < 2 * frames; i++) file.writeInt16LE(((i * 7919) % 20_000) - 10_000, 44 + 2 * i);
  return file;
}

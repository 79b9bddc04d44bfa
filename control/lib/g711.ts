/** G.711 decoding (ITU-T G.711), by table: one 16-bit sample a byte. */
export const ALAW = table((byte) => {
  const value = byte ^ 0x55;
  const exponent = (value >> 4) & 7;
  const mantissa = value & 15;
  const magnitude = exponent === 0 ? (mantissa << 4) + 8 : ((mantissa << 4) + 0x108) << (exponent - 1);
  return value & 0x80 ? magnitude : -magnitude;
});

export const MULAW = table((byte) => {
  const value = ~byte & 0xff;
  const magnitude = ((((value & 15) << 3) + 0x84) << ((value >> 4) & 7)) - 0x84;
  return value & 0x80 ? -magnitude : magnitude;
});

function table(decode: (byte: number) => number): Int16Array {
  return Int16Array.from({ length: 256 }, (_, byte) => decode(byte));
}

/** µ-law for 0. */
export const MULAW_SILENCE = 0xff;

/** Encodes a 16-bit sample as µ-law. */
export function toMulaw(sample: number): number {
  const magnitude = Math.min(Math.abs(sample), 32635) + 0x84;
  const exponent = Math.max(0, 24 - Math.clz32(magnitude));
  const mantissa = (magnitude >> (exponent + 3)) & 15;
  return ~((sample < 0 ? 0x80 : 0) | (exponent << 4) | mantissa) & 0xff;
}

/** µ-law for each byte of A-law. */
export const ALAW_TO_MULAW = Uint8Array.from(ALAW, toMulaw);

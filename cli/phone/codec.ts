import { createRequire } from 'node:module';
import type * as G711 from 'alawmulaw';

// Its CommonJS build has another shape by `import` in each of the ways a test can be loaded; by `require` it
// has one.
const { alaw, mulaw } = createRequire(import.meta.url)('alawmulaw') as typeof G711;

/** G.711 through an npm package, so that the project's own codec is checked by somebody else's. */
export type Codec = 'PCMU' | 'PCMA';

/** RFC 3551 §6, table 4. */
export const PAYLOAD_TYPE: Readonly<Record<Codec, number>> = { PCMU: 0, PCMA: 8 };

export const codecOf = (payloadType: number): Codec | undefined =>
  payloadType === 0 ? 'PCMU' : payloadType === 8 ? 'PCMA' : undefined;

export const encode = (codec: Codec, samples: Int16Array): Buffer =>
  Buffer.from(codec === 'PCMU' ? mulaw.encode(samples) : alaw.encode(samples));

export const decode = (codec: Codec, payload: Uint8Array): Int16Array =>
  codec === 'PCMU' ? mulaw.decode(payload) : alaw.decode(payload);

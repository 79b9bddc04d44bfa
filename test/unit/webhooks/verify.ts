import { webcrypto } from 'node:crypto';

/**
 * Checks a signature as a receiver would who has read the documentation and nothing of our code: with another
 * implementation of HMAC, and by verifying, not by signing again.
 */
export async function verify(
  secret: string,
  headers: Record<string, string | string[] | undefined>,
  rawBody: Buffer,
  now: Date,
  toleranceSeconds = 300,
): Promise<boolean> {
  const timestamp = String(headers['x-minivoice-timestamp'] ?? '');
  if (!/^\d+$/.test(timestamp) || Math.abs(now.getTime() / 1000 - Number(timestamp)) > toleranceSeconds)
    return false;
  const encoder = new TextEncoder();
  const key = await webcrypto.subtle.importKey(
    'raw',
    encoder.encode(secret),
    { name: 'HMAC', hash: 'SHA-256' },
    false,
    ['verify'],
  );
  const signed = Buffer.concat([encoder.encode(`${timestamp}.`), rawBody]);
  for (const part of String(headers['x-minivoice-signature'] ?? '').split(',')) {
    const hex = /^v1=([0-9a-f]{64})$/.exec(part.trim())?.[1];
    if (hex && (await webcrypto.subtle.verify('HMAC', key, Buffer.from(hex, 'hex'), signed))) return true;
  }
  return false;
}

import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

/**
 * Whether MiniVoice has sent this, not more than five minutes ago. Signed is the raw body, or the raw query
 * string of a GET. While a secret is rotating there are two signatures, and one that fits is enough.
 */
export function verify(
  secret: string,
  headers: IncomingHttpHeaders,
  signed: string | Buffer,
  now = Date.now(),
): boolean {
  const timestamp = String(headers['x-minivoice-timestamp'] ?? '');
  if (!/^\d+$/.test(timestamp) || Math.abs(now / 1000 - Number(timestamp)) > 300) return false;
  const expected = createHmac('sha256', secret).update(`${timestamp}.`).update(signed).digest();
  return String(headers['x-minivoice-signature'] ?? '')
    .split(',')
    .some((signature) => {
      const given = Buffer.from(/^\s*v1=([0-9a-f]{64})\s*$/.exec(signature)?.[1] ?? '', 'hex');
      return given.length === expected.length && timingSafeEqual(given, expected);
    });
}

import { createHmac } from 'node:crypto';

/**
 * The signature headers of a request to a customer (contract §5): `v1=` and the hex HMAC-SHA256 of timestamp,
 * a dot and the raw body, one for each secret while a secret is rotating. For a GET the signed body is the
 * raw query string.
 * @param nowSeconds Unix time; a request that is sent again is signed again.
 * @returns no headers where there is no secret.
 */
export function sign(
  secrets: readonly string[],
  body: string | Buffer,
  nowSeconds: number,
): Record<string, string> {
  if (secrets.length === 0) return {};
  const timestamp = String(Math.floor(nowSeconds));
  const signatures = secrets.map(
    (secret) => `v1=${createHmac('sha256', secret).update(`${timestamp}.`).update(body).digest('hex')}`,
  );
  return { 'X-MiniVoice-Timestamp': timestamp, 'X-MiniVoice-Signature': signatures.join(',') };
}

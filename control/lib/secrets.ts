import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

/**
 * Encrypts what customers trust us with (trunk passwords, webhook secrets) before it reaches the database.
 */
export interface Secrets {
  /**
   * @param context names the row and field, such as `trunk_1.password`: a value copied to another place does
   *   not decrypt there.
   */
  encrypt(text: string, context: string): string;
  /** @throws Error when the value was made with another key or for another context, or was changed. */
  decrypt(sealed: string, context: string): string;
}

const VERSION = 'v1.';
const IV_BYTES = 12;
const TAG_BYTES = 16;

/**
 * AES-256-GCM with a random nonce per value and the context as additional data (NIST SP 800-38D).
 * @param keyHex 32 bytes in hex
 */
export function createSecrets(keyHex: string): Secrets {
  const key = Buffer.from(keyHex, 'hex');
  if (key.length !== 32) throw new Error('the secret key must be 32 bytes in hex');
  return {
    encrypt(text, context) {
      const iv = randomBytes(IV_BYTES);
      const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES });
      cipher.setAAD(Buffer.from(context));
      const sealed = Buffer.concat([iv, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
      return VERSION + sealed.toString('base64url');
    },
    decrypt(sealed, context) {
      const bytes = Buffer.from(sealed.slice(VERSION.length), 'base64url');
      if (!sealed.startsWith(VERSION) || bytes.length < IV_BYTES + TAG_BYTES)
        throw new Error(`${context}: not an encrypted value`);
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, IV_BYTES), {
        authTagLength: TAG_BYTES,
      });
      decipher.setAAD(Buffer.from(context));
      decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
      const text = decipher.update(bytes.subarray(IV_BYTES, -TAG_BYTES));
      try {
        return Buffer.concat([text, decipher.final()]).toString('utf8');
      } catch {
        throw new Error(`${context}: cannot be decrypted with this SECRET_KEY`);
      }
    },
  };
}

import { createHash } from 'node:crypto';
import type { Database } from '../lib/database.ts';
import { duplicateKey } from '../lib/duplicate-key.ts';
import { ApiError } from '../lib/errors.ts';
import type { Secrets } from '../lib/secrets.ts';
import { invalid } from './endpoint.ts';
import type { Reply } from './errors.ts';

/** What makes two requests the same one. */
export interface IdempotentRequest {
  /** The application's id, or `operator`: keys of different callers never meet. */
  scope: string;
  /** The Idempotency-Key header. */
  key: string;
  /**
   * Method, path and body, in whatever form is stable: the same key with another fingerprint is a mistake of
   * the client's.
   */
  fingerprint: string;
}

export interface Idempotency {
  /**
   * Runs `work` unless the same request has run in the last 24 h: then its stored answer, errors included, is
   * given again. An answer of 429 is not kept, since it asks to be tried again.
   * @throws ApiError `idempotency_in_progress`, `idempotency_mismatch`, `invalid_request` for a key that is
   * none
   */
  run(request: IdempotentRequest, work: () => Promise<Reply>): Promise<Reply & { replayed: boolean }>;
  /** Removes at most so many answers that are older than that; returns how many. */
  purge(limit: number): Promise<number>;
}

interface Row {
  scope: string;
  key_hash: string;
  body_hash: string;
  status: number | null;
  reply: string | null;
  created_at: Date;
}

const KEPT_MS = 24 * 3600 * 1000;
// No request takes this long. One that has not been answered by then died with its process, and nobody knows
// how far it got.
const ABANDONED_MS = 120_000;

export function createIdempotency(
  db: Database,
  secrets: Secrets,
  now: () => Date = () => new Date(),
): Idempotency {
  const row = (scope: string, key_hash: string) => db<Row>('idempotency_keys').where({ scope, key_hash });
  const ago = (ms: number): Date => new Date(now().getTime() - ms);

  /** The earlier request's row, or undefined when this one is the first and has taken the key. */
  async function take(scope: string, keyHash: string, bodyHash: string): Promise<Row | undefined> {
    for (;;) {
      try {
        await db<Row>('idempotency_keys').insert({
          scope,
          key_hash: keyHash,
          body_hash: bodyHash,
          created_at: now(),
        });
        return undefined;
      } catch (error) {
        if (duplicateKey(error) === undefined) throw error;
      }
      await row(scope, keyHash).where('created_at', '<', ago(KEPT_MS)).delete();
      const earlier = await row(scope, keyHash).first();
      if (earlier) return earlier; // else it has just been purged or given up: the next round takes it
    }
  }

  return {
    async purge(limit) {
      const [result] = (await db.raw(
        'delete from idempotency_keys where created_at < ? order by created_at limit ?',
        [ago(KEPT_MS), limit],
      )) as unknown as [{ affectedRows: number }];
      return result.affectedRows;
    },

    async run({ scope, key, fingerprint }, work) {
      if (!/^[\x21-\x7e]{1,255}$/.test(key))
        throw invalid('Idempotency-Key', 'must be 1 to 255 printable ASCII characters');
      const keyHash = sha256(key);
      const bodyHash = sha256(fingerprint);
      // Replies hold API keys that are shown once and stored nowhere, so they are encrypted like every other
      // secret.
      const context = `${scope}.${keyHash}`;

      const earlier = await take(scope, keyHash, bodyHash);
      if (earlier) {
        if (earlier.body_hash !== bodyHash) throw new ApiError('idempotency_mismatch');
        if (earlier.status !== null) {
          const body: unknown =
            earlier.reply === null ? undefined : JSON.parse(secrets.decrypt(earlier.reply, context));
          return { status: earlier.status, body, replayed: true };
        }
        if (earlier.created_at > ago(ABANDONED_MS))
          throw new ApiError('idempotency_in_progress', undefined, { retryAfter: 1 });
        throw new ApiError(
          'internal_error',
          'the first request with this Idempotency-Key did not finish; what it did is not known',
        );
      }

      const reply = await work();
      if (reply.status === 429) await row(scope, keyHash).delete();
      else {
        const sealed = reply.body === undefined ? null : secrets.encrypt(JSON.stringify(reply.body), context);
        await row(scope, keyHash).update({ status: reply.status, reply: sealed });
      }
      return { ...reply, replayed: false };
    },
  };
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

import { randomUUID } from 'node:crypto';
import { deferred } from '../lib/deferred.ts';
import { asMediaError, isLost } from './channel-commands.ts';
import type { EslConnection } from './esl/connection.ts';

/** How long a node that has accepted a call may take to make its channel, in ms, before whoever asked is told that it is on its way. */
const MADE_MS = 2000;

/** Calls that a node was asked to place, and that it has not told of yet. */
export class Placements {
  readonly #waiting = new Map<string, () => void>();

  /** The node may still make this channel. */
  has(uuid: string): boolean {
    return this.#waiting.has(uuid);
  }

  /** The node has told of the channel. */
  made(uuid: string): void {
    this.#waiting.get(uuid)?.();
  }

  /**
   * Gives the command, which runs until the call is answered or over. Resolves when the node has made the channel, and
   * also when nobody can say: the connection has ended, or it takes long.
   * @param jobMs how long the command may run.
   * @param failed called when the node refuses after all, and this has resolved already.
   * @throws MediaError when the node has made no channel, and will not.
   */
  async place(connection: EslConnection, uuid: string, command: string, jobMs: number, failed: () => void): Promise<void> {
    const made = deferred<void>();
    let seen = false;
    let late = false;
    this.#waiting.set(uuid, () => {
      seen = true;
      this.#waiting.delete(uuid);
      made.resolve();
    });
    const job = connection.bgapi(command, randomUUID(), jobMs).then(() => this.made(uuid), (error: unknown) => {
      this.#waiting.delete(uuid);
      // The channel tells of its own end; and after a lost connection the node says whether it has it.
      if (!seen && !isLost(error)) throw asMediaError(error);
    });
    job.catch(() => late && failed());
    const timer = setTimeout(() => {
      late = true;
      made.resolve();
    }, MADE_MS);
    try {
      await Promise.race([made.promise, job]);
    } finally {
      clearTimeout(timer);
    }
  }
}

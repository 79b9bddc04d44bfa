import { randomUUID } from 'node:crypto';
import { deferred } from '../lib/deferred.ts';
import { asMediaError, isLost } from './channel-commands.ts';
import type { EslConnection } from './esl/connection.ts';
import { NodeSilent } from './media.ts';

/** How long a node may take to make the channel of a call, in ms, before the call is given up. */
const MADE_MS = 4000;

/** Calls that a node was asked to place, and that it has not told of yet. */
export class Placements {
  readonly #waiting = new Map<string, () => void>();
  /** Given up, while the node may still make them. */
  readonly #givenUp = new Set<string>();

  /** The node may still make this channel. */
  has(uuid: string): boolean {
    return this.#waiting.has(uuid);
  }

  /** The node has told of the channel. Returns whether it was given up before. */
  made(uuid: string): boolean {
    this.#waiting.get(uuid)?.();
    return this.#givenUp.has(uuid);
  }

  /**
   * Gives the command, which runs until the call is answered or over. Resolves when the node has made the
   * channel, and also when nobody can say, since the connection has ended.
   * @param jobMs how long the command may run.
   * @throws MediaError when the node has made no channel, and will not; NodeSilent when it does not say in
   * time.
   */
  async place(connection: EslConnection, uuid: string, command: string, jobMs: number): Promise<void> {
    const made = deferred<void>();
    let seen = false;
    this.#waiting.set(uuid, () => {
      seen = true;
      this.#waiting.delete(uuid);
      made.resolve();
    });
    const job = connection.bgapi(command, randomUUID(), jobMs).then(
      () => void this.made(uuid),
      (error: unknown) => {
        this.#waiting.delete(uuid);
        // The channel tells of its own end; and after a lost connection the node says whether it has it.
        if (!seen && !isLost(error)) throw asMediaError(error);
      },
    );
    job
      .catch(() => undefined)
      .finally(() => this.#givenUp.delete(uuid))
      .catch(() => undefined);
    const timer = setTimeout(() => {
      this.#waiting.delete(uuid);
      this.#givenUp.add(uuid);
      made.reject(new NodeSilent('the media node does not say whether it places the call'));
    }, MADE_MS);
    try {
      await Promise.race([made.promise, job]);
    } finally {
      clearTimeout(timer);
    }
  }
}

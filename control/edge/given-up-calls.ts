import type { Calls } from '../calls/calls.ts';
import type { Logger } from '../lib/logger.ts';
import { TookTooLong, within } from '../lib/within.ts';
import { NODE_LOST } from '../media/media.ts';
import type { KamailioRpc } from './kamailio-rpc.ts';

interface Options {
  rpcs: readonly Pick<KamailioRpc, 'url' | 'call'>[];
  calls: Pick<Calls, 'lifecycle'>;
  logger: Logger;
}

/** How long somebody waits for the Kamailios to know, in ms. */
const PATIENCE_MS = 1000;
/** A Kamailio that cannot be reached is told again so often, a second apart. */
const TRIES = 10;

/**
 * Calls that were given up while their media node was out of reach. One that was frozen wakes up and does
 * what it was asked to do before: Kamailio lets nothing of such a call out any more (route[FROM_MEDIA] of the
 * edge).
 */
export class GivenUpCalls {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
    options.calls.lifecycle.afterEnd('given up calls', ({ id, hangup }) => {
      return hangup?.cause === NODE_LOST ? this.add(id) : undefined;
    });
  }

  /** Resolves when every Kamailio knows, or cannot be told soon. Never rejects. */
  async add(callId: string): Promise<void> {
    const told = Promise.all(this.#options.rpcs.map((rpc) => this.#tell(rpc, callId)));
    await within(PATIENCE_MS, told).catch((error: unknown) => {
      if (!(error instanceof TookTooLong)) throw error;
    });
  }

  async #tell(rpc: Options['rpcs'][number], callId: string): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        await rpc.call('htable.sets', ['given_up', callId, '1']);
        return;
      } catch (error) {
        if (tries === TRIES)
          return this.#options.logger.warn(
            { err: error, kamailio: rpc.url, call: callId },
            'kamailio could not be told that a call is given up',
          );
        await new Promise((resolve) => setTimeout(resolve, 1000).unref());
      }
    }
  }
}

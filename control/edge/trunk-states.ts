import { z } from 'zod';
import type { Logger } from '../lib/logger.ts';
import type { Trunk } from '../trunks/schema.ts';
import type { Directory } from '../directory/directory.ts';
import { RpcRefusal, type KamailioRpc } from './kamailio-rpc.ts';

const LOOK_MS = 2000;
const Dump = z.array(
  z.object({ slot: z.array(z.object({ name: z.string(), value: z.enum(['up', 'down']) })) }),
);

type Status = Trunk['status'];
/** What one Kamailio has found out: the answer to OPTIONS, and whether the registration stands. */
interface Found {
  probed: ReadonlyMap<string, Status>;
  registered: ReadonlyMap<string, Status>;
}

interface Options {
  rpcs: readonly KamailioRpc[];
  directory: Directory;
  /** Writes a status that is news, and tells everybody. */
  note: (trunkId: string, status: Status) => Promise<void>;
  logger: Logger;
}

/**
 * Reads every 2 s from each Kamailio which trunks are there. A trunk is down when every Kamailio that knows
 * says so: when it does not answer, or has refused the registration. Nobody knows about a trunk that is
 * neither probed nor registered.
 */
export class TrunkStates {
  readonly #options: Options;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: Options) {
    this.#options = options;
  }

  start(): void {
    const tick = (): void => {
      void this.look().finally(() => {
        if (!this.#stopped) this.#timer = setTimeout(tick, LOOK_MS);
      });
    };
    tick();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** Never throws: a Kamailio that is away knows nothing, and what was known of a trunk stays. */
  async look(): Promise<void> {
    const { rpcs, directory, note, logger } = this.#options;
    const found = (await Promise.all(rpcs.map((rpc) => read(rpc).catch(() => undefined)))).filter(
      (one) => one !== undefined,
    );
    if (found.length === 0) return;
    for (const trunk of [...directory.trunks()]) {
      const status = statusOf(trunk, found);
      if (status === undefined || status === trunk.status) continue;
      try {
        await note(trunk.id, status);
        logger.info(
          { trunk: trunk.id, gateway_name: trunk.gatewayName, before: trunk.status, status },
          'a trunk has changed its state',
        );
      } catch (error) {
        logger.warn(
          { err: error, trunk: trunk.id, status },
          'the state of a trunk could not be written; tried again',
        );
      }
    }
  }
}

/** @returns undefined while nothing is known that was not before. */
export function statusOf(
  trunk: Pick<Trunk, 'id' | 'isActive' | 'probe' | 'register'>,
  found: readonly Found[],
): Status | undefined {
  if (!trunk.isActive || (!trunk.probe && !trunk.register)) return 'unknown';
  const views = found.map(({ probed, registered }) => {
    const parts = [
      ...(trunk.probe ? [probed.get(trunk.id)] : []),
      ...(trunk.register ? [registered.get(trunk.id)] : []),
    ];
    return parts.includes('down') ? 'down' : parts.includes(undefined) ? undefined : 'up';
  });
  if (views.includes('up')) return 'up';
  return views.includes('down') ? 'down' : undefined;
}

async function read(rpc: KamailioRpc): Promise<Found> {
  const [probed, registered] = await Promise.all([dump(rpc, 'trunk_state'), dump(rpc, 'registered')]);
  return { probed, registered };
}

async function dump(rpc: KamailioRpc, table: string): Promise<Map<string, Status>> {
  const result = await rpc.call('htable.dump', [table]).catch((error: unknown) => {
    if (error instanceof RpcRefusal) return [];
    throw error;
  });
  return new Map(
    Dump.parse(result ?? [])
      .flatMap((bucket) => bucket.slot)
      .map(({ name, value }) => [name, value]),
  );
}

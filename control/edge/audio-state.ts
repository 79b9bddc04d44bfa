import { z } from 'zod';
import type { KamailioRpc } from './kamailio-rpc.ts';

/** Kamailio pings every rtpengine as often. */
const LOOK_MS = 2000;

const Shown = z.array(z.looseObject({ active: z.boolean() }));

/**
 * Whether there can be audio: what the Kamailios say of their rtpengines, without which they refuse every
 * call.
 */
export class AudioState {
  readonly #rpcs: readonly Pick<KamailioRpc, 'call'>[];
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #available = true;

  constructor(rpcs: readonly Pick<KamailioRpc, 'call'>[]) {
    this.#rpcs = rpcs;
  }

  /** False while every Kamailio that can be asked is without an rtpengine. */
  get available(): boolean {
    return this.#available;
  }

  start(): void {
    const tick = (): void => {
      if (!this.#stopped) this.#timer = setTimeout(() => void this.look().finally(tick), LOOK_MS).unref();
    };
    void this.look().finally(tick);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** Never rejects. */
  async look(): Promise<void> {
    const shown = await Promise.allSettled(
      this.#rpcs.map(async (rpc) => Shown.parse(await rpc.call('rtpengine.show', ['all']))),
    );
    const told = shown.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    this.#available = told.length === 0 || told.some((engines) => engines.some(({ active }) => active));
  }
}

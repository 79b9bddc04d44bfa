import { isE164 } from '../lib/e164.ts';
import type { LegRequest } from '../media/media.ts';
import type { Trunk } from '../trunks/schema.ts';
import type { LegCost } from '../billing/billing.ts';
import type { Admission } from './admission.ts';
import { isTerminal, type Call } from './call.ts';

/** Where a leg goes, and as whom. */
export type LegRoute = Pick<LegRequest, 'uris' | 'from' | 'headers'>;

/** Who knows the ways out. */
export interface Ways {
  via(trunks: readonly Trunk[], call: Call, number: string, from?: string): LegRoute;
  /** Undefined where the address is not public. */
  sipUri(call: Call, uri: string, from?: string): LegRoute | undefined;
}

/**
 * To be told what becomes of a leg that is paid for. Each may be told again; `ended` or `gone` is due in any
 * case.
 */
export interface LegWatch {
  routed(trunkId: string): void;
  answered(at: Date): void;
  /** Returns what it costs by its rate, the first time and where it costs anything. */
  ended(): LegCost | undefined;
  /** It has ended while nobody looked. */
  gone(): void;
}

export interface SecondLeg extends LegWatch {
  route: LegRoute;
}

const FREE: LegWatch = {
  routed: () => undefined,
  answered: () => undefined,
  ended: () => undefined,
  gone: () => undefined,
};

/**
 * The second legs of calls: to a SIP URI as they are; to a number like a call of its own, with its rate,
 * limits and hold.
 */
export class SecondLegs {
  readonly #admission: Admission;
  readonly #ways: Ways;

  constructor({ admission, ways }: { admission: Admission; ways: Ways }) {
    this.#admission = admission;
    this.#ways = ways;
  }

  /**
   * The leg, ready to be rung; undefined where there is no way to the destination.
   * @param from E.164, shown as the caller
   * @throws ApiError as `Admission.admit`
   */
  async place(call: Call, destination: string, from: string | undefined): Promise<SecondLeg | undefined> {
    if (!isE164(destination)) {
      const route = this.#ways.sipUri(call, destination, from);
      return route && { ...FREE, route };
    }
    if (call.applicationId === undefined) return undefined;
    const leg = this.#admission.nextLeg(call.id);
    const trunks = await this.#admission.admit({
      callId: call.id,
      leg,
      customerId: call.customerId,
      applicationId: call.applicationId,
      number: destination,
    });
    const watch = this.#watch(call, leg);
    if (isTerminal(call.status)) watch.ended();
    return { ...watch, route: this.#ways.via(trunks, call, destination, from) };
  }

  /** The leg that was under way when an earlier life of this process died. */
  resumed(call: Call): LegWatch {
    const leg = this.#admission.secondLegOf(call.id);
    return leg === undefined ? FREE : this.#watch(call, leg);
  }

  #watch({ id }: Call, leg: number): LegWatch {
    return {
      routed: (trunkId) => this.#admission.moved(id, leg, trunkId),
      answered: (at) => this.#admission.answered(id, leg, at),
      ended: () => this.#admission.ended(id, leg),
      gone: () => void this.#admission.ended(id, leg, { unseen: true }),
    };
  }
}

import type { Application } from '../applications/schema.ts';
import type { Billing, LegCost } from '../billing/billing.ts';
import type { Customer } from '../customers/schema.ts';
import { ApiError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { Limits } from '../limits/limits.ts';
import type { Trunk } from '../trunks/schema.ts';
import { isTerminal, UNSEEN, type Call } from './call.ts';
import type { Calls } from './calls.ts';

interface Options {
  calls: Calls;
  billing: Pick<Billing, 'rateFor' | 'checkSpend' | 'hold' | 'answered' | 'ended' | 'adopt'>;
  limits: Pick<Limits, 'take' | 'moved' | 'release' | 'releaseCall'>;
  customerOf: (id: string) => Customer | undefined;
  applicationOf: (id: string) => Application | undefined;
  /** The trunks a customer's numbers go out by, in the order they are to be tried. */
  trunksFor: (customerId: string, trunkId?: string) => Trunk[];
  logger: Logger;
  now?: () => Date;
}

/** A leg to a number that wants to go out. */
export interface LegToAdmit {
  callId: string;
  /** 0 is the call itself; 1, 2, … its second legs. */
  leg: number;
  customerId: string;
  applicationId: string;
  /** E.164. */
  number: string;
  /** By this trunk alone. */
  trunkId?: string | undefined;
}

/** The legs of one call that were let out. */
interface AdmittedCall {
  /** Number of the last leg there may have been. */
  last: number;
  /** Those in progress, and since when they are answered. */
  open: Map<number, Date | undefined>;
}

const ADOPT_AGAIN_MS = 1000;

/**
 * Decides whether a leg may go out, and sees to it that what it has taken is given back and what it has used
 * is charged, once, whatever becomes of it. Calls that come in are held against their balance only, and only
 * where they cost something.
 */
export class Admission {
  readonly #options: Options;
  readonly #now: () => Date;
  readonly #calls = new Map<string, AdmittedCall>();

  constructor(options: Options) {
    this.#options = options;
    this.#now = options.now ?? (() => new Date());
    options.calls.lifecycle.afterAnswer('money', (call, at) => this.answered(call.id, 0, at));
    options.calls.lifecycle.afterEnd('money', (call) => this.#over(call));
  }

  /** Calls in progress that have or had legs that were let out, for a gauge. */
  get size(): number {
    return this.#calls.size;
  }

  /**
   * Lets a leg to a number go out, in the order of contract §7: the customer, spend rules, a rate, a trunk,
   * calls per second and at a time, money. What was taken is given back when a later step fails.
   * @returns the trunks it may be tried on, in order; its place is the first one's
   * @throws ApiError customer_suspended, spend_control_exceeded, rate_not_found, no_active_trunk,
   *   cps_limit_reached, concurrent_call_limit_reached, insufficient_balance, service_unavailable
   */
  async admit(request: LegToAdmit): Promise<Trunk[]> {
    const { callId, leg, customerId, applicationId, number, trunkId } = request;
    const { billing, limits, customerOf, applicationOf, trunksFor } = this.#options;
    const customer = customerOf(customerId);
    const application = applicationOf(applicationId);
    // Made on another process a moment ago: the news is on its way.
    if (!customer || !application)
      throw new ApiError('service_unavailable', 'the application is not known here yet', { retryAfter: 1 });
    if (customer.status !== 'active') throw new ApiError('customer_suspended');
    const rate = billing.rateFor(customerId, 'outbound', number);
    billing.checkSpend(customer, number, rate);
    if (!rate) throw new ApiError('rate_not_found');
    const trunks = trunksFor(customerId, trunkId);
    if (trunks.length === 0) throw new ApiError('no_active_trunk');
    const roomy = await limits.take({
      callId,
      leg,
      customer: { id: customerId, ...customer.limits },
      application: {
        id: applicationId,
        ...(application.maxCps !== undefined && { cps: application.maxCps }),
        ...(application.maxConcurrent !== undefined && { concurrentCalls: application.maxConcurrent }),
      },
      trunks: trunks.map(({ id, maxCps, maxConcurrent }) => ({
        id,
        ...(maxCps !== undefined && { maxCps }),
        ...(maxConcurrent !== undefined && { maxConcurrent }),
      })),
    });
    try {
      await billing.hold({ callId, leg, customerId, applicationId, direction: 'outbound', number, rate });
    } catch (error) {
      limits.release(callId, leg, { unplaced: true });
      // Whether anything is held is not always known; where it is, it is given back later. The next leg is
      // another one.
      const call = this.#options.calls.get(callId);
      if (call && !isTerminal(call.status)) this.#numbered(callId, leg);
      throw error;
    }
    this.#numbered(callId, leg).open.set(leg, undefined);
    return roomy.flatMap((id) => trunks.find((trunk) => trunk.id === id) ?? []);
  }

  /** What a call that comes in costs, if anything. */
  costsToTake(call: Pick<Call, 'customerId' | 'to'>): boolean {
    const rate = this.#inboundRate(call);
    return rate !== undefined && (rate.priceMicros > 0n || rate.feeMicros > 0n);
  }

  /**
   * Holds money for a call that comes in, before it is answered; nothing where it costs nothing.
   * @throws ApiError insufficient_balance, service_unavailable
   */
  async admitInbound(call: Call): Promise<void> {
    const rate = this.#inboundRate(call);
    if (!rate || !this.costsToTake(call) || this.#calls.get(call.id)?.open.has(0)) return;
    const { id, customerId, applicationId, to } = call;
    await this.#options.billing.hold({
      callId: id,
      leg: 0,
      customerId,
      applicationId,
      direction: 'inbound',
      number: to,
      rate,
    });
    this.#numbered(id, 0).open.set(0, undefined);
    if (isTerminal(call.status)) this.ended(id, 0, { at: call.endedAt });
  }

  /** The number of the next second leg of a call. */
  nextLeg(callId: string): number {
    return (this.#calls.get(callId)?.last ?? 0) + 1;
  }

  /** The second leg in progress; a call has one at a time. */
  secondLegOf(callId: string): number | undefined {
    const known = this.#calls.get(callId);
    return known && known.last > 0 && known.open.has(known.last) ? known.last : undefined;
  }

  /** The leg goes over another of its trunks. */
  moved(callId: string, leg: number, trunkId: string): void {
    if (this.#calls.get(callId)?.open.has(leg)) this.#options.limits.moved(callId, leg, trunkId);
  }

  answered(callId: string, leg: number, at: Date): void {
    const open = this.#calls.get(callId)?.open;
    if (!open?.has(leg)) return;
    open.set(leg, open.get(leg) ?? at);
    this.#options.billing.answered({ callId, leg }, at);
  }

  /**
   * The leg has ended, or was never reached: it is charged for what it has used, and its place is free.
   * @param options.unseen nobody knows when: it costs no more than was held for it
   * @returns what it costs by its rate, where something is held for it
   */
  ended(
    callId: string,
    leg: number,
    { at = this.#now(), unseen = false }: { at?: Date | undefined; unseen?: boolean } = {},
  ): LegCost | undefined {
    const known = this.#calls.get(callId);
    if (!known?.open.has(leg)) return undefined;
    const answeredAt = known.open.get(leg);
    known.open.delete(leg);
    const cost = this.#options.billing.ended(
      { callId, leg },
      { ...(answeredAt && { answeredAt }), endedAt: at },
      { atMostHeld: unseen },
    );
    this.#options.limits.release(callId, leg);
    const call = this.#options.calls.get(callId);
    if (known.open.size === 0 && (!call || isTerminal(call.status))) this.#calls.delete(callId);
    return cost;
  }

  /** No request has gone out for the leg: it has not been a call at all. */
  giveBack(callId: string, leg: number): void {
    this.#options.limits.release(callId, leg, { unplaced: true });
    this.ended(callId, leg);
  }

  /**
   * Looks after the legs of a call that this process has taken over from an earlier life. Tries until the
   * database is there.
   * @returns until when the call's own leg was looked after, or charged where others have settled it
   *   meanwhile; undefined where nothing was held for it
   */
  async adopt(call: Call): Promise<Date | undefined> {
    for (;;) {
      try {
        const holds = await this.#options.billing.adopt(call.id);
        if (holds.length === 0) return undefined;
        const open = holds.filter(({ resolved }) => !resolved);
        const last = Math.max(...holds.map(({ leg }) => leg));
        this.#calls.set(call.id, {
          last,
          open: new Map(open.map(({ leg, answeredAt }) => [leg, answeredAt])),
        });
        // One at a time: those before the last had ended, and it was not written any more.
        for (const { leg } of open) if (leg > 0 && leg < last) this.ended(call.id, leg, { unseen: true });
        if (call.answeredAt) this.answered(call.id, 0, call.answeredAt);
        if (isTerminal(call.status)) this.#over(call);
        return holds.find(({ leg }) => leg === 0)?.until;
      } catch (error) {
        this.#options.logger.warn(
          { err: error, call: call.id },
          'the money held for a call could not be taken over; trying on',
        );
        await new Promise((resolve) => setTimeout(resolve, ADOPT_AGAIN_MS).unref());
      }
    }
  }

  #inboundRate({ customerId, to }: Pick<Call, 'customerId' | 'to'>): ReturnType<Billing['rateFor']> {
    return this.#options.billing.rateFor(customerId, 'inbound', to);
  }

  #numbered(callId: string, leg: number): AdmittedCall {
    const known = this.#calls.get(callId) ?? { last: 0, open: new Map() };
    known.last = Math.max(known.last, leg);
    this.#calls.set(callId, known);
    return known;
  }

  /** The call has ended, and all its legs with it. */
  #over(call: Call): void {
    // Also where there is no hold: the process may have died between the two.
    this.#options.limits.releaseCall(call.id);
    const known = this.#calls.get(call.id);
    if (!known) return;
    this.#calls.delete(call.id);
    for (const [leg, since] of known.open) {
      const answeredAt = leg === 0 ? call.answeredAt : since;
      // Nobody knows how long a call went on whose end was not seen: it costs no more than was held for it.
      const neverAnswered = leg === 0 && call.status === 'canceled';
      const times = {
        ...(answeredAt && { answeredAt }),
        ...(neverAnswered && { neverAnswered }),
        endedAt: call.endedAt ?? this.#now(),
      };
      this.#options.billing.ended({ callId: call.id, leg }, times, {
        atMostHeld: call.hangup?.cause === UNSEEN,
      });
    }
  }
}

import type { CallEnding } from '../calls/calls.ts';

/** The end of a call may be told before the request for its decision is read: so long it is remembered. */
const EARLY_MS = 30_000;
const MOST_EARLY = 10_000;

/**
 * Names the INVITE of a call. Two calls may share a Call-ID, and the From tag as well when a carrier has
 * forked to two numbers of ours: the branch of the Via then tells which one a CANCEL is about (RFC 3261
 * §9.1).
 */
export const inviteKey = (invite: {
  sip_call_id: string;
  from_tag: string;
  branch?: string | undefined;
}): string => `${invite.from_tag} ${invite.branch ?? ''} ${invite.sip_call_id}`;

/**
 * The calls between their decision and whoever takes them up, by INVITE; and the ends nobody could make sense
 * of yet.
 */
export class PendingCalls {
  readonly #now: () => number;
  readonly #callOf = new Map<string, string>();
  readonly #keyOf = new Map<string, string>();
  /** Until when a media node must have taken the call, in the order of the decisions. */
  readonly #deadlines = new Map<string, number>();
  readonly #early = new Map<string, { until: number; ending: CallEnding }>();

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  get size(): number {
    return this.#deadlines.size;
  }

  /**
   * @param claimMs how long a media node may take to take the call up; none for a call that no media node is
   * to take.
   */
  add(callId: string, key: string, claimMs?: number): void {
    this.#callOf.set(key, callId);
    this.#keyOf.set(callId, key);
    if (claimMs !== undefined) this.#deadlines.set(callId, this.#now() + claimMs);
  }

  /** A media node has taken the call up. It can still be found by its INVITE. */
  claimed(callId: string): void {
    this.#deadlines.delete(callId);
  }

  /** The call has ended. */
  remove(callId: string): void {
    this.#deadlines.delete(callId);
    const key = this.#keyOf.get(callId);
    this.#keyOf.delete(callId);
    if (key !== undefined && this.#callOf.get(key) === callId) this.#callOf.delete(key);
  }

  find(key: string): string | undefined {
    return this.#callOf.get(key);
  }

  /** Notes how a call has ended that is not known yet. */
  endedEarly(key: string, ending: CallEnding): void {
    const now = this.#now();
    for (const [old, { until }] of this.#early) {
      if (until > now && this.#early.size < MOST_EARLY) break;
      this.#early.delete(old);
    }
    this.#early.set(key, { until: now + EARLY_MS, ending });
  }

  /** How this call has ended before it came to be known, if it has; asked once. */
  endedBefore(key: string): CallEnding | undefined {
    const early = this.#early.get(key);
    this.#early.delete(key);
    return early && early.until > this.#now() ? early.ending : undefined;
  }

  /** Calls whose time to be taken up is over; each is named once. */
  expired(): string[] {
    const now = this.#now();
    const over: string[] = [];
    for (const [callId, deadline] of this.#deadlines) {
      if (deadline > now) break;
      over.push(callId);
    }
    for (const callId of over) this.#deadlines.delete(callId);
    return over;
  }
}

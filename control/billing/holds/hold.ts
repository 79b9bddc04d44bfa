import type { Tariff } from '../charge.ts';
import type { Caps, Shortage } from '../ledger/account.ts';
import type { Direction, Rate } from '../rates/rate.ts';

/** One leg of a call: 0 is the call itself, 1, 2, … are its second legs. */
export interface LegKey {
  callId: string;
  leg: number;
}

export const nameOf = ({ callId, leg }: LegKey): string => `${callId}/${leg}`;

/** Money that is set aside for a leg before it is dialled, with what is known of the leg. */
export interface Hold extends LegKey {
  customerId: string;
  direction: Direction;
  currency: string;
  /** The rate as it was when the hold was made. */
  tariff: Tariff;
  heldMicros: bigint;
  /** How long a call is paid for by what is held. */
  coveredSeconds: number;
  answeredAt: Date | undefined;
  /**
   * Of an open hold: until when the leg is looked after, as far as is stored. Of a resolved one: until when
   * it was charged.
   */
  until: Date | undefined;
  resolved: boolean;
}

/**
 * A hold whose leg is not paid for by time (not answered yet, or its time costs nothing) is its process's for
 * so long, in ms, and renewed when half of that has passed.
 */
export const KEPT_MS = 40_000;

export interface NewHold extends LegKey {
  customerId: string;
  applicationId: string | undefined;
  direction: Direction;
  number: string;
  rate: Rate;
  coveredSeconds: number;
  amountMicros: bigint;
  caps: Caps;
  at: Date;
}

export interface Extension {
  hold: LegKey & { customerId: string; direction: Direction; currency: string };
  fromSeconds: number;
  toSeconds: number;
  coveredUntil: Date;
  amountMicros: bigint;
  caps: Caps;
  at: Date;
}

/** What became of an attempt to set money aside; `roomMicros` is what could have been. */
export type Outcome = 'done' | { shortage: Shortage; roomMicros: bigint };

export interface LegTimes {
  answeredAt?: Date;
  /** What was told of an answer was taken back: it costs nothing, whatever is stored. */
  neverAnswered?: boolean;
  endedAt: Date;
}

/** What a leg has cost in the end. */
export interface Cost {
  amountMicros: bigint;
  currency: string;
  billsecSeconds: number;
  /** What it should have cost beyond that, and the customer no longer had. */
  unpaidMicros: bigint;
}

/** An open hold that nobody seems to look after, and what is known of its call. */
export interface Orphan extends LegKey {
  why: 'call ended' | 'no call' | 'not extended';
  times: LegTimes;
  /** Whether no more than what is held may be charged, since the leg's own end is not known. */
  atMostHeld: boolean;
}

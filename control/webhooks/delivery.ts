/**
 * What becomes of an event. `none`: there is no webhook; `disabled`: the endpoint is, and it was given up.
 */
export type DeliveryStatus = 'pending' | 'delivered' | 'exhausted' | 'disabled' | 'none';

/** A delivery that this worker alone may attempt, until its lease ends. */
export interface ClaimedDelivery {
  id: string;
  eventId: string;
  event: string;
  callId: string | undefined;
  applicationId: string;
  body: string;
  /** Attempts finished before this one. */
  attempts: number;
  /** How many of them came before it was last asked for by hand: the schedule begins after these. */
  scheduledFrom: number;
  createdAt: Date;
  leaseUntil: Date;
}

/** One request and what came of it. */
export interface Attempt {
  /** 1 for the first. */
  attempt: number;
  at: Date;
  url: string;
  requestHeaders: Record<string, string>;
  /** HTTP status, absent where there was no reply. */
  status: number | undefined;
  /** The first 4 KiB of the reply. */
  reply: string | undefined;
  error: string | undefined;
  tookMs: number;
  retryAfter: string | undefined;
  /** Seconds for which the receiver wants to be left alone, else 0. */
  stayAwaySeconds: number;
  /** Given up by us, not failed: it does not count. */
  aborted: boolean;
}

/** A delivery as the API shows it. */
export interface Delivery {
  id: string;
  eventId: string;
  event: string;
  callId: string | undefined;
  customerId: string;
  applicationId: string;
  status: DeliveryStatus;
  attempts: number;
  nextAttemptAt: Date | undefined;
  createdAt: Date;
  deliveredAt: Date | undefined;
}

export interface DeliveryFilter {
  applicationId?: string | undefined;
  customerId?: string | undefined;
  callId?: string | undefined;
  event?: string | undefined;
  status?: DeliveryStatus | undefined;
}

/** An attempt as it was kept. */
export type KeptAttempt = Pick<
  Attempt,
  'attempt' | 'at' | 'url' | 'requestHeaders' | 'status' | 'reply' | 'error' | 'tookMs'
>;

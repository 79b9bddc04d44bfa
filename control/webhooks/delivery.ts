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

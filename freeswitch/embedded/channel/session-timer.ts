/** Node's timers hold no more ms; a session that lasts longer than these 24 days needs no timer. */
const LONGEST_MS = 0x7fff_ffff;

/**
 * Counts the time of a session (RFC 4028 section 10): who refreshes does so at half time, and either side
 * ends what was not refreshed.
 */
export class SessionTimer {
  readonly #refresh: (seconds: number) => void;
  readonly #expired: () => void;
  #seconds = 0;
  #refreshing: NodeJS.Timeout | undefined;
  #expiry: NodeJS.Timeout | undefined;
  /** We are the one who refreshes. */
  ours = false;

  /**
   * @param refresh asks the far end for so many seconds more
   * @param expired nobody has refreshed the session in time
   */
  constructor(refresh: (seconds: number) => void, expired: () => void) {
    this.#refresh = refresh;
    this.#expired = expired;
  }

  /** How long a session lasts without a refresh, in s; 0 while there is no timer. */
  get seconds(): number {
    return this.#seconds;
  }

  /** The session has been refreshed, or has begun; without an agreement its timer is off (section 7.2). */
  start(agreed: { seconds: number; ours: boolean } | undefined): void {
    this.stop();
    this.ours = agreed?.ours ?? false;
    if (!agreed) return;
    this.#seconds = agreed.seconds;
    const ms = agreed.seconds * 1000;
    this.#expiry = timeout(() => this.#expired(), ms - Math.min(32_000, ms / 3));
    if (agreed.ours) this.again(ms / 2);
  }

  /** Asks for the refresh after so many ms, the session's time running on. */
  again(ms: number): void {
    if (this.#seconds === 0) return;
    clearTimeout(this.#refreshing);
    this.#refreshing = timeout(() => this.#refresh(this.#seconds), ms);
  }

  stop(): void {
    this.#seconds = 0;
    clearTimeout(this.#refreshing);
    clearTimeout(this.#expiry);
  }
}

function timeout(run: () => void, ms: number): NodeJS.Timeout | undefined {
  return ms > LONGEST_MS ? undefined : setTimeout(run, ms).unref();
}

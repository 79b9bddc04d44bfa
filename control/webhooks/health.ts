import type { Attempt } from './delivery.ts';

/** How an endpoint has been doing. */
export interface Health {
  consecutiveFailures: number;
  lastSuccessAt: Date | undefined;
  lastFailureAt: Date | undefined;
  lastError: string | undefined;
}

/** What some attempts have shown of one endpoint. */
export interface HealthChange {
  applicationId: string;
  /** Failures since the last success among them, or of all where there was none. */
  failures: number;
  succeededAt: Date | undefined;
  failedAt: Date | undefined;
  error: string | undefined;
}

/** An endpoint that answers well is written down no oftener, in ms. */
const WELL_EVERY_MS = 5000;
const MOST_REMEMBERED = 10_000;

/**
 * Sums attempts up to what is worth writing: every failure, every success after one, and now and then that
 * all is well.
 */
export class EndpointHealth {
  /** When an endpoint that was well was last written, in ms since the epoch. */
  readonly #well = new Map<string, number>();

  /** @param attempts in the order in which they ended */
  changes(attempts: readonly { applicationId: string; attempt: Attempt }[]): HealthChange[] {
    const changes = new Map<string, HealthChange>();
    for (const { applicationId, attempt } of attempts) {
      const change = changes.get(applicationId) ?? {
        applicationId,
        failures: 0,
        succeededAt: undefined,
        failedAt: undefined,
        error: undefined,
      };
      changes.set(applicationId, change);
      if (attempt.error === undefined) {
        change.succeededAt = attempt.at;
        change.failures = 0;
      } else {
        change.failedAt = attempt.at;
        change.error = attempt.error;
        change.failures++;
      }
    }
    // Sorted, so that two workers never wait for each other crosswise.
    return [...changes.values()]
      .filter((change) => this.#tells(change))
      .sort((a, b) => (a.applicationId < b.applicationId ? -1 : 1));
  }

  #tells({ applicationId, succeededAt, failedAt }: HealthChange): boolean {
    if (failedAt) {
      this.#well.delete(applicationId);
      return true;
    }
    const now = succeededAt?.getTime() ?? 0;
    const last = this.#well.get(applicationId);
    if (last !== undefined && now - last < WELL_EVERY_MS) return false;
    if (this.#well.size >= MOST_REMEMBERED) this.#well.clear();
    this.#well.set(applicationId, now);
    return true;
  }
}

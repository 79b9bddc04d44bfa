import { setMaxListeners } from 'node:events';
import type { GuardedFetch } from '../lib/guarded-fetch.ts';
import type { Logger } from '../lib/logger.ts';
import { deliver, type Endpoint } from './deliver.ts';
import { EndpointHealth } from './health.ts';
import { judge } from './schedule.ts';
import { Slots, type Slot, type SlotOutcome } from './slots.ts';
import type { ClaimedDelivery } from './delivery.ts';
import type { Finished, WebhookStore } from './store.ts';

export interface DeliveryWorkerOptions {
  store: Pick<WebhookStore, 'dueTimes' | 'claim' | 'record' | 'handBack' | 'disablePending' | 'noteHealth'>;
  fetch: GuardedFetch['fetch'];
  /**
   * Where an application's events go; undefined where it has no webhook. Rejecting means "not known right
   * now".
   */
  endpointOf: (applicationId: string) => Endpoint | undefined | Promise<Endpoint | undefined>;
  /**
   * An endpoint has answered 410: from now on `endpointOf` says that it is disabled, everywhere. False where
   * it is another address by now.
   */
  disable: (applicationId: string, url: string, reason: string) => Promise<boolean>;
  logger: Logger;
  now?: () => Date;
  random?: () => number;
  /** Attempts in flight, in all (and twice as many more that take long) and for one application. */
  concurrency?: number;
  concurrencyPerEndpoint?: number;
  /** How often to look for what other instances wrote, in ms. */
  pollMs?: number;
  /** How long a claim holds, in ms: longer than an attempt can take with everything around it. */
  leaseMs?: number;
}

/** Between two rounds and between two commits, so that one serves all that happened meanwhile, in ms. */
const GATHER_MS = 5;
/** A slow database is asked less often: as long as a round took, we wait before the next, up to this. */
const LONGEST_GATHER_MS = 50;
/** Applications asked about in one statement. */
const APPLICATIONS_PER_ROUND = 64;
const RESULTS_PER_COMMIT = 200;
/** An attempt in flight for longer takes long, and one that fails after longer has hung, in ms. */
const LONG_MS = 1000;
const LONGEST_PAUSE_SECONDS = 60;
/**
 * Another instance may know of a new webhook before this one does: an event is not given up for want of one
 * before this age, in ms.
 */
const SETTLING_MS = 10_000;
const FORGET_EVERY_MS = 600_000;

/**
 * Delivers what is in the outbox, beside any number of other workers in other processes. It claims only what
 * it can start at once, so a claim outlives its lease only when the process has died, and then another worker
 * repeats it: every event is delivered at least once. What MySQL cannot be told stays here until it can.
 */
export class DeliveryWorker {
  readonly #o: DeliveryWorkerOptions;
  readonly #now: () => Date;
  readonly #concurrency: number;
  readonly #slots: Slots;
  readonly #health = new EndpointHealth();
  readonly #pollMs: number;
  readonly #giveUp = new AbortController();
  readonly #attempts = new Set<Promise<void>>();
  #finished: Finished[] = [];
  #unattempted: { delivery: ClaimedDelivery; dueAt: Date }[] = [];
  #loop: Promise<void> | undefined;
  #writing: Promise<void> | undefined;
  #stopping = false;
  #abandoned = false;
  #woken = false;
  #wakeUp: () => void = () => {};
  #lastForgot = 0;

  constructor(options: DeliveryWorkerOptions) {
    this.#o = options;
    this.#now = options.now ?? (() => new Date());
    this.#concurrency = options.concurrency ?? 256;
    this.#slots = new Slots(this.#concurrency, options.concurrencyPerEndpoint ?? 64);
    this.#pollMs = options.pollMs ?? 1000;
    setMaxListeners(0, this.#giveUp.signal);
  }

  /** Attempts in flight, those included whose outcome is not stored yet. */
  get running(): number {
    return this.#attempts.size + this.#unstored;
  }

  get #unstored(): number {
    return this.#finished.length + this.#unattempted.length;
  }

  /** Endpoints that something is remembered of. */
  get endpoints(): number {
    return this.#slots.known;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  /** Something was committed to the outbox: look now, not at the next poll. */
  wake(): void {
    this.#woken = true;
    this.#wakeUp();
  }

  /**
   * Lets running attempts finish for up to `ms` milliseconds, then gives them up; claims go back to be taken
   * by others.
   */
  async stop(ms = 10_000): Promise<void> {
    this.#stopping = true;
    this.wake();
    await this.#loop;
    await within(ms, Promise.all(this.#attempts));
    this.#giveUp.abort();
    await Promise.all(this.#attempts);
    await within(2000, this.#written());
    this.#abandoned = true;
    if (this.#unstored > 0)
      this.#o.logger.warn(
        { count: this.#unstored },
        'the outcome of webhook attempts could not be stored; they will be repeated',
      );
  }

  async #run(): Promise<void> {
    let failures = 0;
    while (!this.#stopping) {
      const began = performance.now();
      let pauseMs: number;
      try {
        pauseMs = await this.#round();
        if (failures > 1) this.#o.logger.info('webhooks can be read from the database again');
        failures = 0;
      } catch (error) {
        if (++failures === 2)
          this.#o.logger.error({ err: error }, 'webhooks cannot be read from the database; trying again');
        this.#woken = false;
        pauseMs = backOff(failures);
      }
      await sleep(Math.min(Math.max(performance.now() - began, GATHER_MS), LONGEST_GATHER_MS));
      await this.#pause(pauseMs);
    }
  }

  /**
   * Starts what is due and may start; returns how long there is nothing to do, in ms, unless something
   * happens.
   */
  async #round(): Promise<number> {
    this.#woken = false;
    // the database cannot keep up; nothing more is begun
    if (this.#unstored >= this.#concurrency) return this.#pollMs;
    const { store } = this.#o;
    const now = this.#now();
    const time = now.getTime();
    if (time - this.#lastForgot > FORGET_EVERY_MS) {
      this.#lastForgot = time;
      this.#slots.forgetIdle(time);
    }
    const times = await store.dueTimes();
    const due = times
      .filter(({ dueAt }) => dueAt.getTime() <= time)
      .map(({ applicationId }) => applicationId);
    const taken = new Map<string, Slot[]>();
    // A random start, since the first ones could be such that have rows due but none free.
    const offset = Math.floor(Math.random() * due.length);
    for (let i = 0; i < due.length && taken.size < APPLICATIONS_PER_ROUND; i++) {
      const applicationId = due[(offset + i) % due.length] ?? '';
      const slots = this.#slots.take(applicationId, time, await this.#urlOf(applicationId));
      if (slots.length > 0) taken.set(applicationId, slots);
    }
    let begun = 0;
    try {
      const wanted = [...taken].map(([applicationId, slots]) => ({ applicationId, count: slots.length }));
      for (const delivery of await store.claim(wanted, now, new Date(time + (this.#o.leaseMs ?? 15_000)))) {
        const slot = taken.get(delivery.applicationId)?.pop();
        if (!slot) continue; // cannot be: no more are claimed than asked for
        this.#begin(delivery, slot);
        begun++;
      }
    } finally {
      for (const slot of [...taken.values()].flat()) this.#slots.give(slot);
    }
    if (begun > 0) return 0;
    const next = times.reduce(
      (soonest, { dueAt }) => (dueAt.getTime() > time ? Math.min(soonest, dueAt.getTime()) : soonest),
      this.#slots.nextUnpause(time) ?? Infinity,
    );
    return Math.min(this.#pollMs, next - time);
  }

  async #urlOf(applicationId: string): Promise<string | undefined> {
    try {
      return (await this.#o.endpointOf(applicationId))?.url;
    } catch {
      return undefined; // it is asked for again with each attempt
    }
  }

  #begin(delivery: ClaimedDelivery, slot: Slot): void {
    const timer = setTimeout(() => {
      this.#slots.takesLong(slot);
      this.wake();
    }, LONG_MS);
    const attempt = this.#attempt(delivery).then((outcome) => {
      clearTimeout(timer);
      this.#attempts.delete(attempt);
      this.#slots.give(slot, outcome);
      this.#writing ??= this.#write();
    });
    this.#attempts.add(attempt);
  }

  /** Makes one attempt and leaves its outcome to be stored. Never rejects. */
  async #attempt(delivery: ClaimedDelivery): Promise<SlotOutcome | undefined> {
    const { fetch, endpointOf, random = Math.random } = this.#o;
    const now = this.#now;
    let endpoint: Endpoint | undefined;
    try {
      endpoint = await endpointOf(delivery.applicationId);
    } catch (error) {
      this.#o.logger.warn(
        { err: error, application: delivery.applicationId },
        'the webhook address of an application could not be read',
      );
      this.#unattempted.push({ delivery, dueAt: new Date(now().getTime() + 5000) });
      return undefined;
    }
    const known = delivery.createdAt.getTime() + SETTLING_MS;
    if (!endpoint && now().getTime() < known) {
      this.#unattempted.push({ delivery, dueAt: new Date(known) });
      return undefined;
    }
    if (!endpoint || endpoint.disabled) {
      this.#finished.push({
        delivery,
        attempt: undefined,
        verdict: { status: endpoint ? 'disabled' : 'none' },
      });
      return undefined;
    }
    const attempt = await deliver(delivery, endpoint, { fetch, now, signal: this.#giveUp.signal });
    const finishedAt = now();
    if (attempt.aborted) {
      this.#unattempted.push({ delivery, dueAt: finishedAt });
      return undefined;
    }
    const verdict = judge(
      {
        attempt: attempt.attempt - delivery.scheduledFrom,
        status: attempt.status,
        retryAfter: attempt.retryAfter,
        finishedAt,
      },
      random(),
    );
    this.#finished.push({ delivery, attempt, verdict });
    const away = Math.min(attempt.stayAwaySeconds, LONGEST_PAUSE_SECONDS);
    return {
      hung: verdict.status !== 'delivered' && attempt.tookMs > LONG_MS,
      pausedUntil: away > 0 ? finishedAt.getTime() + away * 1000 : 0,
      url: attempt.url,
    };
  }

  async #written(): Promise<void> {
    while (this.#writing) await this.#writing;
  }

  /**
   * Stores outcomes, many in one commit: while one commits the next ones gather. Then there may be more to
   * begin, in the order of a call.
   */
  async #write(): Promise<void> {
    for (let failures = 0; this.#unstored > 0 && !this.#abandoned;) {
      await sleep(GATHER_MS);
      try {
        await this.#writeFinished();
        await this.#writeUnattempted();
        failures = 0;
      } catch (error) {
        if (++failures === 2)
          this.#o.logger.error(
            { err: error },
            'the outcome of webhook attempts cannot be stored; trying again',
          );
        await sleep(backOff(failures));
      }
      this.wake();
    }
    this.#writing = undefined;
  }

  async #writeFinished(): Promise<void> {
    const batch = this.#finished.slice(0, RESULTS_PER_COMMIT);
    if (batch.length === 0) return;
    // Before the outcome is stored: whatever happens in between, the attempt is made again and finds the
    // endpoint disabled.
    const gone = new Map(
      batch.flatMap(({ delivery, attempt }) =>
        attempt?.status === 410 ? [[delivery.applicationId, attempt.url] as const] : [],
      ),
    );
    for (const [applicationId, url] of gone) {
      if (await this.#o.disable(applicationId, url, 'the endpoint answered 410 Gone')) continue;
      gone.delete(applicationId);
      for (const one of batch) {
        if (one.delivery.applicationId === applicationId && one.attempt?.status === 410)
          one.verdict = { status: 'pending', nextAttemptAt: this.#now() };
      }
    }
    await this.#o.store.record(batch, this.#now());
    for (const applicationId of gone.keys()) await this.#o.store.disablePending(applicationId);
    await this.#o.store.noteHealth(
      this.#health.changes(
        batch.flatMap(({ delivery, attempt }) =>
          attempt ? [{ applicationId: delivery.applicationId, attempt }] : [],
        ),
      ),
    );
    this.#finished = this.#finished.slice(batch.length);
  }

  async #writeUnattempted(): Promise<void> {
    const [first] = this.#unattempted;
    if (!first) return;
    const batch = new Set(
      this.#unattempted
        .filter(({ dueAt }) => dueAt.getTime() === first.dueAt.getTime())
        .slice(0, RESULTS_PER_COMMIT),
    );
    await this.#o.store.handBack(
      [...batch].map(({ delivery }) => delivery),
      first.dueAt,
    );
    this.#unattempted = this.#unattempted.filter((one) => !batch.has(one));
  }

  /**
   * Until `ms` have passed or `wake` is called, whichever is first; not at all if it was called since the
   * round began.
   */
  async #pause(ms: number): Promise<void> {
    if (ms <= 0 || this.#woken || this.#stopping) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wakeUp = () => {};
  }
}

const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

const backOff = (failures: number): number => Math.min(100 * 2 ** failures, 5000);

/** Waits for `work`, but no longer than `ms` milliseconds. */
async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([
    work,
    new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms);
    }),
  ]);
  clearTimeout(timer);
}

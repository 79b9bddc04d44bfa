import type { Redis } from 'ioredis';
import { ApiError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { within } from '../lib/within.ts';
import { counting, refusal, unavailable, type Place } from './place.ts';
import { idsOf, LimitScripts, memberOf, type Beat, type HeldPlace } from './scripts.ts';

export type { Place } from './place.ts';
export type { HeldPlace } from './scripts.ts';

interface Options {
  redis: Redis;
  /** This control process's number. */
  instance: number;
  logger: Logger;
  times?: Partial<typeof TIMES>;
  /** Microseconds in place of Redis' own time, for tests. */
  clock?: () => number;
}

const TIMES = {
  /** How often Redis is asked whether it still remembers. */
  beatMs: 1000,
  /** How often the places held are renewed. */
  renewMs: 10_000,
  /** How long a place lasts without: those of a process that was killed are free after it. */
  lifeMs: 30_000,
  /**
   * Shortest time for which nobody takes a place after Redis has lost its memory: beats enough for every
   * process to announce its own.
   */
  settleMs: 3000,
  /** How long a request to Redis may take. */
  patienceMs: 800,
};

/** Places renewed by one script. */
const RENEWED_AT_ONCE = 100;

type Held = HeldPlace & {
  /** The epoch of Redis' memory that knows of it. */
  epoch: string;
};

/**
 * Calls per second and calls at a time, of customers, applications and trunks, right across all control
 * processes: what is held is in Redis, and every decision is one script there, by Redis' own clock.
 *
 * - A place is a member of a sorted set whose score is its expiry. The process that holds it renews it; when
 * it is killed its places expire, unless its next life takes them over with the calls. There is no counter
 * that could go wrong.
 * - The promise is: no limit is exceeded as long as every process reaches Redis at least every 30 s. That
 * holds when Redis loses its memory too: then nobody takes a place (503 with Retry-After) until every process
 * has announced its own
 *   again; see lua/epoch.lua. It must not evict keys (`maxmemory-policy noeviction`, its default).
 * - While Redis is away no place can be taken: 503. Calls in progress do not notice.
 */
export class Limits {
  readonly #scripts: LimitScripts;
  readonly #logger: Logger;
  readonly #redis: Redis;
  readonly #times: typeof TIMES;
  /** Places this process holds, by leg. */
  readonly #held = new Map<string, Held>();
  /** Legs whose place is being asked for, and whether it was released meanwhile. */
  readonly #taking = new Map<string, { released: boolean }>();
  /**
   * Places of an earlier life whose calls have not been seen. They are not renewed, and dropped when they
   * have expired.
   */
  readonly #orphans = new Map<string, HeldPlace>();
  #orphansUntilMs = 0;
  /** What an earlier life held is looked up once, when Redis is first reached. */
  #recover: { live: readonly HeldPlace[] } | undefined;
  #isMine: (callId: string) => boolean = () => false;
  /** The epoch in which all places of this process have been announced. */
  #announced = '';
  #renewedAtMs = 0;
  /** Instances alive before the epoch that is not open yet. */
  #known: readonly string[] = [];
  #beating: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #open = false;
  #away = false;
  #stopped = true;

  constructor({ redis, instance, logger, times, clock }: Options) {
    this.#redis = redis;
    this.#logger = logger;
    this.#times = { ...TIMES, ...times };
    const { lifeMs, settleMs } = this.#times;
    this.#scripts = new LimitScripts({ redis, instance, lifeMs, settleMs, ...(clock && { clock }) });
  }

  /**
   * Takes over the places an earlier life of this process held of calls that go on, and begins to renew. Does
   * not wait for a Redis that is away: nothing can be taken until it is back.
   * @param isMine whether a call is in this process's care. A place whose call is not, yet, is asked about
   * again until it has expired.
   * @param live places of calls that go on as far as the database knows, for a Redis that has forgotten them
   */
  async start(isMine: (callId: string) => boolean, live: readonly HeldPlace[] = []): Promise<void> {
    this.#isMine = isMine;
    this.#recover = { live };
    this.#stopped = false;
    this.#redis.on('ready', this.#onReady);
    await this.beat();
    const tick = (): void => {
      this.#timer = setTimeout(
        () => void this.beat().then(() => !this.#stopped && tick()),
        this.#times.beatMs,
      );
    };
    tick();
  }

  /**
   * Ends the renewals. The places stay, as the calls do, for the next life of this process. Where it has
   * none, nobody waits for it should Redis lose its memory.
   */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#redis.off('ready', this.#onReady);
    await this.#beating;
    if (
      this.#redis.status !== 'ready' ||
      this.#recover ||
      this.#held.size + this.#taking.size + this.#orphans.size > 0
    )
      return;
    // Then it counts as gone a little later.
    await this.#within(this.#scripts.leave()).catch(() => undefined);
  }

  /** Whether places can be taken, as far as is known. */
  get open(): boolean {
    return this.#open && !this.#away && this.#redis.status === 'ready';
  }

  /**
   * For gauges: places held, places being asked for, and places of an earlier life whose calls have not been
   * seen.
   */
  get counters(): { held: number; taking: number; orphans: number } {
    return { held: this.#held.size, taking: this.#taking.size, orphans: this.#orphans.size };
  }

  /**
   * Takes a place for a leg: all of it or nothing, and a refusal uses nothing up. Trunks without room are
   * passed over.
   * @returns ids of the trunks with room, in the given order; the leg's place is the first one's.
   * @throws ApiError `cps_limit_reached`, `concurrent_call_limit_reached`; `service_unavailable` while Redis
   *   is away or has lost its memory and not yet heard of all places again. All carry Retry-After.
   */
  async take(place: Place): Promise<string[]> {
    const { callId, leg, customer, application, trunks } = place;
    if (this.#redis.status !== 'ready') throw unavailable();
    const member = memberOf(callId, leg);
    const scopes = [
      { id: customer.id, cps: customer.cps, concurrent: customer.concurrentCalls },
      { id: application.id, cps: application.cps, concurrent: application.concurrentCalls },
      ...trunks.map(({ id, maxCps, maxConcurrent }) => ({ id, cps: maxCps, concurrent: maxConcurrent })),
    ];
    const state = { released: false };
    this.#taking.set(member, state);
    try {
      const taken = await this.#within(this.#scripts.take(member, this.#announced, scopes));
      if (taken.result === 'closed') {
        void this.beat();
        throw counting(taken.waitMs);
      }
      if (taken.result !== 'granted') throw refusal(taken.result, taken.scope, place);
      const [trunkId] = taken.trunks;
      this.#held.set(member, {
        callId,
        leg,
        customerId: customer.id,
        applicationId: application.id,
        ...(trunkId !== undefined && { trunkId }),
        epoch: taken.epoch,
      });
      if (state.released) this.release(callId, leg, { unplaced: true });
      return taken.trunks;
    } catch (error) {
      if (error instanceof ApiError) throw error;
      this.#lost(error);
      // It may have been granted without our hearing of it.
      this.#send(
        this.#scripts.release(
          member,
          scopes.map(({ id }) => id),
          true,
        ),
      );
      throw unavailable();
    } finally {
      if (this.#taking.get(member) === state) this.#taking.delete(member);
    }
  }

  /**
   * Kamailio went to another trunk of the list. Its limits are not looked at: it has happened, and Kamailio
   * has its own.
   */
  moved(callId: string, leg: number, trunkId: string): void {
    const held = this.#held.get(memberOf(callId, leg));
    if (!held || held.trunkId === trunkId) return;
    const from = held.trunkId;
    held.trunkId = trunkId;
    this.#send(this.#scripts.move({ ...held, trunkId }, from));
  }

  /**
   * Gives a leg's place back; again, or of a leg that has none, it does nothing.
   * @param unplaced no request has gone out for it: what it took of the calls of this second is given back
   * too
   */
  release(callId: string, leg: number, { unplaced = false } = {}): void {
    const member = memberOf(callId, leg);
    const taking = this.#taking.get(member);
    if (taking) taking.released = true;
    const place = this.#held.get(member) ?? this.#orphans.get(member);
    if (!place) return;
    this.#held.delete(member);
    this.#orphans.delete(member);
    this.#send(this.#scripts.release(member, idsOf(place), unplaced));
  }

  /** Gives the places of all legs of a call back: it is over. */
  releaseCall(callId: string): void {
    for (const places of [this.#held, this.#orphans]) {
      for (const place of [...places.values()]) if (place.callId === callId) this.release(callId, place.leg);
    }
    for (const [member, state] of this.#taking) if (member.startsWith(`${callId}:`)) state.released = true;
  }

  /**
   * One exchange with Redis: says that this process is alive, and announces or renews its places where that
   * is due. Never throws.
   */
  beat(): Promise<void> {
    this.#beating ??= this.#beat()
      .catch((error: unknown) => this.#lost(error))
      .finally(() => {
        this.#beating = undefined;
      });
    return this.#beating;
  }

  readonly #onReady = (): void => void this.beat();

  async #beat(): Promise<void> {
    if (this.#recover) await this.#takeOver(this.#recover.live);
    // Twice where Redis has lost its memory: once to learn of it, and once to say that all places have been
    // announced.
    for (let round = 0; round < 2; round++) {
      const seen = await this.#within(this.#scripts.beat(this.#announced, this.#known));
      this.#open = seen.opensInMs === 0;
      if (this.#open) this.#known = seen.instances;
      this.#lookAfterOrphans(seen);
      await this.#announce(seen);
      if (seen.records > this.#held.size + this.#taking.size + this.#orphans.size) await this.#sweep();
      const news = this.#announced !== seen.epoch;
      this.#announced = seen.epoch;
      if (!news) break;
      this.#open = false;
    }
    if (this.#away) this.#logger.info('limits are checked again');
    this.#away = false;
  }

  /** Announces what this epoch has not heard of, and everything where a renewal is due. */
  async #announce({ epoch, nowMs }: Beat): Promise<void> {
    const due = nowMs - this.#renewedAtMs >= this.#times.renewMs;
    const places = [...this.#held.values()].filter((held) => due || held.epoch !== epoch);
    for (let n = 0; n < places.length; n += RENEWED_AT_ONCE) {
      // What was released meanwhile must not come back.
      const some = places
        .slice(n, n + RENEWED_AT_ONCE)
        .filter((held) => this.#held.get(memberOf(held.callId, held.leg)) === held);
      await this.#within(this.#scripts.renew(some));
      for (const held of some) held.epoch = epoch;
    }
    if (due) this.#renewedAtMs = nowMs;
  }

  async #takeOver(live: readonly HeldPlace[]): Promise<void> {
    const left = await this.#within(this.#scripts.places());
    for (const place of live)
      left.set(memberOf(place.callId, place.leg), left.get(memberOf(place.callId, place.leg)) ?? place);
    for (const [member, place] of left) if (!this.#held.has(member)) this.#orphans.set(member, place);
    this.#recover = undefined;
  }

  #lookAfterOrphans({ nowMs }: Beat): void {
    if (this.#orphans.size === 0) return;
    this.#orphansUntilMs ||= nowMs + this.#times.lifeMs;
    for (const [member, place] of this.#orphans) {
      if (this.#isMine(place.callId)) {
        this.#orphans.delete(member);
        this.#held.set(member, { ...place, epoch: '' });
      } else if (nowMs >= this.#orphansUntilMs) {
        this.release(place.callId, place.leg);
      }
    }
  }

  /** Redis has places written down that nobody holds: of a grant whose reply never came. */
  async #sweep(): Promise<void> {
    for (const [member, place] of await this.#within(this.#scripts.places())) {
      if (this.#held.has(member) || this.#taking.has(member) || this.#orphans.has(member)) continue;
      await this.#within(this.#scripts.release(member, idsOf(place)));
    }
  }

  /** What cannot be told now need not be: what is not renewed expires. */
  #send(command: Promise<void>): void {
    command.catch((error: unknown) => this.#lost(error));
  }

  #lost(error: unknown): void {
    if (!this.#away && !this.#stopped)
      this.#logger.warn({ err: error }, 'limits cannot be checked: no calls go out');
    this.#away = true;
  }

  /** @throws TookTooLong when Redis does not answer in time; a connection may hang without breaking. */
  #within<T>(command: Promise<T>): Promise<T> {
    return within(
      this.#times.patienceMs,
      command,
      `redis did not answer within ${this.#times.patienceMs} ms`,
    );
  }
}

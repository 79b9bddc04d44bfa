import { readFileSync } from 'node:fs';
import type { Redis } from 'ioredis';

/** In braces, so that a Redis cluster keeps all keys on one node, as scripts need it. */
const PREFIX = '{limits}:';
const AWAITED = `${PREFIX}awaited`;
const EPOCH_KEYS = [`${PREFIX}epoch`, AWAITED, `${PREFIX}heard`];
const PROCESSES = `${PREFIX}processes`;

const heldKey = (id: string): string => `${PREFIX}held:${id}`;
const secondKey = (id: string): string => `${PREFIX}second:${id}`;

/**
 * A place that a leg of a call holds: one of its customer's, one of its application's, and one of a trunk's
 * unless it goes to a SIP URI.
 */
export interface HeldPlace {
  callId: string;
  leg: number;
  customerId: string;
  applicationId: string;
  trunkId?: string;
}

/** What a limit is of, and how much it allows; undefined: any number. */
export interface Limited {
  id: string;
  cps?: number;
  concurrent?: number;
}

export type Scope = 'customer' | 'application' | 'trunk';

export type Taken =
  | { result: 'granted'; epoch: string; trunks: string[] }
  | { result: 'closed'; waitMs: number }
  | { result: 'cps' | 'concurrent'; scope: Scope };

export interface Beat {
  epoch: string;
  /** Until places may be taken; 0: now. */
  opensInMs: number;
  /** Places Redis has written down for this instance. */
  records: number;
  nowMs: number;
  /** Instances alive. */
  instances: string[];
}

export interface ScriptOptions {
  redis: Redis;
  instance: number;
  /** Life of a place without a renewal, in ms. */
  lifeMs: number;
  /** Shortest time in ms for which nobody takes a place after Redis has lost its memory. */
  settleMs: number;
  /** Microseconds in place of Redis' own time, for tests. */
  clock?: () => number;
}

export const memberOf = (callId: string, leg: number): string => `${callId}:${leg}`;
const recordOf = (place: HeldPlace): string =>
  `${place.customerId} ${place.applicationId} ${place.trunkId ?? ''}`;
export const idsOf = (place: HeldPlace): string[] => [
  place.customerId,
  place.applicationId,
  ...(place.trunkId === undefined ? [] : [place.trunkId]),
];

type Commands = Readonly<Record<string, (...args: (string | number)[]) => Promise<string[]>>>;

/** The Lua scripts behind the limits, as functions. Each rejects while Redis is away. */
export class LimitScripts {
  readonly #redis: Redis;
  /** The same connection: ioredis makes a method of each script. */
  readonly #commands: Commands;
  readonly #o: ScriptOptions;
  readonly #placesKey: string;

  constructor(options: ScriptOptions) {
    this.#o = options;
    this.#redis = options.redis;
    this.#commands = options.redis as unknown as Commands;
    this.#placesKey = `${PREFIX}places:${options.instance}`;
    const prelude = source('epoch');
    for (const name of ['beat', 'take', 'renew', 'move', 'release'])
      this.#redis.defineCommand(commandOf(name), { lua: `${prelude}\n${source(name)}` });
  }

  /**
   * @param announced the epoch in which this process has announced its places.
   * @param known the instances it knew before this epoch.
   */
  async beat(announced: string, known: readonly string[]): Promise<Beat> {
    const { lifeMs, settleMs, instance } = this.#o;
    const reply = await this.#run(
      'beat',
      [...EPOCH_KEYS, PROCESSES, this.#placesKey],
      [this.#now(), lifeMs, settleMs, instance, announced, ...known],
    );
    const [epoch = '', opensInMs, records, nowMs, ...instances] = reply;
    return { epoch, opensInMs: Number(opensInMs), records: Number(records), nowMs: Number(nowMs), instances };
  }

  async take(member: string, announced: string, scopes: readonly Limited[]): Promise<Taken> {
    const { lifeMs, settleMs } = this.#o;
    const [result, ...rest] = await this.#run(
      'take',
      [...EPOCH_KEYS, this.#placesKey, ...scopes.flatMap(({ id }) => [heldKey(id), secondKey(id)])],
      [
        this.#now(),
        lifeMs,
        settleMs,
        announced,
        member,
        ...scopes.flatMap(({ id, concurrent, cps }) => [id, concurrent ?? '', cps ?? '']),
      ],
    );
    if (result === 'granted') return { result, epoch: rest[0] ?? '', trunks: rest.slice(1) };
    if (result === 'cps' || result === 'concurrent') return { result, scope: rest[0] as Scope };
    return { result: 'closed', waitMs: Number(rest[0]) };
  }

  /** This process ends and holds nothing: nobody has to wait for what it has to announce. */
  async leave(): Promise<void> {
    const { instance } = this.#o;
    await this.#redis.multi().zrem(PROCESSES, instance).srem(AWAITED, instance).exec();
  }

  /** Of a hundred or so at a time: a script holds everybody else up for as long as it runs. */
  async renew(places: readonly HeldPlace[]): Promise<void> {
    await this.#run(
      'renew',
      [this.#placesKey, ...places.flatMap((place) => idsOf(place).map(heldKey))],
      [
        this.#now(),
        this.#o.lifeMs,
        ...places.flatMap((place) => [
          memberOf(place.callId, place.leg),
          recordOf(place),
          idsOf(place).length,
        ]),
      ],
    );
  }

  /** @param place where it is now. @param from the trunk it was on. */
  async move(place: HeldPlace & { trunkId: string }, from: string | undefined): Promise<void> {
    await this.#run(
      'move',
      [
        this.#placesKey,
        heldKey(place.trunkId),
        secondKey(place.trunkId),
        ...(from === undefined ? [] : [heldKey(from)]),
      ],
      [this.#now(), this.#o.lifeMs, memberOf(place.callId, place.leg), recordOf(place)],
    );
  }

  /** @param unplaced its calls of this second are given back too: nothing was sent to anybody. */
  async release(member: string, ids: readonly string[], unplaced = false): Promise<void> {
    await this.#run(
      'release',
      [this.#placesKey, ...ids.map(heldKey), ...(unplaced ? ids.map(secondKey) : [])],
      [member],
    );
  }

  /** What Redis has written down for this instance, by leg. */
  async places(): Promise<Map<string, HeldPlace>> {
    const found = new Map<string, HeldPlace>();
    for (const [member, record] of Object.entries(await this.#redis.hgetall(this.#placesKey))) {
      const [, callId, leg] = /^(.+):(\d+)$/.exec(member) ?? [];
      const [customerId, applicationId, trunkId] = record.split(' ');
      if (callId && customerId && applicationId)
        found.set(member, {
          callId,
          leg: Number(leg),
          customerId,
          applicationId,
          ...(trunkId && { trunkId }),
        });
    }
    return found;
  }

  #now(): string {
    return this.#o.clock ? String(Math.round(this.#o.clock())) : '';
  }

  async #run(name: string, keys: readonly string[], args: readonly (string | number)[]): Promise<string[]> {
    const script = this.#commands[commandOf(name)];
    if (!script) throw new Error(`there is no script ${name}`);
    return script.call(this.#redis, keys.length, ...keys, ...args);
  }
}

const source = (name: string): string => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8');
const commandOf = (name: string): string => `limits_${name}`;

import type { Redis } from 'ioredis';

/** How long a member counts without being announced anew, in ms. */
const LIFE_MS = 30_000;
/** How long Redis may take before it counts as away, in ms. */
const REPLY_MS = 1000;

/**
 * KEYS[1] the room's node, a string. KEYS[2] its members, a sorted set of channels by the time they count
 * until.
 * ARGV[1] a channel. ARGV[2] the node that gets the room where it has none, or '': then the channel does not
 * enter.
 * ARGV[3] how long the channel counts, in ms.
 * Result: the room's node, or nil where it has none.
 */
const ENTER = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
local node = redis.call('GET', KEYS[1])
if not node or redis.call('ZCARD', KEYS[2]) == 0 then
  if ARGV[2] == '' then return false end
  node = ARGV[2]
  redis.call('SET', KEYS[1], node)
end
redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return node`;

/** KEYS as above. ARGV[1] a channel. The last one who leaves frees the room. */
const LEAVE = `
redis.call('ZREM', KEYS[2], ARGV[1])
if redis.call('ZCARD', KEYS[2]) == 0 then redis.call('DEL', KEYS[1], KEYS[2]) end`;

/** KEYS as above. ARGV[1] a node that has died: the room is free again, if it was there. */
const ABANDON = `
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1], KEYS[2]) end`;

/**
 * Which media node has which room, in Redis: the first member's, for as long as somebody is in it. Each
 * member counts for 30 s and is announced anew by whoever drives it; so a room that nobody freed frees
 * itself. Every method fails when Redis is away.
 */
export class Rooms {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Counts a channel in, if the room has a node. @returns the node, or undefined. */
  async enter(room: string, channel: string): Promise<string | undefined> {
    return (await this.#run(ENTER, room, channel, '', String(LIFE_MS))) ?? undefined;
  }

  /**
   * Counts a channel in, and gives the room to a node where it has none: of several who do so at once the
   * first one wins. Also announces one anew. @returns the node that has the room.
   */
  async claim(room: string, channel: string, node: string): Promise<string> {
    return (await this.#run(ENTER, room, channel, node, String(LIFE_MS))) ?? node;
  }

  async leave(room: string, channel: string): Promise<void> {
    await this.#run(LEAVE, room, channel);
  }

  /** Frees a room of a node that has died; one that has been given to another node meanwhile stays there. */
  async abandon(room: string, node: string): Promise<void> {
    await this.#run(ABANDON, room, node);
  }

  async #run(script: string, room: string, ...args: string[]): Promise<string | null> {
    const reply = this.#redis.eval(
      script,
      2,
      `conference:{${room}}:node`,
      `conference:{${room}}:members`,
      ...args,
    ) as Promise<string | null>;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>(
      (_, reject) => (timer = setTimeout(() => reject(new Error('redis takes too long')), REPLY_MS)),
    );
    try {
      return await Promise.race([reply, late]);
    } finally {
      clearTimeout(timer);
      reply.catch(() => undefined);
    }
  }
}

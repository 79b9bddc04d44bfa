-- A leg has gone to another trunk. That is a fact: the new trunk's limits are not looked at, and its call of this second counts.
-- KEYS[1] places of this instance (hash)   KEYS[2] new trunk's places (zset)   KEYS[3] new trunk's calls of this second (zset)
-- KEYS[4] places of the trunk it was on, where there was one
-- ARGV[1] time in µs, for tests; else empty   ARGV[2] life of a place in ms   ARGV[3] leg   ARGV[4] "customer application trunk"
-- Result: nothing

local now = now_us(ARGV[1])
if KEYS[4] then redis.call('ZREM', KEYS[4], ARGV[3]) end
redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
redis.call('ZADD', KEYS[2], number(math.floor(now / 1000) + tonumber(ARGV[2])), ARGV[3])
redis.call('PEXPIRE', KEYS[2], 2 * tonumber(ARGV[2]))
redis.call('ZADD', KEYS[3], number(now), ARGV[3])
redis.call('PEXPIRE', KEYS[3], 10000)
return redis.status_reply('OK')

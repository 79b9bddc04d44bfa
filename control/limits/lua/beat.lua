-- A process says that it is alive and learns the epoch.
-- KEYS[1] epoch (hash: since, open)   KEYS[2] awaited (set of instances)   KEYS[3] heard (set of instances)
-- KEYS[4] processes (zset: instance, when it counts as gone in ms)   KEYS[5] places of this instance (hash)
-- ARGV[1] time in µs, for tests; else empty   ARGV[2] life of a place in ms   ARGV[3] shortest closed time of an epoch in ms
-- ARGV[4] instance   ARGV[5] the epoch in which it has announced its places, or empty
-- ARGV[6…] instances it knew before this epoch
-- Result: {epoch, ms until places may be taken, number of this instance's places, time in ms, instances alive…}

local now = now_us(ARGV[1])
local now_ms = math.floor(now / 1000)
local life_ms, settle_ms, instance = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local epoch = epoch_of(KEYS[1], KEYS[2], KEYS[3], now)

if redis.call('HEXISTS', KEYS[1], 'open') == 0 then
  redis.call('SADD', KEYS[2], instance, unpack(ARGV, 6))
  if ARGV[5] == epoch then redis.call('SADD', KEYS[3], instance) end
end
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', number(now_ms))
redis.call('ZADD', KEYS[4], number(now_ms + life_ms), instance)
-- A day: an instance that is away for longer does not come back to its calls.
redis.call('PEXPIRE', KEYS[5], 86400000)

local result = {
  epoch,
  number(opens_in(KEYS[1], KEYS[2], KEYS[3], now, settle_ms, life_ms)),
  number(redis.call('HLEN', KEYS[5])),
  number(now_ms),
}
for _, other in ipairs(redis.call('ZRANGE', KEYS[4], 0, -1)) do result[#result + 1] = other end
return result

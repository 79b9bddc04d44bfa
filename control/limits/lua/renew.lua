-- Announces places that are held, known to Redis or not, and puts their expiry off. They are facts: no limit is looked at.
-- KEYS[1] places of this instance (hash)   KEYS[2…] for each leg the places (zsets) it is in, one leg after the other
-- ARGV[1] time in µs, for tests; else empty   ARGV[2] life of a place in ms
-- ARGV[3…] for each leg three: leg, "customer application trunk", number of its keys
-- Result: nothing

local expiry = number(math.floor(now_us(ARGV[1]) / 1000) + tonumber(ARGV[2]))
local key = 2
for n = 3, #ARGV, 3 do
  redis.call('HSET', KEYS[1], ARGV[n], ARGV[n + 1])
  for _ = 1, tonumber(ARGV[n + 2]) do
    redis.call('ZADD', KEYS[key], expiry, ARGV[n])
    redis.call('PEXPIRE', KEYS[key], 2 * tonumber(ARGV[2]))
    key = key + 1
  end
end
return redis.status_reply('OK')

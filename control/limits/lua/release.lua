-- Gives places back. Doing so again, or without having had any, changes nothing.
-- KEYS[1] places of this instance (hash)   KEYS[2…] zsets the leg is taken out of
-- ARGV[1] leg
-- Result: nothing

redis.call('HDEL', KEYS[1], ARGV[1])
for n = 2, #KEYS do redis.call('ZREM', KEYS[n], ARGV[1]) end
return redis.status_reply('OK')

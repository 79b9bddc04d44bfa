-- Takes a place for one leg of a call: one of the customer's, one of the application's and one of the first trunk with room, or nothing.
-- Every check comes before the first write, so a refusal uses nothing up: neither places nor any of the second's calls.
-- KEYS[1] epoch   KEYS[2] awaited   KEYS[3] heard   KEYS[4] places of this instance (hash: leg, "customer application trunk")
-- KEYS[5] customer's places (zset: leg, expiry in ms)        KEYS[6] customer's calls of this second (zset: leg, time in µs)
-- KEYS[7], KEYS[8] the application's   KEYS[9], KEYS[10] the first trunk's   and so on, two for each trunk
-- ARGV[1] time in µs, for tests; else empty   ARGV[2] life of a place in ms   ARGV[3] shortest closed time of an epoch in ms
-- ARGV[4] the epoch in which this process has announced its places   ARGV[5] leg
-- ARGV[6] customer id      ARGV[7] its highest number of calls at a time   ARGV[8] its calls per second
-- ARGV[9…11] the same of the application   ARGV[12…14] of the first trunk   and so on; an empty limit is none
-- Result: {"granted", epoch, trunk that was charged, other trunks with room…}, {"closed", ms until it may be tried again}
--         or {"cps" or "concurrent", "customer", "application" or "trunk"}

local SECOND_US = 1000000

local now = now_us(ARGV[1])
local now_ms = math.floor(now / 1000)
local life_ms, settle_ms, leg = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[5]
local epoch = epoch_of(KEYS[1], KEYS[2], KEYS[3], now)
local wait_ms = opens_in(KEYS[1], KEYS[2], KEYS[3], now, settle_ms, life_ms)
if wait_ms > 0 or ARGV[4] ~= epoch then return { 'closed', number(math.max(wait_ms, 1000)) } end

-- Scope 1 is the customer, 2 the application, the trunks follow.
local function scope(n)
  local held, second = KEYS[3 + 2 * n], KEYS[4 + 2 * n]
  local id, most, per_second = ARGV[3 + 3 * n], ARGV[4 + 3 * n], ARGV[5 + 3 * n]
  redis.call('ZREMRANGEBYSCORE', held, '-inf', number(now_ms))
  redis.call('ZREMRANGEBYSCORE', second, '-inf', number(now - SECOND_US))
  return {
    id = id, held = held, second = second,
    room = most == '' or redis.call('ZCARD', held) < tonumber(most),
    slot = per_second == '' or redis.call('ZCARD', second) < tonumber(per_second),
    counts = per_second ~= '',
  }
end

local customer, application, trunks = scope(1), scope(2), {}
for n = 3, (#KEYS - 4) / 2 do trunks[#trunks + 1] = scope(n) end

-- The same command again: the connection was lost before the reply came. What was granted stays granted.
local record = redis.call('HGET', KEYS[4], leg)
if record and redis.call('ZSCORE', customer.held, leg) then
  local charged = string.match(record, '^%S* %S* (%S*)$')
  local result = { 'granted', epoch }
  if charged ~= '' then result[3] = charged end
  for _, trunk in ipairs(trunks) do
    if trunk.id ~= charged and trunk.room and trunk.slot then result[#result + 1] = trunk.id end
  end
  return result
end

local with_room, any_slot, any_room = {}, false, false
for _, trunk in ipairs(trunks) do
  any_slot = any_slot or trunk.slot
  any_room = any_room or trunk.room
  if trunk.slot and trunk.room then with_room[#with_room + 1] = trunk end
end

if not customer.slot then return { 'cps', 'customer' } end
if not application.slot then return { 'cps', 'application' } end
if #trunks > 0 and not any_slot then return { 'cps', 'trunk' } end
if not customer.room then return { 'concurrent', 'customer' } end
if not application.room then return { 'concurrent', 'application' } end
-- A trunk that lacks nothing but a slot of this second is what passes soonest.
if #trunks > 0 and #with_room == 0 then return { any_room and 'cps' or 'concurrent', 'trunk' } end

local function charge(charged)
  redis.call('ZADD', charged.held, number(now_ms + life_ms), leg)
  redis.call('PEXPIRE', charged.held, 2 * life_ms)
  if charged.counts then
    redis.call('ZADD', charged.second, number(now), leg)
    redis.call('PEXPIRE', charged.second, 10000)
  end
end

charge(customer)
charge(application)
local trunk = with_room[1]
if trunk then charge(trunk) end
redis.call('HSET', KEYS[4], leg, customer.id .. ' ' .. application.id .. ' ' .. (trunk and trunk.id or ''))

local result = { 'granted', epoch }
for _, open in ipairs(with_room) do result[#result + 1] = open.id end
return result

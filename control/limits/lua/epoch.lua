-- Put in front of every script of this folder.
--
-- An epoch is an unbroken stretch of Redis' memory. When it is lost (flushed, restarted, failed over to an empty replica) so are
-- the places of all calls in progress, and taking new ones would exceed limits. The next script that runs finds no epoch and begins
-- one, which is closed at first: nobody takes a place until every process that was known has announced the places it holds
-- ('awaited' and 'heard' are sets of instances), at least SETTLE_MS have passed, in which those who were not known speak up, or
-- LIFE_MS have, after which a process that is still silent would have lost its places anyway.

local function number(value)
  return string.format('%.0f', value)
end

-- Microseconds: `given` for tests, else Redis' own clock, so that the clocks of the processes do not matter.
local function now_us(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- The epoch's name, which is when it began.
local function epoch_of(epoch, awaited, heard, now)
  local since = redis.call('HGET', epoch, 'since')
  if since then return since end
  since = number(now)
  redis.call('HSET', epoch, 'since', since)
  redis.call('DEL', awaited, heard)
  return since
end

-- Milliseconds until places may be taken, as far as that can be said; 0 from then on.
local function opens_in(epoch, awaited, heard, now, settle_ms, life_ms)
  local state = redis.call('HMGET', epoch, 'since', 'open')
  if state[2] then return 0 end
  local age = (now - tonumber(state[1])) / 1000
  local complete = redis.call('SCARD', heard) > 0 and #redis.call('SDIFF', awaited, heard) == 0
  if age >= life_ms or (age >= settle_ms and complete) then
    redis.call('HSET', epoch, 'open', '1')
    redis.call('DEL', awaited, heard)
    return 0
  end
  return math.max(math.ceil(settle_ms - age), 1000)
end

-- What is held of one producer, and under which lineage.
--
-- KEYS  1 events (stream)  2 progress (hash)
-- ARGV  1 producer  2 a lineage for data that have none yet
-- Reply {lineage, last sequence held}; lineage '' when `progress` is lost but events are
-- there: it has to be rebuilt from them (adopt.lua) before anything is accepted.

local lineage = redis.call('HGET', KEYS[2], 'lineage')
local events = redis.call('EXISTS', KEYS[1]) == 1

-- Progress of producers without a stream: the events are lost, and the fence outlives them.
if lineage and not events then
  local fence = redis.call('HMGET', KEYS[2], 'token', 'token_at')
  local other = 1 + (fence[1] and 1 or 0) + (fence[2] and 1 or 0)
  if redis.call('HLEN', KEYS[2]) > other then
    redis.call('DEL', KEYS[2])
    lineage = false
    if fence[1] then
      redis.call('HSET', KEYS[2], 'token', fence[1], 'token_at', fence[2] or '0')
    end
  end
end
if not lineage then
  if events and redis.call('XLEN', KEYS[1]) > 0 then
    return {'', 0}
  end
  lineage = ARGV[2]
  redis.call('HSET', KEYS[2], 'lineage', lineage)
end
return {lineage, tonumber(redis.call('HGET', KEYS[2], 'last:' .. ARGV[1]) or '0')}

-- What is held of one producer, and under which lineage.
--
-- KEYS  1 events (stream)  2 progress (hash)
-- ARGV  1 producer  2 a lineage for data that have none yet
-- Reply {lineage, last sequence held}; lineage '' when `progress` is lost but events are
-- there: it has to be rebuilt from them (adopt.lua) before anything is accepted.

local lineage = redis.call('HGET', KEYS[2], 'lineage')
local events = redis.call('EXISTS', KEYS[1]) == 1

-- HLEN 1: nothing but the lineage, an empty bus. More without a stream: the events are lost.
if lineage and not events and redis.call('HLEN', KEYS[2]) > 1 then
  redis.call('DEL', KEYS[2])
  lineage = false
end
if not lineage then
  if events and redis.call('XLEN', KEYS[1]) > 0 then
    return {'', 0}
  end
  lineage = ARGV[2]
  redis.call('HSET', KEYS[2], 'lineage', lineage)
end
return {lineage, tonumber(redis.call('HGET', KEYS[2], 'last:' .. ARGV[1]) or '0')}

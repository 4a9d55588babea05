-- Put back the progress of all producers, as read from the events themselves.
--
-- KEYS  1 events (stream)  2 progress (hash)
-- ARGV  1 the new lineage  2 id of the newest event read  3.. producer, last sequence, ...
-- Reply 1, or 0 when somebody else was faster or the events are no longer those that were read.

local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if redis.call('HEXISTS', KEYS[2], 'lineage') == 1 or not newest or newest[1] ~= ARGV[2] then
  return 0
end
for i = 3, #ARGV, 2 do
  redis.call('HSET', KEYS[2], 'last:' .. ARGV[i], ARGV[i + 1])
end
redis.call('HSET', KEYS[2], 'lineage', ARGV[1])
return 1

-- Append one batch of one producer, exactly once and in order.
--
-- KEYS  1 events (stream)  2 progress (hash)  3 fence (string, written by lease.lua only)
-- ARGV  1 producer  2 first  3 lineage  4 token (0: no lease)  5 gap_first (0: no gap)
--       6 gap_last  7 maxlen  8.. payloads, numbered from `first`
-- Reply {status, last sequence held, reason}
--
-- A script does not roll back. What was added is counted in `progress` before an error is
-- returned, and nothing is added after the first error, so the next attempt goes on from there.

local producer, first, lineage, token = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local gap_first, gap_last = tonumber(ARGV[5]), tonumber(ARGV[6])
local field = 'last:' .. producer

local progress = redis.call('HMGET', KEYS[2], 'lineage', 'token', field)
local last = tonumber(progress[3] or '0')

-- Progress without its stream: the stream was deleted or evicted, and the events with it.
if progress[1] ~= lineage or (last > 0 and redis.call('EXISTS', KEYS[1]) == 0) then
  return {'lineage', last, ''}
end

if token > 0 then
  local seen = tonumber(progress[2] or '0')
  local fence = math.max(seen, tonumber(redis.call('GET', KEYS[3]) or '0'))
  if token < fence then
    return {'fenced', last, string.format('token %.0f has written', fence)}
  end
  -- Also by a batch without payloads: it is how an idle holder shows that it is there.
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  redis.call('HSET', KEYS[2], 'token', ARGV[4], 'token_at', string.format('%.0f', now))
end

if first > last + 1 and gap_first ~= last + 1 then
  return {'gap', last, ''}
end

local before, failure = last, nil

local function add(sequence, ...)
  -- %.0f, because Lua prints large numbers as 1e+15; exact up to 2^53.
  local reply = redis.pcall('XADD', KEYS[1], '*', 'p', producer, 's',
    string.format('%.0f', sequence), ...)
  if type(reply) == 'table' and reply.err then
    failure = reply.err
  else
    last = sequence
  end
end

if first > last + 1 then
  add(gap_last, 'g', ARGV[5])
end

local next_payload = 8 + last + 1 - first
while not failure and next_payload <= #ARGV do
  add(last + 1, 'd', ARGV[next_payload])
  next_payload = next_payload + 1
end

if last > before then
  redis.call('HSET', KEYS[2], field, string.format('%.0f', last))
  redis.pcall('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[7])
end
if failure then
  return {'error', last, failure}
end
return {'ok', last, ''}

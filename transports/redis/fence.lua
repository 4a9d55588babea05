-- The newest fencing token there is, and how long nobody has written with it.
--
-- KEYS  1 progress (hash)  2 fence (string, written by lease.lua only)
-- Reply {token, silence in ms}; {0, 0}: no token was ever seen
--
-- When it was last written with is not known of a token that was only given, nor of one that
-- an earlier version wrote: then the silence counts from this question on.

local held = redis.call('HMGET', KEYS[1], 'token', 'token_at')
local written, at = tonumber(held[1] or '0'), tonumber(held[2] or '')
local token = math.max(written, tonumber(redis.call('GET', KEYS[2]) or '0'))
if token == 0 then
  return {0, 0}
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if token > written or not at then
  at = now
  redis.call('HSET', KEYS[1], 'token', string.format('%.0f', token),
    'token_at', string.format('%.0f', now))
end
return {token, math.max(now - at, 0)}

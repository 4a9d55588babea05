-- Take or renew the lease.
--
-- KEYS  1 lease (hash, expires)  2 fence (string, the last token given)
-- ARGV  1 owner  2 ttl in ms  3 a token that ours must exceed (0: any)
-- Reply {token, virgin}, or {0, 0} when another owner holds it
--
-- The token is at least the server's time in microseconds, so it also grows when the last
-- one was lost with the data (a plain counter would begin anew).

local lease = redis.call('HMGET', KEYS[1], 'owner', 'token')
if lease[1] and lease[1] ~= ARGV[1] then
  return {0, 0}
end
-- Without a readable token (changed by another hand), or with one that is not great enough,
-- our own lease is taken anew.
local held, above = tonumber(lease[2] or ''), tonumber(ARGV[3])
if lease[1] and held and held > above then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {held, 0}
end
local last = redis.call('GET', KEYS[2])
local now = redis.call('TIME')
local token = math.max(
  tonumber(last or '0') + 1, above + 1, tonumber(now[1]) * 1000000 + tonumber(now[2]))
local text = string.format('%.0f', token)
redis.call('SET', KEYS[2], text)
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'token', text)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {token, last and 0 or 1}

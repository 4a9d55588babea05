-- Give the lease back if it is ours.
--
-- KEYS  1 lease (hash)
-- ARGV  1 owner
-- Reply 1 if it was, else 0

if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0

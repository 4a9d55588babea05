-- Store a policy if the stored one is the version it was based on, or in any case.
--
-- KEYS  1 policy (hash)
-- ARGV  1 expected version (0: none, empty: any)  2 new version  3 document  4 a lineage for a first policy
-- Reply {1, lineage} or {0, stored version}

local stored = redis.call('HMGET', KEYS[1], 'version', 'lineage')
local version = stored[1] or '0'
if ARGV[1] ~= '' and version ~= ARGV[1] then
  return {0, version}
end
local lineage = stored[2] or ARGV[4]
redis.call('HSET', KEYS[1], 'lineage', lineage, 'version', ARGV[2], 'document', ARGV[3])
return {1, lineage}

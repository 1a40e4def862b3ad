-- Return what a waiting request depends on in one reply.
--
-- KEYS     1 cluster (hash), 2 account (hash), 3 pause of everything (hash), 4 pause of the cluster (hash),
--          5 until when submissions are suspended (string), 6 last ticks of the workers (sorted set)
-- ARGV[1]  what the keys of operations begin with; followed by the operation's id
-- Answers  {cluster, account, pause, pause, suspended until or false, {worker, last tick} or {}, operation}, each
--          record as {version, content}; the operation is the one that locks the cluster, followed by its id, or {}
--
-- The key of the operation is not in KEYS, because it is unknown before the cluster is read.

local function record(key) return redis.call('HMGET', key, 'version', 'content') end

local cluster, operation = record(KEYS[1]), {}
local readable, content = pcall(cjson.decode, cluster[2] or '{}')
local id = readable and type(content) == 'table' and content.locked_by
if type(id) == 'string' then
  operation = record(ARGV[1] .. id)
  operation[3] = id
end
return {
  cluster, record(KEYS[2]), record(KEYS[3]), record(KEYS[4]), redis.call('GET', KEYS[5]),
  redis.call('ZRANGE', KEYS[6], 0, 0, 'REV', 'WITHSCORES'), operation
}

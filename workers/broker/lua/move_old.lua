-- Move messages that an earlier version took and never acknowledged to the keys of this installation, from where
-- they are restored. Other applications' messages stay: the old keys are everybody's.
--
-- KEYS     1 old unacked (hash), 2 its index (zset), 3 unacked (hash), 4 its index (zset)
-- ARGV[1]  move what was noted until then, in seconds since 1970
-- ARGV[2]  and on: the queues of this installation

local ours = {}
for i = 2, #ARGV do ours[ARGV[i]] = true end

for _, tag in ipairs(redis.call('ZRANGE', KEYS[2], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, 1000)) do
  local noted = redis.call('HGET', KEYS[1], tag)
  local readable, item = pcall(cjson.decode, noted or 'null')
  if readable and type(item) == 'table' and ours[item[3]] and redis.call('HSETNX', KEYS[3], tag, noted) == 1 then
    redis.call('ZADD', KEYS[4], ARGV[1], tag)
    redis.call('HDEL', KEYS[1], tag)
    redis.call('ZREM', KEYS[2], tag)
  end
end

-- Make a webhook due when its first delivery is, or not at all.
--
-- KEYS     1 due (zset), 2 deliveries by subject (zset), 3 the webhook (hash)
-- ARGV[1]  the entry of the due set
-- ARGV[2]  not before when (ms)
-- Answers  when it is due, ms, or 0

local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
local disabled, not_before = unpack(redis.call('HMGET', KEYS[3], 'disabled_at', 'not_before'))
if #first == 0 or disabled then
  redis.call('ZREM', KEYS[1], ARGV[1])
  return 0
end
local at = math.max(tonumber(first[2]), tonumber(not_before or 0), tonumber(ARGV[2]))
redis.call('ZADD', KEYS[1], at, ARGV[1])
return at

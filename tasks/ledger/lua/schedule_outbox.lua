-- Make the outbox due when its first entry is, or not at all if there is none.
--
-- KEYS     1 due (zset), 2 outbox (zset), 3 progress (zset, by when it is told)
-- ARGV[1]  the entry of the due set
-- ARGV[2]  when outcomes are published, ms
-- ARGV[3]  before when tasks are not told of progress, ms
-- Answers  when it is due, ms, or 0

local at = redis.call('ZCARD', KEYS[2]) > 0 and tonumber(ARGV[2])
local first = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
if #first > 0 then
  local told_at = math.max(tonumber(first[2]), tonumber(ARGV[3]))
  at = at and math.min(at, told_at) or told_at
end
if at then
  redis.call('ZADD', KEYS[1], at, ARGV[1])
else
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return at or 0

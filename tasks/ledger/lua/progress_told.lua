-- Forget that tasks are to be told of requests, unless these have changed since.
--
-- KEYS     1 progress (zset)
-- ARGV     request id, score, request id, score, ...

for i = 1, #ARGV, 2 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if score and tonumber(score) == tonumber(ARGV[i + 1]) then redis.call('ZREM', KEYS[1], ARGV[i]) end
end
return 0

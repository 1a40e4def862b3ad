-- Wait for a request that is there already, or get its outcome if it has ended.
--
-- KEYS     1 request (hash), 2 waiters (set), 3 outcome (string), 4 outbox (zset), 5 due (zset), 6 caller (hash),
--          7 progress (zset)
-- ARGV[1]  the caller's time in ms; the server's own may step
-- ARGV[2]  fingerprint of the caller's request, '' for any
-- ARGV[3]  Celery task id, '' for none
-- ARGV[4]  the request's id
-- ARGV[5]  the due set's entry of the outbox
-- ARGV[6]  how long the caller is known, seconds
-- ARGV[7]  when the caller is told of the request's state, ms
-- Answers  {word, now ms, outcome}: NOT_FOUND, CONFLICT, WAITING, or ENDED with the outcome ('' if it is gone)

local now = tonumber(ARGV[1])

local content = redis.call('HGET', KEYS[1], 'content')
if not content then return {'NOT_FOUND', now, ''} end
local request = cjson.decode(content)
if ARGV[2] ~= '' and request.fingerprint ~= ARGV[2] then return {'CONFLICT', now, ''} end
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[6], 'request_id', ARGV[4])
  redis.call('EXPIRE', KEYS[6], ARGV[6])
end
if request.status then
  if ARGV[3] ~= '' then
    redis.call('ZADD', KEYS[4], now, ARGV[3] .. ' ' .. ARGV[4])
    redis.call('ZADD', KEYS[5], now, ARGV[5])
  end
  return {'ENDED', now, redis.call('GET', KEYS[3]) or ''}
end
if ARGV[3] ~= '' then
  redis.call('SADD', KEYS[2], ARGV[3])
  redis.call('ZADD', KEYS[7], ARGV[7], ARGV[4])
  local score = redis.call('ZSCORE', KEYS[5], ARGV[5])
  if not score or tonumber(score) > tonumber(ARGV[7]) then redis.call('ZADD', KEYS[5], ARGV[7], ARGV[5]) end
end
return {'WAITING', now, ''}

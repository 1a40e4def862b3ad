-- Note what became of a delivery, unless somebody else has.
--
-- KEYS     1 deliveries by subject (zset), 2 deliveries about the subject (list), 3 the webhook (hash)
-- ARGV[1]  the delivery as it was read: it has to be the first of the list
-- ARGV[2]  subject
-- ARGV[3]  what it becomes (JSON), '' if it is over
-- ARGV[4]  when the next delivery about the subject is due, ms
-- ARGV[5]  now, ms
-- ARGV[6]  what to count: delivered, given_up, or '' for a failure that is tried again
-- ARGV[7]  what was answered or went wrong, '' if nothing did
-- ARGV[8]  not before when anything is delivered (ms), 0 if that is not known
-- ARGV[9]  why the webhook is disabled from now on, '' if it is not
-- ARGV[10] after how many failures in a row it is
-- Answers  {failures in a row, -1 if the delivery was not there; why the webhook is disabled, or '';
--          1 if it is so from this step on}

if redis.call('LINDEX', KEYS[2], 0) ~= ARGV[1] then
  if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('ZREM', KEYS[1], ARGV[2]) end
  return {-1, '', 0}
end

if ARGV[3] == '' then redis.call('LPOP', KEYS[2]) else redis.call('LSET', KEYS[2], 0, ARGV[3]) end
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('ZADD', KEYS[1], ARGV[4], ARGV[2])
else
  redis.call('ZREM', KEYS[1], ARGV[2])
end

if ARGV[6] ~= '' then redis.call('HINCRBY', KEYS[3], ARGV[6], 1) end
if ARGV[6] == 'delivered' then
  redis.call('HSET', KEYS[3], 'last_delivered_at', ARGV[5])
  redis.call('HDEL', KEYS[3], 'failures', 'not_before')
  return {0, '', 0}
end
redis.call('HSET', KEYS[3], 'last_failure', ARGV[7], 'last_failure_at', ARGV[5])
if tonumber(ARGV[8]) > 0 then redis.call('HSET', KEYS[3], 'not_before', ARGV[8]) end
local failures = redis.call('HINCRBY', KEYS[3], 'failures', 1)
local before = redis.call('HGET', KEYS[3], 'disabled_reason')
if before then return {failures, before, 0} end
local disabled = ARGV[9]
if disabled == '' and failures >= tonumber(ARGV[10]) then disabled = failures .. ' failures in a row' end
if disabled ~= '' then redis.call('HSET', KEYS[3], 'disabled_at', ARGV[5], 'disabled_reason', disabled) end
return {failures, disabled, disabled ~= '' and 1 or 0}

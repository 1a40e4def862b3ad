-- Grant API calls while the window has room for calls of this class (its priority).
--
-- KEYS     1, 2, 3 calls of each class (zset: call id, by the time of its end or timeout, ms),
--          4 exhausted (hash: until, probe)
-- ARGV[1]  the caller's time in ms; the server's own may step
-- ARGV[2]  the window, ms
-- ARGV[3]  the maximum of calls in the window, of all classes, for this class
-- ARGV[4]  the maximum of calls in the window, of all classes but 3, for this class
-- ARGV[5]  the maximum duration of a call, ms
-- ARGV[6]  while the quota counts as exhausted: how long until one call may try again, ms
-- ARGV[7]  how many calls
-- ARGV[8…] the calls' ids, granted all or none; the same ids sent twice are granted once;
--          then calls that have ended: id, when, id, when, …
--          An id begins with the number of its class.
-- Answers  {word, now ms, when to try again ms}: GRANTED, PROBE (though the quota counts as exhausted), DENIED

local now = tonumber(ARGV[1])
local window, lasting = tonumber(ARGV[2]), tonumber(ARGV[5])
local wanted = tonumber(ARGV[7])
local last = 7 + wanted

local function calls_of(id) return KEYS[tonumber(string.sub(id, 1, 1))] end

for i = last + 1, #ARGV, 2 do redis.call('ZADD', calls_of(ARGV[i]), 'XX', ARGV[i + 1], ARGV[i]) end

if redis.call('ZSCORE', calls_of(ARGV[8]), ARGV[8]) then return {'GRANTED', now, now} end

local used = {}
for class = 1, 3 do
  local old = redis.call('ZCOUNT', KEYS[class], '-inf', now - window)
  local all = redis.call('ZCARD', KEYS[class])
  used[class] = all - old
  -- A caller whose clock is far ahead must not make the others forget: the last calls stay, however old they are.
  local forgotten = math.min(old, all - tonumber(ARGV[3]))
  if forgotten > 0 then redis.call('ZREMRANGEBYRANK', KEYS[class], 0, forgotten - 1) end
end

-- When `over` calls of the first classes will have left the window.
local function free_again(classes, over)
  if over <= 0 then return now end
  local leaving = {}
  for class = 1, classes do
    local first = redis.call(
      'ZRANGE', KEYS[class], '(' .. (now - window), '+inf', 'BYSCORE', 'LIMIT', 0, over, 'WITHSCORES'
    )
    for i = 2, #first, 2 do leaving[#leaving + 1] = tonumber(first[i]) end
  end
  table.sort(leaving)
  return leaving[over] and leaving[over] + window + 1 or now + window
end

local again = math.max(
  free_again(3, used[1] + used[2] + used[3] + wanted - tonumber(ARGV[3])),
  free_again(2, used[1] + used[2] + wanted - tonumber(ARGV[4]))
)
if again > now then return {'DENIED', now, again} end

local word = 'GRANTED'
local until_ms = tonumber(redis.call('HGET', KEYS[4], 'until') or 0)
if until_ms > now then
  local probe = tonumber(redis.call('HGET', KEYS[4], 'probe') or 0)
  -- Further ahead than any probe, it was noted by a clock that was ahead.
  if probe > now and probe <= now + tonumber(ARGV[6]) + 5000 then return {'DENIED', now, math.min(until_ms, probe)} end
  word = 'PROBE'
  redis.call('HSET', KEYS[4], 'probe', now + tonumber(ARGV[6]))
end

for i = 8, last do redis.call('ZADD', calls_of(ARGV[i]), now + lasting, ARGV[i]) end
return {word, now, now}

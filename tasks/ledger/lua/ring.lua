-- Whether a sweep has to be called for: something is due, and no call is under way.
--
-- KEYS     1 due (zset), 2 doorbell (string), 3 epoch (hash), 4 heartbeats (zset)
-- ARGV[1]  the caller's time in ms, or 0 for the server's
-- ARGV[2]  how long a call counts as under way, ms
-- ARGV[3]  the worker that ticks, '' for nobody; workers that have not ticked for a day are forgotten
-- Answers  {1 or 0, now ms, epoch id, epoch count, lost since ms or 0}

local time = redis.call('TIME')
local now = tonumber(ARGV[1])
if now == 0 then now = time[1] * 1000 + math.floor(time[2] / 1000) end

if ARGV[3] ~= '' then
  redis.call('ZADD', KEYS[4], now, ARGV[3])
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now - 86400000)
end

local epoch = redis.call('HMGET', KEYS[3], 'id', 'count', 'lost')
local id, count, lost = epoch[1] or '', epoch[2] or 0, epoch[3] or 0

if tonumber(redis.call('GET', KEYS[2]) or 0) > now then return {0, now, id, count, lost} end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if #first == 0 or tonumber(first[2]) > now then return {0, now, id, count, lost} end
redis.call('SET', KEYS[2], now + tonumber(ARGV[2]))
return {1, now, id, count, lost}

-- Grant API calls while the window has room for calls of this class.
--
-- KEYS     1 calls (zset: call id, by the time it ends or is given up, ms), 2 full (hash: until, probe)
-- ARGV[1]  the caller's time in ms, or 0 for the server's
-- ARGV[2]  the window, ms
-- ARGV[3]  the most calls of the window that this class may use
-- ARGV[4]  how long a call may take at most, ms
-- ARGV[5]  when the window counts as full: how long until one call may try again, ms
-- ARGV[6]  how many calls
-- ARGV[7…] the calls' ids, granted all or none; the same ids sent twice are granted once;
--          then calls that have ended: id, when, id, when, …
-- Answers  {word, now ms, when to ask again ms}: GRANTED, PROBE (though the window counts as full), WAIT

local time = redis.call('TIME')
local now = tonumber(ARGV[1])
if now == 0 then now = time[1] * 1000 + math.floor(time[2] / 1000) end
local window, most, lasting = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local wanted = tonumber(ARGV[6])
local last = 6 + wanted

for i = last + 1, #ARGV, 2 do redis.call('ZADD', KEYS[1], 'XX', ARGV[i + 1], ARGV[i]) end

if redis.call('ZSCORE', KEYS[1], ARGV[7]) then return {'GRANTED', now, now} end

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
local used = redis.call('ZCARD', KEYS[1])
if used + wanted > most then
  local over = used + wanted - most
  local first = redis.call('ZRANGE', KEYS[1], over - 1, over - 1, 'WITHSCORES')
  local free = now + window
  if #first > 0 then free = tonumber(first[2]) + window + 1 end
  return {'WAIT', now, free}
end

local word = 'GRANTED'
local until_ms = tonumber(redis.call('HGET', KEYS[2], 'until') or 0)
if until_ms > now then
  local probe = tonumber(redis.call('HGET', KEYS[2], 'probe') or 0)
  if probe > now then return {'WAIT', now, math.min(until_ms, probe)} end
  word = 'PROBE'
  redis.call('HSET', KEYS[2], 'probe', now + tonumber(ARGV[5]))
end

for i = 7, last do redis.call('ZADD', KEYS[1], now + lasting, ARGV[i]) end
return {word, now, now}

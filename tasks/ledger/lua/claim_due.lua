-- Claim due entries. Each is leased to the caller and is due again when the lease expires.
--
-- KEYS     1 due (zset), 2 answered (zset), 3 answers (hash), 4 suspended (string: nothing is claimed until then, ms)
-- ARGV[1]  the caller's time in ms; the server's own may step
-- ARGV[2]  the call's id: the same call sent twice is answered twice and applied once
-- ARGV[3]  how long answers are remembered, ms
-- ARGV[4]  maximum number of entries
-- ARGV[5]  the lease, ms
-- Answers  {now ms, when the next entry is due ms or -1, entry, entry, …}

local now = tonumber(ARGV[1])

local suspended = tonumber(redis.call('GET', KEYS[4]) or 0)

local function answer(entries)
  local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  if #first == 0 then return {now, -1, unpack(entries)} end
  return {now, math.max(first[2], suspended), unpack(entries)}
end

local before = redis.call('HGET', KEYS[3], ARGV[2])
if before then return answer(cjson.decode(before)) end

if suspended > now then return answer({}) end
local entries = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[4])
if #entries == 0 then return answer(entries) end

for _, entry in ipairs(entries) do redis.call('ZADD', KEYS[1], now + tonumber(ARGV[5]), entry) end

redis.call('HSET', KEYS[3], ARGV[2], cjson.encode(entries))
redis.call('ZADD', KEYS[2], now, ARGV[2])
local old = redis.call('ZRANGE', KEYS[2], '-inf', now - tonumber(ARGV[3]), 'BYSCORE', 'LIMIT', 0, 16)
if #old > 0 then
  redis.call('ZREM', KEYS[2], unpack(old))
  redis.call('HDEL', KEYS[3], unpack(old))
end
return answer(entries)

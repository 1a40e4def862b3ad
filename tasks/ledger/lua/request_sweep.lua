-- Return whether the caller must request a sweep: something is due, and no request is under way.
--
-- KEYS     1 sweep requested (string), 2 epoch (hash), 3 heartbeats (zset), 4 clock (string), 5 steps (zset), then for each lane: due (zset), suspended (string)
-- ARGV[1]  the caller's time in ms; the server's own may step
-- ARGV[2]  how long a request counts as under way, ms
-- ARGV[3]  the worker that ticks, '' for none; workers that have not ticked for a day are forgotten
-- ARGV[4]  the last step that the caller knows, '' if none
-- ARGV[5]  by how much a clock may step, ms
-- ARGV[6]  1 if the caller's time is proven, or 0
-- Answers  {1 or 0, the server's time in ms, epoch id, epoch count, lost since ms or 0, the last step,
--           1 if the caller's step is known here or 0, when a change of the server was noticed (ms) or 0, the last
--           tick that its history had then, when the next entry may be claimed (ms) or -1, earlier changes}

local now = tonumber(ARGV[1])
local time = redis.call('TIME')
local server = time[1] * 1000 + math.floor(time[2] / 1000)

if ARGV[3] ~= '' then
  redis.call('ZADD', KEYS[3], now, ARGV[3])
  redis.call('SET', KEYS[4], now .. ' ' .. server .. ' ' .. ARGV[6])
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - 86400000)
end

-- A restart and a failover give the server's history another id. What the history lacks then is later than the last
-- tick that it has. Changes of the day before are kept as 'since:changed since:changed …'. A caller whose clock is
-- behind that tick began when the machine's clock was wrong, or the tick was written by one that was ahead: then
-- nothing is sent before the later of the two, and what is missing may be older than either by as much as a clock
-- may step.
local info = redis.pcall('INFO', 'replication')
local history = type(info) == 'string' and info:match('master_replid:(%x+)')
local noted, ticked, changed, since, earlier, id, count, lost =
  unpack(redis.call('HMGET', KEYS[2], 'server', 'ticked', 'changed', 'since', 'earlier', 'id', 'count', 'lost'))
if history and not noted then redis.call('HSET', KEYS[2], 'server', history) end
if history and noted and history ~= noted then
  local last_tick = tonumber(ticked or now)
  if not changed or now - tonumber(changed) > 86400000 then
    earlier = ''
  else
    earlier = string.sub((earlier or '') .. ' ' .. since .. ':' .. changed, -280)
  end
  since = last_tick <= now and last_tick or now - tonumber(ARGV[5])
  changed = math.max(now, last_tick)
  redis.call('HSET', KEYS[2], 'server', history, 'changed', changed, 'since', since, 'earlier', earlier)
end
if ARGV[6] == '1' then
  if ARGV[3] ~= '' then redis.call('HSET', KEYS[2], 'ticked', now) end
  -- It was noted by a clock that was ahead: nothing is sent for the whole time from now on, and not for longer.
  if changed and tonumber(changed) > now then
    changed = now
    redis.call('HSET', KEYS[2], 'changed', changed)
  end
end
changed, since, earlier = changed or 0, since or 0, earlier or ''

id, count, lost = id or '', count or 0, lost or 0
local last = redis.call('ZRANGE', KEYS[5], -1, -1)[1] or ''
local known = (ARGV[4] == '' or ARGV[4] == last or redis.call('ZSCORE', KEYS[5], ARGV[4])) and 1 or 0

local next_due = -1
for i = 6, #KEYS, 2 do
  local first = redis.call('ZRANGE', KEYS[i], 0, 0, 'WITHSCORES')
  if #first > 0 then
    local due = tonumber(first[2])
    if due <= now then due = math.max(due, tonumber(redis.call('GET', KEYS[i + 1]) or 0)) end
    if next_due == -1 or due < next_due then next_due = due end
  end
end

local requests = 0
local under_way = tonumber(redis.call('GET', KEYS[1]) or 0) - now
-- Longer than any sweep is under way, it was noted by a clock that was ahead; workers' clocks may differ by 5 s.
if next_due ~= -1 and next_due <= now and (under_way <= 0 or under_way > ARGV[2] + 5000) then
  redis.call('SET', KEYS[1], now + tonumber(ARGV[2]))
  requests = 1
end
return {requests, server, id, count, lost, last, known, changed, since, next_due, earlier}

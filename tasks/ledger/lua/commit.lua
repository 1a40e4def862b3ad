-- Apply one step, all or nothing, if every record is still at the version it was read at.
--
-- KEYS     1 answered (zset), 2 answers (hash), 3 epoch (hash), 4 steps (zset: call id, by count),
--          then every key that the step touches
-- ARGV[1]  the caller's time in ms; the server's own may step
-- ARGV[2]  the call's id: the same call sent twice is answered twice and applied once
-- ARGV[3]  how long answers are remembered, ms
-- ARGV[4]  the step as JSON; i is the index of a key in KEYS:
--          check  {i, version}               the record must be at this version (0: not there)
--          owned  {i, owner}                 the string must be this one, or not there
--          within {times i, nodes i, window ms, more, most}
--                                            what counts on the counter and `more` must be at most `most`
--          put    {i, content}               write the record, one version further
--          bump   {i}                        one version further, content untouched
--          zadd   {i, score, member}         zrem  {i, member}
--          sooner {i, score, member}         add, or move to an earlier score
--          unless {i, score, member}         add, if it is not there
--          wake   {i, pools i, score, member}  add if the set of pools has any, else remove
--          move   {from i, to i, score}      every member goes to another sorted set, or to an earlier score in it
--          sadd   {i, member}                srem  {i, member}
--          forget {i, queue i, member, heads i}
--                                            srem, and zrem from the heads, if the queue is empty
--          rpush  {i, text, most}            append; only the last `most` lines are kept
--          set    {i, text, ttl_s}          del    {i}
--          hset   {i, field, value}
--          xadd   {i, maxlen, field, value, …}
--          notify {waiters i, outbox i, due i, request id, score, due member}
--                                            tasks that wait for the request are added to the outbox
--          tell   {waiters i, progress i, due i, request id, due member, score, score if there is one already,
--                  changes i}                tasks that wait for the request, if any, are told of its state; so are
--                                            those who listen to the stream of changes
--          notice {webhooks i, notices i, due i, text, score, due member}
--                                            noted for webhooks, if there are any
--          spend  {times i, nodes i, window ms, name, nodes, time or '+inf', 1 if it may enter}
--                                            the nodes count on the counter, from the earliest time given
--          trim   {i, score}                 forget members up to the score
--          count  {i, field, number}         added to it
--          expire {i, ttl_s}
-- ARGV[5]  the epoch's id that the caller knows, '' if it has seen none yet
-- ARGV[6]  the epoch's count that the caller knows
-- ARGV[7]  id for a ledger that has none
-- ARGV[8]  1 if something is about to be sent for this step
-- ARGV[9]  the last step that the caller knows, '' if none
-- ARGV[10] how long nothing is sent after the server was replaced or restarted, ms
-- ARGV[11] 1 if the caller's time is proven: if not, nothing is forgotten by it
-- Answers  {word, now ms, epoch id, epoch count, lost since ms or 0}: OK, CONFLICT, OVER_LIMIT, DATA_LOST or
--          SERVER_CHANGED
--
-- The epoch's count grows with every step, and the ids of the last ones are kept. A caller that knows a step which
-- this history does not contain, a higher count, or another id that no operator has acknowledged, has seen data
-- that is missing now: the ledger is marked as lost, and from then on no step
-- is applied for which a call would be sent.

local now = tonumber(ARGV[1])

local STEPS = 10000

local id, count, lost, accepted = unpack(redis.call('HMGET', KEYS[3], 'id', 'count', 'lost', 'accepted'))
count = tonumber(count or 0)
if not id then
  id = ARGV[7]
  redis.call('HSET', KEYS[3], 'id', id)
  lost = lost or (ARGV[5] ~= '' and now)
elseif not lost and ARGV[5] ~= '' then
  local other = ARGV[5] ~= id and accepted ~= id
  local older = ARGV[5] == id and count < tonumber(ARGV[6])
  local known = ARGV[9] == '' or count - tonumber(ARGV[6]) >= STEPS or redis.call('ZSCORE', KEYS[4], ARGV[9])
  lost = (other or older or (ARGV[5] == id and not known)) and now
end
if lost then redis.call('HSETNX', KEYS[3], 'lost', lost) else lost = 0 end

-- The server's history has another id after a restart, and on a replica that became the master: the last steps may
-- be missing, and calls that were sent for them may still be executed. See request_sweep.lua, which notes it.
local function server_changed()
  local noted, changed = unpack(redis.call('HMGET', KEYS[3], 'server', 'changed'))
  if not noted then return false end
  local info = redis.pcall('INFO', 'replication')
  local history = type(info) == 'string' and info:match('master_replid:(%x+)')
  return (history and history ~= noted) or (changed and now - tonumber(changed) < tonumber(ARGV[10]))
end

local before = redis.call('HGET', KEYS[2], ARGV[2])
if before then return {before, now, id, count, lost} end
if ARGV[8] == '1' and tonumber(lost) > 0 then return {'DATA_LOST', now, id, count, lost} end
if ARGV[8] == '1' and server_changed() then return {'SERVER_CHANGED', now, id, count, lost} end

local step = cjson.decode(ARGV[4])

for _, c in ipairs(step.check or {}) do
  local version = tonumber(redis.call('HGET', KEYS[c[1]], 'version') or 0)
  if version ~= c[2] then return {'CONFLICT', now, id, count, lost} end
end

for _, c in ipairs(step.owned or {}) do
  local owner = redis.call('GET', KEYS[c[1]])
  if owner and owner ~= c[2] then return {'CONFLICT', now, id, count, lost} end
end

-- A meter: names by the time from which they count, their nodes by name, and the sum of these as '='.
local function forget(times, nodes, name)
  redis.call('HINCRBY', nodes, '=', 0 - (redis.call('HGET', nodes, name) or 0))
  redis.call('HDEL', nodes, name)
  redis.call('ZREM', times, name)
end
-- Forget what has left the window, and return how many nodes count in it.
local function used_in(times, nodes, window)
  local left = 0
  if window > 0 then
    for _, name in ipairs(redis.call('ZRANGE', times, '-inf', now - window, 'BYSCORE')) do
      if ARGV[11] == '1' then
        forget(times, nodes, name)
      else
        left = left + (redis.call('HGET', nodes, name) or 0)
      end
    end
  end
  return tonumber(redis.call('HGET', nodes, '=') or 0) - left
end

for _, c in ipairs(step.within or {}) do
  if used_in(KEYS[c[1]], KEYS[c[2]], c[3]) + c[4] > c[5] then return {'OVER_LIMIT', now, id, count, lost} end
end

for _, w in ipairs(step.put or {}) do
  redis.call('HINCRBY', KEYS[w[1]], 'version', 1)
  redis.call('HSET', KEYS[w[1]], 'content', w[2])
end
for _, w in ipairs(step.bump or {}) do redis.call('HINCRBY', KEYS[w[1]], 'version', 1) end
for _, w in ipairs(step.zadd or {}) do redis.call('ZADD', KEYS[w[1]], w[2], w[3]) end
for _, w in ipairs(step.zrem or {}) do redis.call('ZREM', KEYS[w[1]], w[2]) end
for _, w in ipairs(step.sooner or {}) do
  local score = redis.call('ZSCORE', KEYS[w[1]], w[3])
  if not score or tonumber(score) > tonumber(w[2]) then redis.call('ZADD', KEYS[w[1]], w[2], w[3]) end
end
for _, w in ipairs(step.unless or {}) do redis.call('ZADD', KEYS[w[1]], 'NX', w[2], w[3]) end
for _, w in ipairs(step.move or {}) do
  for _, member in ipairs(redis.call('ZRANGE', KEYS[w[1]], 0, -1)) do
    redis.call('ZADD', KEYS[w[2]], 'LT', w[3], member)
  end
  redis.call('DEL', KEYS[w[1]])
end
for _, w in ipairs(step.sadd or {}) do redis.call('SADD', KEYS[w[1]], w[2]) end
for _, w in ipairs(step.srem or {}) do redis.call('SREM', KEYS[w[1]], w[2]) end
for _, w in ipairs(step.forget or {}) do
  if redis.call('EXISTS', KEYS[w[2]]) == 0 then
    redis.call('SREM', KEYS[w[1]], w[3])
    redis.call('ZREM', KEYS[w[4]], w[3])
  end
end
for _, w in ipairs(step.wake or {}) do
  if redis.call('SCARD', KEYS[w[2]]) > 0 then
    redis.call('ZADD', KEYS[w[1]], w[3], w[4])
  else
    redis.call('ZREM', KEYS[w[1]], w[4])
  end
end
for _, w in ipairs(step.rpush or {}) do
  redis.call('RPUSH', KEYS[w[1]], w[2])
  redis.call('LTRIM', KEYS[w[1]], -w[3], -1)
end
for _, w in ipairs(step.set or {}) do redis.call('SET', KEYS[w[1]], w[2], 'EX', w[3]) end
for _, w in ipairs(step.hset or {}) do redis.call('HSET', KEYS[w[1]], w[2], w[3]) end
for _, w in ipairs(step.del or {}) do redis.call('DEL', KEYS[w[1]]) end
for _, w in ipairs(step.xadd or {}) do
  redis.call('XADD', KEYS[w[1]], 'MAXLEN', '~', w[2], '*', unpack(w, 3))
end
for _, w in ipairs(step.notify or {}) do
  local waiting = redis.call('SMEMBERS', KEYS[w[1]])
  for _, task_id in ipairs(waiting) do
    redis.call('ZADD', KEYS[w[2]], w[5], task_id .. ' ' .. w[4])
  end
  if #waiting > 0 then
    redis.call('DEL', KEYS[w[1]])
    redis.call('ZADD', KEYS[w[3]], w[5], w[6])
  end
end
for _, w in ipairs(step.tell or {}) do
  redis.call('XADD', KEYS[w[8]], 'NOMKSTREAM', 'MAXLEN', '~', 10000, '*', 'request_id', w[4])
  if redis.call('SCARD', KEYS[w[1]]) > 0 then
    local before = redis.call('ZSCORE', KEYS[w[2]], w[4])
    if before then
      if tonumber(before) < w[7] then redis.call('ZADD', KEYS[w[2]], w[7], w[4]) end
    else
      redis.call('ZADD', KEYS[w[2]], w[6], w[4])
      local score = redis.call('ZSCORE', KEYS[w[3]], w[5])
      if not score or tonumber(score) > w[6] then redis.call('ZADD', KEYS[w[3]], w[6], w[5]) end
    end
  end
end
for _, w in ipairs(step.notice or {}) do
  if redis.call('EXISTS', KEYS[w[1]]) == 1 then
    redis.call('RPUSH', KEYS[w[2]], w[4])
    redis.call('LTRIM', KEYS[w[2]], -100000, -1)
    redis.call('PEXPIRE', KEYS[w[2]], 604800000)
    redis.call('ZADD', KEYS[w[3]], 'LT', w[5], w[6])
  end
end
for _, w in ipairs(step.spend or {}) do
  local times, nodes, window, name = KEYS[w[1]], KEYS[w[2]], w[3], w[4]
  used_in(times, nodes, window)
  local before = redis.call('HGET', nodes, name)
  if before and w[5] == 0 then
    forget(times, nodes, name)
  elseif w[5] > 0 and (before or w[7] == 1) then
    redis.call('HSET', nodes, name, w[5])
    redis.call('HINCRBY', nodes, '=', w[5] - (before or 0))
    redis.call('ZADD', times, 'LT', w[6], name)
  end
  if redis.call('EXISTS', times) == 0 then
    redis.call('DEL', nodes)
  elseif window > 0 and redis.call('ZCOUNT', times, '+inf', '+inf') == 0 then
    -- Much later than needed: by the server's clock, which may step.
    redis.call('PEXPIRE', times, window + 604800000)
    redis.call('PEXPIRE', nodes, window + 604800000)
  else
    redis.call('PERSIST', times)
    redis.call('PERSIST', nodes)
  end
end
for _, w in ipairs(step.trim or {}) do redis.call('ZREMRANGEBYSCORE', KEYS[w[1]], '-inf', w[2]) end
for _, w in ipairs(step.count or {}) do redis.call('HINCRBY', KEYS[w[1]], w[2], w[3]) end
for _, w in ipairs(step.expire or {}) do redis.call('EXPIRE', KEYS[w[1]], w[2]) end

redis.call('HSET', KEYS[2], ARGV[2], 'OK')
redis.call('ZADD', KEYS[1], now, ARGV[2])
local old = redis.call('ZRANGE', KEYS[1], '-inf', now - tonumber(ARGV[3]), 'BYSCORE', 'LIMIT', 0, 16)
if #old > 0 and ARGV[11] == '1' then
  redis.call('ZREM', KEYS[1], unpack(old))
  redis.call('HDEL', KEYS[2], unpack(old))
end
count = redis.call('HINCRBY', KEYS[3], 'count', 1)
redis.call('ZADD', KEYS[4], count, ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', count - STEPS)
return {'OK', now, id, count, lost}

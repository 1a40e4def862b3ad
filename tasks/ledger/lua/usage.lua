-- Return what counters show: how many nodes count on each, and which of them leave its window first.
--
-- KEYS       for each counter: times (zset), nodes (hash)
-- ARGV[1]    the caller's time in ms; the server's own may step
-- ARGV[2]    maximum number of leaving entries
-- ARGV[3…]   for each counter: its window in ms, 0 if nothing leaves it by time
-- Answers    {now ms, {used, time ms, nodes, time ms, nodes, …}, {used, …}, …}

local now = tonumber(ARGV[1])

local answer = {now}
for i = 1, #KEYS, 2 do
  local times, nodes, window = KEYS[i], KEYS[i + 1], tonumber(ARGV[2 + (i + 1) / 2])
  local used = tonumber(redis.call('HGET', nodes, '=') or 0)
  local shown = {used}
  if window > 0 then
    for _, name in ipairs(redis.call('ZRANGE', times, '-inf', now - window, 'BYSCORE')) do
      shown[1] = shown[1] - (redis.call('HGET', nodes, name) or 0)
    end
    local first = redis.call(
      'ZRANGE', times, '(' .. now - window, '(+inf', 'BYSCORE', 'LIMIT', 0, ARGV[2], 'WITHSCORES')
    for n = 1, #first, 2 do
      table.insert(shown, first[n + 1] + window)
      table.insert(shown, tonumber(redis.call('HGET', nodes, first[n]) or 0))
    end
  end
  table.insert(answer, shown)
end
return answer

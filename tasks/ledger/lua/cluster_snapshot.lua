-- Return what a plan is made from in one reply: the cluster, the account, pauses, and who waits in each pool.
--
-- KEYS     1 cluster (hash), 2 account (hash), 3 pause of everything (hash), 4 pause of the cluster (hash),
--          5 pools of the cluster (set), 6 arrivals of the cluster (hash), 7 heads of the cluster's pools (zset)
-- ARGV[1]  what the keys of the cluster's demand begin with; followed by the pool's name
-- ARGV[2]  what the keys of requests begin with; followed by the request's id
-- ARGV[3]  maximum number of requests of a pool
-- ARGV[4]  maximum number of pools, those whose first request has waited longest; 0 for all
-- Answers  {cluster, account, pause, pause, arrivals, 1 if there are more pools or 0, {pool, request, request, …}, …},
--          each record as {version, content}, followed by its id if it is a request
--
-- The keys of demand and of requests are not in KEYS, because they are unknown before the pools are read.

local function record(key) return redis.call('HMGET', key, 'version', 'content') end

local answer = {record(KEYS[1]), record(KEYS[2]), record(KEYS[3]), record(KEYS[4]), record(KEYS[6]), 0}
local limit, total = tonumber(ARGV[4]), redis.call('SCARD', KEYS[5])
local pools, noted = {}, {}
if limit > 0 and total > limit and redis.call('ZCARD', KEYS[7]) == total then
  local heads = redis.call('ZRANGE', KEYS[7], 0, limit - 1, 'WITHSCORES')
  for i = 1, #heads, 2 do
    pools[#pools + 1] = heads[i]
    noted[heads[i]] = heads[i + 1]
  end
  answer[6] = 1
else
  pools = redis.call('SMEMBERS', KEYS[5])
  table.sort(pools)
end
-- The heads are made from the queues: written here where an earlier version has not, or the first request has gone.
local writes_heads = limit > 0 and total > limit
if writes_heads and answer[6] == 0 then redis.call('DEL', KEYS[7]) end
for _, pool in ipairs(pools) do
  local waiting = {pool}
  local queue = redis.call('ZRANGE', ARGV[1] .. pool, 0, ARGV[3] - 1, 'WITHSCORES')
  if writes_heads and noted[pool] ~= queue[2] then
    redis.call('ZADD', KEYS[7], queue[2] or 0, pool)
  end
  for i = 1, #queue, 2 do
    local request = record(ARGV[2] .. queue[i])
    request[3] = queue[i]
    if request[2] then waiting[#waiting + 1] = request end
  end
  answer[#answer + 1] = waiting
end
return answer

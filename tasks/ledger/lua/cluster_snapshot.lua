-- Return what a plan is made from in one reply: the cluster, the account, pauses, and who waits in each pool.
--
-- KEYS     1 cluster (hash), 2 account (hash), 3 pause of everything (hash), 4 pause of the cluster (hash),
--          5 pools of the cluster (set), 6 arrivals of the cluster (hash)
-- ARGV[1]  what the keys of the cluster's demand begin with; followed by the pool's name
-- ARGV[2]  what the keys of requests begin with; followed by the request's id
-- ARGV[3]  maximum number of requests of a pool
-- Answers  {cluster, account, pause, pause, arrivals, {pool, request, request, …}, …}, each record as {version, content},
--          followed by its id if it is a request
--
-- The keys of demand and of requests are not in KEYS, because they are unknown before the pools are read.

local function record(key) return redis.call('HMGET', key, 'version', 'content') end

local answer = {record(KEYS[1]), record(KEYS[2]), record(KEYS[3]), record(KEYS[4]), record(KEYS[6])}
local pools = redis.call('SMEMBERS', KEYS[5])
table.sort(pools)
for _, pool in ipairs(pools) do
  local waiting = {pool}
  for _, id in ipairs(redis.call('ZRANGE', ARGV[1] .. pool, 0, ARGV[3] - 1)) do
    local request = record(ARGV[2] .. id)
    request[3] = id
    if request[2] then waiting[#waiting + 1] = request end
  end
  answer[#answer + 1] = waiting
end
return answer

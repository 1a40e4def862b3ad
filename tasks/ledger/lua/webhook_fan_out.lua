-- Give a notice to the webhooks that want it, once: the list of notices loses it in the same step.
--
-- KEYS     1 notices (list), 2 due (zset), then for each delivery: deliveries by subject (zset),
--          deliveries about the subject (list), the webhook (hash)
-- ARGV[1]  the notice as it is in the list; '' for one that is in no list, which is given in any case
-- ARGV[2]  now, ms
-- ARGV[3]  the most subjects that may wait for one webhook
-- ARGV[4]  how long deliveries are kept, ms
--          then for each delivery: subject, delivery (JSON), due member
-- Answers  how many deliveries were added, -1 if the notice was not there

if ARGV[1] ~= '' and redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return -1 end

local added = 0
for number = 1, (#KEYS - 2) / 3 do
  local queue, about, webhook = KEYS[3 * number], KEYS[3 * number + 1], KEYS[3 * number + 2]
  local subject, delivery, due = ARGV[2 + 3 * number], ARGV[3 + 3 * number], ARGV[4 + 3 * number]
  if redis.call('ZCARD', queue) >= tonumber(ARGV[3]) then
    redis.call('HINCRBY', webhook, 'dropped', 1)
  else
    redis.call('RPUSH', about, delivery)
    redis.call('PEXPIRE', about, ARGV[4])
    redis.call('ZADD', queue, 'NX', ARGV[2], subject)
    redis.call('PEXPIRE', queue, ARGV[4])
    if redis.call('HEXISTS', webhook, 'disabled_at') == 0 then redis.call('ZADD', KEYS[2], 'LT', ARGV[2], due) end
    added = added + 1
  end
end
return added

-- Remove an entry of the due set, unless the set that it serves is not empty.
--
-- KEYS     1 due (zset), 2 the set that the entry serves (zset)
-- ARGV[1]  the entry
-- ARGV[2]  when it is due next if the set is not empty, ms
-- Answers  1 if the entry was removed, 0 if it stays due

if redis.call('ZCARD', KEYS[2]) == 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
  return 1
end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
return 0

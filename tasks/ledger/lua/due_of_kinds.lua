-- Return the entries of lanes that are of certain kinds: most of the others are deadlines of requests.
--
-- KEYS  lanes (zsets)
-- ARGV  kinds
-- Answers entries, those of the first lane first

local wanted = {}
for _, kind in ipairs(ARGV) do wanted[kind] = true end
local found = {}
for _, lane in ipairs(KEYS) do
  for _, entry in ipairs(redis.call('ZRANGE', lane, 0, -1)) do
    if wanted[string.match(entry, '^[^:]+')] then found[#found + 1] = entry end
  end
end
return found

-- Take the next message from its list and note it as unacknowledged, in one step; kombu does it in two.
--
-- KEYS     1 unacked (hash), 2 unacked index (zset), then the lists, in order of priority
-- ARGV[i]  for the list KEYS[i + 2]: 1 if its consumer acknowledges, 0 if it does not
-- Answers  {list, item, 1 if it was noted or 0}, or nil if all lists are empty
--
-- A message's visibility counts from the server's time. A malformed message is taken and not noted: the reader
-- makes it a dead letter.

local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000

-- The item, under another tag if its own is in use: two messages of one tag would overwrite each other.
local function with_free_tag(item)
  local before, tag, after = string.match(item, '^(.-"delivery_tag": *")([^"\\]+)(".*)$')
  if not tag or redis.call('HEXISTS', KEYS[1], tag) == 0 then return item end
  return before .. tag .. '~' .. time[1] .. time[2] .. '~' .. redis.call('HLEN', KEYS[1]) .. after
end

local function note(item, list)
  local readable, message = pcall(cjson.decode, item)
  if not readable then
    -- Python's JSON may read what this one does not, such as an unpaired surrogate.
    local tag = string.match(item, '"delivery_tag": *"([^"]+)"')
    if tag then
      redis.call('ZADD', KEYS[2], now, tag)
      redis.call('HSET', KEYS[1], tag, '[' .. item .. ',"",' .. cjson.encode(list) .. ']')
    end
    return tag and 1 or 0
  end
  local properties = readable and type(message) == 'table' and message.properties
  local info = type(properties) == 'table' and properties.delivery_info
  if type(info) ~= 'table' then return 0 end
  local tag, exchange, key = properties.delivery_tag, info.exchange, info.routing_key
  if type(tag) ~= 'string' or type(exchange) ~= 'string' or type(key) ~= 'string' then return 0 end
  redis.call('ZADD', KEYS[2], now, tag)
  -- The item as it is: decoding and encoding again may change it.
  local place = cjson.encode(exchange) .. ',' .. cjson.encode(key)
  redis.call('HSET', KEYS[1], tag, '[' .. item .. ',' .. place .. ']')
  return 1
end

for i = 3, #KEYS do
  local item = redis.call('LINDEX', KEYS[i], -1)
  if item then
    local taken = ARGV[i - 2] == '1' and with_free_tag(item) or item
    local noted = ARGV[i - 2] == '1' and note(taken, KEYS[i]) or 0
    redis.call('RPOP', KEYS[i])
    return {KEYS[i], taken, noted}
  end
end
return false

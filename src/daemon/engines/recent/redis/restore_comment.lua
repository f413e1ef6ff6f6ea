-- Removes the tombstone of a comment and the events that deleted it before this place, unless it was
-- restored before and deleted again at a later place. KEYS: stream, events, tombstones, restored,
-- hidden.
-- ARGV: comment id, place in the log, largest number of restored comments kept, lifetime in ms,
-- entries read per step.
local known = redis.call('ZSCORE', KEYS[4], ARGV[1])
if known and tonumber(known) > tonumber(ARGV[2]) then
  return
end
redis.call('ZADD', KEYS[4], ARGV[2], ARGV[1])
local over = redis.call('ZCARD', KEYS[4]) - tonumber(ARGV[3])
if over > 0 then
  redis.call('ZREMRANGEBYRANK', KEYS[4], 0, over - 1)
end
redis.call('PEXPIRE', KEYS[4], ARGV[4])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[5], ARGV[1])
-- A deletion has zeros where a comment has its id. The id follows in its encoding.
local none, chunk = string.rep('\0', 16), tonumber(ARGV[5])
local last, removed = '-inf', 0
while true do
  local events = redis.call('ZRANGEBYSCORE', KEYS[2], last, '(' .. ARGV[2], 'LIMIT', 0, chunk)
  for _, event in ipairs(events) do
    if event:sub(21, 36) == none and event:find(ARGV[1], 37, true) then
      removed = removed + redis.call('ZREM', KEYS[2], event)
    end
  end
  if #events < chunk then
    break
  end
  last = '(' .. events[#events]:sub(1, 20)
end
if removed > 0 and redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('HINCRBY', KEYS[1], 'kept', -removed)
end

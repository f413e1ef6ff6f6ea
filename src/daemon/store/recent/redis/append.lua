-- Adds the events of a range, as far as they are new. Nothing else runs in between.
-- KEYS: stream, events. ARGV: from, to, most events kept, lifetime in ms, then for each event its
-- place, its comment id (empty for a deletion) and itself.
local stream, events = KEYS[1], KEYS[2]
local from, to, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local known = redis.call('HMGET', stream, 'head', 'kept')
local head = tonumber(known[1] or '')
if head and redis.call('XLEN', events) ~= tonumber(known[2]) then
  -- One of the two keys is gone, or of another time: nothing is known.
  head = nil
end
if head and to <= head then
  return
end
if not head or from > head + 1 then
  redis.call('DEL', stream, events)
  redis.call('HSET', stream, 'from', ARGV[1])
  head = from - 1
end
for i = 5, #ARGV, 3 do
  local place = tonumber(ARGV[i])
  if place > head and place <= to then
    redis.call('XADD', events, ARGV[i] .. '-1', 'id', ARGV[i + 1], 'event', ARGV[i + 2])
  end
end
local kept = redis.call('XLEN', events)
if kept > most then
  redis.call('XTRIM', events, 'MAXLEN', most)
  local oldest = redis.call('XRANGE', events, '-', '+', 'COUNT', 1)[1][1]
  redis.call('HSET', stream, 'from', oldest:match('^%d+'))
  kept = most
end
redis.call('HSET', stream, 'head', ARGV[2], 'kept', kept)
redis.call('PEXPIRE', stream, ARGV[4])
redis.call('PEXPIRE', events, ARGV[4])

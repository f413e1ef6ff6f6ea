-- Adds the new events of a range. KEYS: stream, events, epochs. ARGV: from, to, largest number of
-- events kept, lifetime in ms, epoch, then per event its sequence number and its encoding.
local epoch = redis.call('HGET', KEYS[3], 'now')
if epoch ~= ARGV[5] then
  if epoch then
    redis.call('HSET', KEYS[3], 'before', epoch)
  end
  redis.call('HSET', KEYS[3], 'now', ARGV[5])
end
redis.call('PEXPIRE', KEYS[3], ARGV[4])
local stream, events = KEYS[1], KEYS[2]
local from, to, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local known = redis.call('HMGET', stream, 'head', 'kept')
local head = tonumber(known[1] or '')
if head and redis.call('ZCARD', events) ~= tonumber(known[2]) then
  -- One of the two keys was evicted or expired: the stream is unknown.
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
for i = 6, #ARGV, 2 do
  local seq = tonumber(ARGV[i])
  if seq > head and seq <= to then
    redis.call('ZADD', events, ARGV[i], ARGV[i + 1])
  end
end
local kept = redis.call('ZCARD', events)
if kept > most then
  redis.call('ZREMRANGEBYRANK', events, 0, kept - most - 1)
  local oldest = redis.call('ZRANGE', events, 0, 0)[1]
  redis.call('HSET', stream, 'from', oldest:sub(1, 20))
  kept = most
end
redis.call('HSET', stream, 'head', ARGV[2], 'kept', kept)
redis.call('PEXPIRE', stream, ARGV[4])
redis.call('PEXPIRE', events, ARGV[4])

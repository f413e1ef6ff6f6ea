-- Adds counts, each once, however often it is sent. KEYS: writer, streams, then the totals of each
-- row. ARGV: window, lifetime of the writer in ms, largest number of streams listed, then per row
-- its stream, its reaction and its count in this window. Returns the new total of each row.
--
-- The writer's hash holds the counts of the window that were added. If the window is sent again,
-- only the difference is added. A window that arrives after a newer one adds nothing.
local writer, window = KEYS[1], tonumber(ARGV[1])
local newest = tonumber(redis.call('HGET', writer, 'window') or -1)
if window > newest then
  redis.call('DEL', writer)
  redis.call('HSET', writer, 'window', ARGV[1])
end
local now = redis.call('TIME')[1]
local totals = {}
for row = 1, #KEYS - 2 do
  local at = row * 3 + 1
  local stream, reaction, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local field = stream .. ':' .. reaction
  local added = tonumber(redis.call('HGET', writer, field) or 0)
  local more = 0
  if window >= newest and count > added then
    more = count - added
    redis.call('HSET', writer, field, ARGV[at + 2])
    redis.call('ZADD', KEYS[2], now, stream)
  end
  totals[row] = redis.call('HINCRBY', KEYS[row + 2], reaction, string.format('%.0f', more))
end
redis.call('PEXPIRE', writer, ARGV[2])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - tonumber(ARGV[3]))
return totals

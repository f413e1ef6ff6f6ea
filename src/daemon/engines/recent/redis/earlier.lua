-- Returns the newest events of a stream, each cut down to its sequence number in 20 digits and its
-- comment id in 16 bytes. KEYS: events. ARGV: most events.
local events = redis.call('ZRANGE', KEYS[1], -tonumber(ARGV[1]), -1)
for i, event in ipairs(events) do
  events[i] = event:sub(1, 36)
end
return events

-- Ends a life in good order: its connections are no longer found, its name no longer listed.
-- KEYS as for beat. ARGV: name, life.
redis.call('DEL', KEYS[1])
local life = redis.call('HGET', KEYS[4], 'life')
if not life or life == ARGV[2] then
  local time = redis.call('TIME')
  redis.call('DEL', KEYS[4])
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('ZADD', KEYS[3], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
end

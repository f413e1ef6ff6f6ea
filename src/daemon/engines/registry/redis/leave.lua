-- Ends a run: its connections are no longer found, its name is no longer listed.
-- KEYS as for heartbeat.lua. ARGV: name, run.
redis.call('DEL', KEYS[1])
local run = redis.call('HGET', KEYS[4], 'life')
if not run or run == ARGV[2] then
  local time = redis.call('TIME')
  redis.call('DEL', KEYS[4])
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('ZADD', KEYS[3], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
end

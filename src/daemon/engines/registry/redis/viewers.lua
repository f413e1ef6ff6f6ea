-- Returns the viewer counts reported by each other live node.
-- KEYS: the nodes by heartbeat. ARGV: prefix of the nodes' hashes, alive for ms, the calling node.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer = {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], now - ARGV[2], '+inf')) do
  if name ~= ARGV[3] then
    local viewers = redis.call('HGET', ARGV[1] .. name, 'viewers')
    if viewers then
      answer[#answer + 1] = viewers
    end
  end
end
return answer

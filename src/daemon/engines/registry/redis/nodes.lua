-- Returns four values per known node: name, age in ms, whether it is listed (1) or left (0), last
-- report (empty: none). KEYS: the nodes by heartbeat, the nodes that left. ARGV: prefix of the
-- nodes' hashes, known for ms.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer = {}
for listed = 0, 1 do
  local nodes = redis.call('ZRANGEBYSCORE', KEYS[2 - listed], now - ARGV[2], '+inf', 'WITHSCORES')
  for i = 1, #nodes, 2 do
    answer[#answer + 1] = nodes[i]
    answer[#answer + 1] = math.max(0, now - nodes[i + 1])
    answer[#answer + 1] = listed
    answer[#answer + 1] = listed == 1 and redis.call('HGET', ARGV[1] .. nodes[i], 'report') or ''
  end
end
return answer

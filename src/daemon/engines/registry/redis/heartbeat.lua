-- Records a heartbeat of a run of a node. Returns whether the run was alive until now, whether
-- another run has the same name, its description, the time of this server in ms, then name and age
-- in ms of every known node. KEYS: the run's alive key, the nodes by heartbeat, the nodes that
-- left, the node's hash. ARGV: name, run, alive for ms, known for ms, prefix of the alive keys,
-- whether this is the first heartbeat here, report (empty: none yet), identity and description of
-- the node.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('EXISTS', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
local hash = redis.call('HMGET', KEYS[4], 'life', 'about')
local before, about = hash[1], hash[2]
local other = before and before ~= ARGV[2]
if other and ARGV[6] == '1' then
  -- The node was restarted: its previous run ends here, and its connections with it.
  redis.call('DEL', ARGV[5] .. before, KEYS[4])
  other = false
end
redis.call('HSET', KEYS[4], 'life', ARGV[2], 'identity', ARGV[8], 'about', ARGV[9])
if ARGV[7] ~= '' then
  redis.call('HSET', KEYS[4], 'report', ARGV[7])
end
redis.call('PEXPIRE', KEYS[4], ARGV[4])
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - ARGV[4])
local answer = { known, other and 1 or 0, about or '', now }
local nodes = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
for i = 1, #nodes, 2 do
  answer[#answer + 1] = nodes[i]
  answer[#answer + 1] = math.max(0, now - nodes[i + 1])
end
return answer

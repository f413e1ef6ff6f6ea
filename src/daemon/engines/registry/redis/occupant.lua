-- Returns the process that uses a name: the time of its last heartbeat, its age in ms (empty: no
-- heartbeat is known), the identity and the description of its node. KEYS: the nodes by heartbeat,
-- the node's hash. ARGV: name.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local beat = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not beat then
  return { '', '', '', '' }
end
local age = string.format('%d', math.max(0, now - beat))
local known = redis.call('HMGET', KEYS[2], 'identity', 'about')
return { beat, age, known[1] or '', known[2] or '' }

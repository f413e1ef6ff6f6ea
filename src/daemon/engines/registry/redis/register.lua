-- Registers a connection unless the user has reached the limit. Returns -1 if it is registered,
-- otherwise the number of the user's connections on live nodes.
-- KEYS: the user's hash. ARGV: field, value, limit (0: none), the caller's run, prefix of the alive
-- keys, time to live in ms.
local limit = tonumber(ARGV[3])
local count = redis.call('HLEN', KEYS[1])
if limit > 0 and count >= limit then
  local alive = { [ARGV[4]] = true }
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    local run = string.match(field, '^[^:]*')
    if alive[run] == nil then
      alive[run] = redis.call('EXISTS', ARGV[5] .. run) == 1
    end
    if not alive[run] then
      redis.call('HDEL', KEYS[1], field)
      count = count - 1
    end
  end
  if count >= limit then
    return count
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return -1

-- Notes a connection unless the user holds as many as allowed. Answers -1 when noted, otherwise how
-- many connections of living nodes there are.
-- KEYS: the user's hash. ARGV: field, value, limit (0: none), the asking life, prefix of the keys that
-- say a life goes on, time to live in ms.
local limit = tonumber(ARGV[3])
local held = redis.call('HLEN', KEYS[1])
if limit > 0 and held >= limit then
  local alive = { [ARGV[4]] = true }
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    local life = string.match(field, '^[^:]*')
    if alive[life] == nil then
      alive[life] = redis.call('EXISTS', ARGV[5] .. life) == 1
    end
    if not alive[life] then
      redis.call('HDEL', KEYS[1], field)
      held = held - 1
    end
  end
  if held >= limit then
    return held
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return -1

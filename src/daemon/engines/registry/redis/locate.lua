-- The values of a user's connections on other living nodes; those of dead nodes are removed.
-- KEYS: the user's hash. ARGV: the asking life, prefix of the keys that say a life goes on.
local entries = redis.call('HGETALL', KEYS[1])
local alive, found = {}, {}
for i = 1, #entries, 2 do
  local life = string.match(entries[i], '^[^:]*')
  if life ~= ARGV[1] then
    if alive[life] == nil then
      alive[life] = redis.call('EXISTS', ARGV[2] .. life) == 1
    end
    if alive[life] then
      found[#found + 1] = entries[i + 1]
    else
      redis.call('HDEL', KEYS[1], entries[i])
    end
  end
end
return found

-- Returns field and value of each of a user's connections on other live nodes, and removes those of
-- dead nodes.
-- KEYS: the user's hash. ARGV: the caller's run, prefix of the alive keys.
local entries = redis.call('HGETALL', KEYS[1])
local alive, found = {}, {}
for i = 1, #entries, 2 do
  local run = string.match(entries[i], '^[^:]*')
  if run ~= ARGV[1] then
    if alive[run] == nil then
      alive[run] = redis.call('EXISTS', ARGV[2] .. run) == 1
    end
    if alive[run] then
      found[#found + 1] = entries[i]
      found[#found + 1] = entries[i + 1]
    else
      redis.call('HDEL', KEYS[1], entries[i])
    end
  end
end
return found

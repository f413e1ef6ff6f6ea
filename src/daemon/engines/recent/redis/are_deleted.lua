-- Returns which comments are deleted. KEYS: tombstones, horizon, complete. ARGV: comment ids.
-- Answers {'incomplete'} while tombstones are missing, otherwise {'known', horizon, '0' or '1' per
-- id}.
local run = redis.call('INFO', 'server'):match('run_id:(%x+)')
if redis.call('GET', KEYS[3]) ~= run then
  return { 'incomplete' }
end
local flags = {}
for first = 1, #ARGV, 1000 do
  local scores = redis.call('ZMSCORE', KEYS[1], unpack(ARGV, first, math.min(first + 999, #ARGV)))
  for _, score in ipairs(scores) do
    flags[#flags + 1] = score and '1' or '0'
  end
end
return { 'known', redis.call('GET', KEYS[2]) or '', table.concat(flags) }

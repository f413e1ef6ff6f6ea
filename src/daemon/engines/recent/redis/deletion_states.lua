-- Returns which comments are deleted, and which were restored since. KEYS: tombstones, horizon,
-- complete, restored, hidden. ARGV: comment ids.
-- Answers {'incomplete'} while tombstones are missing, otherwise {'known', horizon, one digit per
-- id}: 1 for a deleted comment, 2 for a restored one, 3 for one that is hidden only from others
-- than its author, 0 for any other.
local run = redis.call('INFO', 'server'):match('run_id:(%x+)')
if redis.call('GET', KEYS[3]) ~= run then
  return { 'incomplete' }
end
local flags = {}
for first = 1, #ARGV, 1000 do
  local last = math.min(first + 999, #ARGV)
  local tombstones = redis.call('ZMSCORE', KEYS[1], unpack(ARGV, first, last))
  local restored = redis.call('ZMSCORE', KEYS[4], unpack(ARGV, first, last))
  for i, score in ipairs(tombstones) do
    local hidden = score and redis.call('ZSCORE', KEYS[5], ARGV[first + i - 1])
    flags[#flags + 1] = hidden and '3' or score and '1' or restored[i] and '2' or '0'
  end
end
return { 'known', redis.call('GET', KEYS[2]) or '', table.concat(flags) }

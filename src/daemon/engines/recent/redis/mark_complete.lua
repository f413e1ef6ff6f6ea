-- Marks this run of the server complete if nothing was lost since the caller began to restore.
-- KEYS: complete, restoring, losses. Returns whether the run is complete.
local run = redis.call('INFO', 'server'):match('run_id:(%x+)')
if redis.call('GET', KEYS[1]) == run then
  return 1
end
local now = run .. ':' .. (redis.call('GET', KEYS[3]) or '0')
if redis.call('GET', KEYS[2]) ~= now then
  return 0
end
redis.call('SET', KEYS[1], run)
redis.call('DEL', KEYS[2])
return 1

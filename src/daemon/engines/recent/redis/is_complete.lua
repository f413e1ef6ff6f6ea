-- Returns whether this run of the server was marked complete. If not, records that the caller
-- starts to restore tombstones. The record becomes stale when the server is emptied or a tombstone
-- is lost. KEYS: complete, restoring, losses. ARGV: lifetime of `restoring` in ms.
local run = redis.call('INFO', 'server'):match('run_id:(%x+)')
if redis.call('GET', KEYS[1]) == run then
  return 1
end
local now = run .. ':' .. (redis.call('GET', KEYS[3]) or '0')
redis.call('SET', KEYS[2], now, 'PX', ARGV[1])
return 0

-- Whether this run of the server was marked complete. If not, remembers for the asker that it reads
-- back from now on; what empties the server, or loses another burial, makes that worthless.
-- KEYS: complete, reading, losses. ARGV: lifetime of `reading` in ms.
local run = redis.call('INFO', 'server'):match('run_id:(%x+)')
if redis.call('GET', KEYS[1]) == run then
  return 1
end
local now = run .. ':' .. (redis.call('GET', KEYS[3]) or '0')
redis.call('SET', KEYS[2], now, 'PX', ARGV[1])
return 0

-- Remembers a deletion; of too many, those of the oldest comments go, and the horizon says up to
-- which creation time nothing is certain any more.
-- KEYS: buried, horizon. ARGV: comment id, its creation in ms, most kept, lifetime in ms.
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
local over = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[3])
if over > 0 then
  local newest = redis.call('ZRANGE', KEYS[1], over - 1, over - 1, 'WITHSCORES')[2]
  redis.call('ZREMRANGEBYRANK', KEYS[1], 0, over - 1)
  if tonumber(newest) > tonumber(redis.call('GET', KEYS[2]) or -1) then
    redis.call('SET', KEYS[2], newest)
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])

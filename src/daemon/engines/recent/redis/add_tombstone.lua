-- Adds a tombstone, unless the comment was restored at a later place. If there are too many, those of
-- the oldest comments are dropped, and the horizon becomes the newest creation time among them:
-- older comments may be deleted without a tombstone. A comment that is hidden only from others than
-- its author has its id in a second set as well; a deletion for everybody takes it out.
-- KEYS: tombstones, horizon, restored, hidden. ARGV: comment id, its creation time in ms,
-- largest number kept, lifetime in ms, place in the log, 1 if it is hidden only from others.
local restored = redis.call('ZSCORE', KEYS[3], ARGV[1])
if restored then
  if tonumber(restored) > tonumber(ARGV[5]) then
    return
  end
  redis.call('ZADD', KEYS[3], ARGV[5], ARGV[1])
end
if ARGV[6] ~= '1' then
  redis.call('ZREM', KEYS[4], ARGV[1])
elseif not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  redis.call('ZADD', KEYS[4], ARGV[2], ARGV[1])
  redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -(tonumber(ARGV[3]) + 1))
  redis.call('PEXPIRE', KEYS[4], ARGV[4])
end
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

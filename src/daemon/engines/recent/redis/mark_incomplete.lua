-- A burial is missing: nothing read back until now makes up for it.
-- KEYS: complete, losses.
redis.call('DEL', KEYS[1])
redis.call('INCR', KEYS[2])

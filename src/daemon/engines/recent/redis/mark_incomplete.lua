-- Records a missing tombstone: restorations that began before are not enough.
-- KEYS: complete, losses.
redis.call('DEL', KEYS[1])
redis.call('INCR', KEYS[2])

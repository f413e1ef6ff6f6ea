-- Returns a page of events after a sequence number, without deleted comments. A comment that is
-- hidden only from others than its author has an H in place of its first digit.
-- KEYS: stream, events, tombstones, horizon, complete, hidden. ARGV: sequence number, most events,
-- entries read per step.
-- Answers {'incomplete'} while tombstones are missing, {'unknown'} if the cache does not reach back
-- that far, otherwise {'known', covered to, horizon, event, event, ...}.
local run = redis.call('INFO', 'server'):match('run_id:(%x+)')
if redis.call('GET', KEYS[5]) ~= run then
  return { 'incomplete' }
end
local known = redis.call('HMGET', KEYS[1], 'from', 'head', 'kept')
if not known[2] then
  return { 'unknown' }
end
local after, limit, chunk = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if after + 1 < tonumber(known[1]) or redis.call('ZCARD', KEYS[2]) ~= tonumber(known[3]) then
  return { 'unknown' }
end
local page = { 'known', ARGV[1], redis.call('GET', KEYS[4]) or '' }
-- An event begins with its sequence number in 20 digits and its comment id in 16 bytes. It is returned
-- as it is stored, because each string that this loop creates costs time.
local last, found = ARGV[1], 0
while true do
  local events = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. last, '+inf', 'LIMIT', 0, chunk)
  local ids = {}
  for i, event in ipairs(events) do
    ids[i] = event:sub(21, 36)
  end
  local tombstones = #ids > 0 and redis.call('ZMSCORE', KEYS[3], unpack(ids)) or {}
  for i, event in ipairs(events) do
    if tombstones[i] and redis.call('ZSCORE', KEYS[6], ids[i]) then
      event = 'H' .. event:sub(2)
      tombstones[i] = false
    end
    if not tombstones[i] then
      if found == limit then
        if i > 1 then
          last = events[i - 1]:sub(1, 20)
        end
        page[2] = last
        return page
      end
      found = found + 1
      page[found + 3] = event
    end
  end
  if #events < chunk then
    break
  end
  last = events[#events]:sub(1, 20)
end
-- Everything else up to the head was not for viewers of this stream.
if tonumber(known[2]) > after then
  page[2] = known[2]
end
return page

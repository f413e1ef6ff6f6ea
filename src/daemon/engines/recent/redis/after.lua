-- One page of what happened after a place, without what is buried.
-- KEYS: stream, events, buried, horizon, complete. ARGV: place, limit, entries looked at together.
-- Answers {'incomplete'} while burials are missing, {'unknown'} if it does not reach back that far, else
-- {'known', covered to, horizon, event, event, …}.
local run = redis.call('INFO', 'server'):match('run_id:(%x+)')
if redis.call('GET', KEYS[5]) ~= run then
  return { 'incomplete' }
end
local known = redis.call('HMGET', KEYS[1], 'from', 'head', 'kept')
if not known[2] then
  return { 'unknown' }
end
local place, limit, chunk = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if place + 1 < tonumber(known[1]) or redis.call('ZCARD', KEYS[2]) ~= tonumber(known[3]) then
  return { 'unknown' }
end
local page = { 'known', ARGV[1], redis.call('GET', KEYS[4]) or '' }
-- An event begins with its place in 20 digits and its comment id in 16 bytes. One that is shown goes
-- out as it is: in this loop every string made counts.
local last, found = ARGV[1], 0
while true do
  local events = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. last, '+inf', 'LIMIT', 0, chunk)
  local ids = {}
  for i, event in ipairs(events) do
    ids[i] = event:sub(21, 36)
  end
  local buried = #ids > 0 and redis.call('ZMSCORE', KEYS[3], unpack(ids)) or {}
  for i, event in ipairs(events) do
    if not buried[i] then
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
if tonumber(known[2]) > place then
  page[2] = known[2]
end
return page

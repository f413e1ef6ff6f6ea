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
if place + 1 < tonumber(known[1]) or redis.call('XLEN', KEYS[2]) ~= tonumber(known[3]) then
  return { 'unknown' }
end
local page = { 'known', ARGV[1], redis.call('GET', KEYS[4]) or '' }
-- Every event has the id `place-1`.
local start, found = ARGV[1] .. '-2', 0
while true do
  local entries = redis.call('XRANGE', KEYS[2], start, '+', 'COUNT', chunk)
  local ids = {}
  for i, entry in ipairs(entries) do
    ids[i] = entry[2][2]
  end
  local buried = #ids > 0 and redis.call('ZMSCORE', KEYS[3], unpack(ids)) or {}
  for i, entry in ipairs(entries) do
    local at = entry[1]:match('^%d+')
    if not buried[i] then
      if found == limit then
        return page
      end
      found = found + 1
      page[found + 3] = entry[2][4]
    end
    page[2], start = at, at .. '-2'
  end
  if #entries < chunk then
    break
  end
end
-- Everything else up to the head was not for viewers of this stream.
if tonumber(known[2]) > place then
  page[2] = known[2]
end
return page

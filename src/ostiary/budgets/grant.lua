-- One window of one limit, in the store: what each node was granted of it. Runs in Valkey or Redis, as one step.
--
-- KEYS[1]   the window: a hash with `total` (the sum of all nodes), `n:NODE` (what a node was granted), `base`
--           (what was counted before the store knew the window), `known` (what nodes have claimed, and not got here)
-- KEYS[2]   the store itself, see enter.lua
-- ARGV      born, node, limit, need, least, block, claimed, returned, seconds until the key expires, base
-- born      the life of the store that the node knows: in another one, nothing is granted
-- need      what the calls that wait at the node count; 0: only look
-- least     what the lightest of them counts
-- block     granted where no more is needed
-- claimed   what the node was granted so far, as it knows itself: so a store that lost its data learns it
-- returned  how much of that the node gives back
-- base      -1: the caller does not know it. If the window has none either, nothing is granted.
-- Returns what is granted, and what is then counted of the limit over all nodes. -1: another life; -2: base is needed.

local key, field = KEYS[1], 'n:' .. ARGV[2]
local limit, need, least, block = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local claimed, returned, base = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[10])

if redis.call('HGET', KEYS[2], 'born') ~= ARGV[1] then return { -1, 0 } end

local stored = redis.call('HMGET', key, 'total', 'known', 'base', field)
local total, known, own = tonumber(stored[1] or 0), tonumber(stored[2] or 0), tonumber(stored[4] or 0)
local changed = not stored[1]
if claimed > own then
  total, known, own, changed = total + claimed - own, known + claimed - own, claimed, true
end
local back = math.min(returned, own)
if back > 0 then total, own, changed = total - back, own - back, true end
if stored[3] then
  base = tonumber(stored[3])
elseif base >= 0 then
  redis.call('HSET', key, 'base', string.format('%d', base))
end

local counted, granted = total + math.max(0, base - known), 0
if base >= 0 and need > 0 and limit - counted >= least then
  granted = math.min(limit - counted, math.max(need, block))
end
if changed or granted > 0 then
  redis.call('HSET', key, 'total', string.format('%d', total + granted), 'known', string.format('%d', known),
    field, string.format('%d', own + granted))
end
if not stored[1] then redis.call('EXPIRE', key, ARGV[9]) end
if base < 0 then return { -2, 0 } end
return { granted, counted + granted }

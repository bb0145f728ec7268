-- The store itself: a hash that says which life of its data this is. Runs in Valkey or Redis, as one step.
--
-- A store that was restarted, or emptied, may have lost what nodes were granted. It then begins another life, and
-- windows that began before it are not granted from until every live node has claimed what it was granted.
--
-- KEYS[1]  the hash: `born` (names the life), `run` (the server's), `at` (when it began, Unix seconds), `whole` (every
--          live node has claimed), and a field for each node that has
-- ARGV     node, live nodes, a name for a new life, the server's run, now, the life in which the node has claimed

-- Returns born, at, whole.

local key = KEYS[1]
local born, run = redis.call('HGET', key, 'born'), redis.call('HGET', key, 'run')
if not born or run ~= ARGV[4] then
  redis.call('DEL', key)
  born = ARGV[3]
  redis.call('HSET', key, 'born', born, 'run', ARGV[4], 'at', ARGV[5], 'whole', 0)
end
if ARGV[6] == born then redis.call('HSET', key, 'c:' .. ARGV[1], 1) end
local whole = redis.call('HGET', key, 'whole')
if whole == '0' and redis.call('HLEN', key) - 4 >= tonumber(ARGV[2]) then
  redis.call('HSET', key, 'whole', 1)
  whole = '1'
end
return { born, redis.call('HGET', key, 'at'), whole }

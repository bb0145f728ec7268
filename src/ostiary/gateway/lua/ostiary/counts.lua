-- Usage: every call is counted in shared memory when it ends. Each second, workers push the totals that grew to
-- the collector, which keeps the larger of two totals. So no count is lost with a worker, and none is
-- counted twice.

local contract = require "contract"
local limits = require "ostiary.limits"

local usage, state = ngx.shared.usage, ngx.shared.state
local concat, floor, format, ipairs, next, pairs = table.concat, math.floor, string.format, ipairs, next, pairs
local find, time = string.find, ngx.time

local M = {}

-- A counter outlives its hour for as long as a collector may be away.
local SECONDS = 26 * 3600
-- Lines of one push.
local MOST_LINES = 2000
local SOCKET, ANSWER_MS = nil, 10000

local touched = {}
-- Counts for which shared memory had no room; each worker has its own.
local spilled, spilled_touched = {}, {}
local bytes_in, bytes_out = {}, {}
local lines = {}
local worker_birth
-- Counters that the last push failed to deliver.
M.unpushed = 0

local P_COUNT, P_LIMIT, P_LINE = contract.pushes.count, contract.pushes.limit, contract.pushes.line

function M.init_worker(socket)
  SOCKET = "unix:" .. socket
  -- The system reuses process ids.
  worker_birth = state:get("birth") .. "." .. ngx.worker.pid() .. "." .. ngx.now()
  -- An earlier worker may have left counts that it did not push.
  for _, key in pairs(usage:get_keys(0)) do
    if key:sub(-2, -2) ~= "#" then touched[key] = true end
  end
  for _, key in pairs(ngx.shared.limits_long:get_keys(0)) do
    if not find(key, "#", 1, true) then limits.touched[key] = ngx.shared.limits_long end
  end
end

-- Add to a counter without evicting another; false where there is no room for a new one.
local function grow(key, amount)
  if usage:incr(key, amount) then return true end
  local ok, why = usage:safe_add(key, 0, SECONDS)
  return (ok or why == "exists") and usage:incr(key, amount) ~= nil
end

local function add(key)
  touched[key] = true
  if grow(key, 1) then return end
  spilled[key] = (spilled[key] or 0) + 1
  spilled_touched[key] = true
end

local function size(key, received, sent)
  bytes_in[key] = (bytes_in[key] or 0) + received
  bytes_out[key] = (bytes_out[key] or 0) + sent
end

local function class_of(status)
  if status < 100 or status == 499 then return 0 end
  return status < 300 and 2 or status < 400 and 3 or status < 500 and 4 or 5
end
M.class_of = class_of

-- Count an admitted call that ended with `status`. Bytes are 0 if a sampled call counts them for this one.
function M.admitted(lease, status, received, sent)
  local hour, class = floor(time() / 3600), class_of(status)
  if lease.hour ~= hour then lease.hour, lease.keys = hour, {} end
  local key = lease.keys[class]
  if not key then
    key = hour .. "/" .. lease.count_tail .. lease.would .. "/" .. class .. "/0"
    lease.keys[class] = key
  end
  add(key)
  if received > 0 then size(key, received, sent) end
end

-- Count any other call. Unknown ids are 0.
function M.other(of, status, received, sent)
  local key = concat({
    floor(time() / 3600), of.profile or 0, of.client or 0, of.collection or 0, of.endpoint or 0,
    of.credential or 0, of.would or 0, class_of(status), of.reason or 0,
  }, "/")
  add(key)
  size(key, received, sent)
end

-- A log line that cannot wait for the call's end.
function M.line(text)
  if #lines < MOST_LINES then lines[#lines + 1] = text end
end

local function flush_bytes()
  for key, amount in pairs(bytes_in) do
    grow(key .. "#i", amount)
    grow(key .. "#o", bytes_out[key] or 0)
  end
  bytes_in, bytes_out = {}, {}
end

local function counted(key)
  return format("%s\t%s\t%d\t%d\t%d", P_COUNT, key, usage:get(key) or 0, usage:get(key .. "#i") or 0,
    usage:get(key .. "#o") or 0)
end

-- Send one push and wait until it is committed.
local function sent(birth, texts)
  local sock = ngx.socket.tcp()
  sock:settimeouts(1000, 5000, ANSWER_MS)
  if not sock:connect(SOCKET) then return false end
  local ok = sock:send("counts " .. birth .. "\n" .. concat(texts, "\n") .. "\n\n")
  ok = ok and sock:receive("*l") == "ok"
  sock:close()
  return ok
end

-- Remove and return at most `most` keys of a set.
local function some(set, most)
  local taken, n = {}, 0
  for key, value in pairs(set) do
    if n >= most then break end
    n = n + 1
    taken[key] = value
  end
  for key in pairs(taken) do set[key] = nil end
  return taken, n
end

local function put_back(set, taken)
  for key, value in pairs(taken) do set[key] = value end
end

-- Nil if there is nothing to push. Otherwise whether the push is committed, and whether more is left than one
-- push holds.
local function push_shared()
  local keys, n = some(touched, MOST_LINES)
  local kept, m = some(limits.touched, MOST_LINES)
  local waiting = lines
  lines = {}
  if n + m + #waiting == 0 then return nil end
  local texts = {}
  for key in pairs(keys) do texts[#texts + 1] = counted(key) end
  for key in pairs(kept) do
    texts[#texts + 1] = format("%s\t%s\t%d", P_LIMIT, key, limits.counted(key) or 0)
  end
  for _, line in ipairs(waiting) do texts[#texts + 1] = P_LINE .. "\t" .. line end
  if sent(state:get("birth"), texts) then
    M.unpushed = 0
    return true, n == MOST_LINES or m == MOST_LINES
  end
  M.unpushed = n + m
  put_back(touched, keys)
  put_back(limits.touched, kept)
  for _, line in ipairs(waiting) do M.line(line) end
  return false
end

local function push_spilled()
  local keys, n = some(spilled_touched, MOST_LINES)
  if n == 0 then return nil end
  local texts = {}
  for key in pairs(keys) do texts[#texts + 1] = format("%s\t%s\t%d\t0\t0", P_COUNT, key, spilled[key]) end
  if sent(worker_birth, texts) then return true, n == MOST_LINES end
  put_back(spilled_touched, keys)
  return false
end

local busy = false

-- Push again while there is more; false if something could not be pushed.
local function push_all(push)
  local ok, more
  repeat ok, more = push() until not more
  return ok ~= false
end

-- Push the counters that grew; true if all are committed. Counters that grow meanwhile wait for the next push:
-- under load there are always some, and each push is a commit to disk.
function M.push()
  if busy then return false end
  busy = true
  flush_bytes()
  local shared = push_all(push_shared)
  local own = push_all(push_spilled)
  busy = false
  return shared and own
end

function M.waiting()
  return next(touched) ~= nil or next(spilled_touched) ~= nil or next(limits.touched) ~= nil or lines[1] ~= nil
end

-- Free memory: delete counters of past hours that were pushed.
function M.tidy()
  if usage:free_space() < usage:capacity() / 3 then usage:flush_expired(5000) end
end

return M

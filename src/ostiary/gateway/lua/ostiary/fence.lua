-- The fence: a node that has not read the change feed for some seconds honours no lease that it has, since it
-- may have missed a revocation. Each call then needs a new decision of the authority, which reads the database.
--
-- The authority reports each time that it has read the feed and applied what it found, and how long ago it
-- began to read. Times are of a clock that runs through suspension and is never set (clock_gettime(2)).

local ffi = require "ffi"

local state = ngx.shared.state
local max, tonumber = math.max, tonumber

ffi.cdef [[
  typedef struct { int64_t seconds; long nanoseconds; } ostiary_time;
  int clock_gettime(int clock, ostiary_time *time);
]]
local BOOTTIME = 7
local moment = ffi.new("ostiary_time")

local M = {}

-- The Unix time until which this worker honours leases.
M.holds_until = math.huge
local seconds = 0

local function clock()
  if ffi.C.clock_gettime(BOOTTIME, moment) ~= 0 then return nil end
  return tonumber(moment.seconds) + tonumber(moment.nanoseconds) / 1e9
end

-- `options.fence_seconds`: 0 turns the fence off.
function M.init_worker(options)
  seconds = options.fence_seconds
  M.look()
end

-- The authority has applied all changes that were committed `ago` seconds before now.
function M.heard(ago)
  local at = clock()
  if at then state:set("heard", at - max(0, ago)) end
end

-- Seconds since then, or nil if nothing was reported since nginx started.
function M.silence()
  local heard, at = state:get("heard"), clock()
  return heard and at and at - heard or nil
end

-- Called by a timer. Without a report, the time to stop is now.
function M.look()
  if seconds == 0 then return end
  local silence = M.silence()
  local left = silence and seconds - silence or 0
  M.holds_until = left > 0 and ngx.now() + left or 0
end

-- Whether leases are not honoured at a Unix time.
function M.is_up(at)
  return M.holds_until <= at
end

return M

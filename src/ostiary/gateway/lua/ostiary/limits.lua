-- Rate limits and quotas, exact in every window on all workers: one counter in shared memory for each
-- profile and window. The counter of a running window is never evicted. If a limit gets no counter, it
-- refuses the call. A call counts with the weight of its endpoint.
--
-- Where several gateways share limits, `budgets` replaces what counts and what reads the counters.

local contract = require "contract"

local short, long = ngx.shared.limits_short, ngx.shared.limits_long
local gmatch, max, tobit, tonumber = string.gmatch, math.max, bit.tobit, tonumber

local M = {}

local KEPT_ABOVE = contract.kept_above_seconds
local LARGEST = contract.largest_limit
-- Seconds that a counter outlives its window: calls that began in it may still be taken back.
local AFTERLIFE = 5
M.AFTERLIFE = AFTERLIFE
-- Names of windows in the RateLimit header, if a policy has several.
local NAMES = { [1] = "second", [60] = "minute", [3600] = "hour", [86400] = "day" }

local codes = contract.codes
local RATE_LIMITED, QUOTA_EXCEEDED, OVERLOADED = codes.rate_limited, codes.quota_exceeded, codes.overloaded

-- Counters that changed since the last push and whose totals survive a restart.
M.touched = {}

local function numbers(text)
  local list = {}
  for word in gmatch(text, "[^,]+") do list[#list + 1] = word end
  return list
end

-- Parse a lease's limits. False: they are invalid, and the lease must not be used.
function M.prepare(lease)
  local used = numbers(lease.rates_used)
  local windows = {}
  for i, word in ipairs(numbers(lease.rates)) do
    local limit, seconds = word:match("^(%d+):(%d+)$")
    limit, seconds = tonumber(limit), tonumber(seconds)
    local before, start = (used[i] or ""):match("^(%d+):(%d+)$")
    before, start = tonumber(before), tonumber(start)
    if not limit or not before or limit < 1 or limit > LARGEST or not NAMES[seconds] then return false end
    windows[i] = {
      limit = limit, seconds = seconds, dictionary = seconds > KEPT_ABOVE and long or short,
      kept = seconds > KEPT_ABOVE, name = '"rate"', text = "" .. limit,
      used = before, used_start = start, ends = 0, key = "", weight = lease.weight,
    }
  end
  if windows[2] then
    for _, window in ipairs(windows) do window.name = '"per-' .. NAMES[window.seconds] .. '"' end
  end
  lease.window, lease.windows = windows[1], windows[2] and windows or nil
  if lease.quota > 0 then
    if lease.quota > LARGEST or lease.quota_ends <= lease.quota_starts then return false end
    lease.quota_key = "q/" .. lease.profile .. "/0/" .. lease.quota_starts
  end
  lease.limited = windows[1] ~= nil or lease.quota > 0
  lease.told = lease.announced ~= ""
  return true
end

-- Add to a counter. Returns the new total, or nil if there is no room for a counter.
local function count(dictionary, key, weight, before, ends, now)
  local total = dictionary:incr(key, weight)
  if total then return total end
  local ok, why = dictionary:safe_add(key, before, ends - now + AFTERLIFE)
  if not ok and why ~= "exists" then return nil end
  return dictionary:incr(key, weight)
end

-- A window's count starts with the window. After a reset it starts within the window, with a new counter.
local function enter(window, profile, now)
  local start, since = now - now % window.seconds, window.used_start
  window.ends = start + window.seconds
  local known = since >= start and since < window.ends
  window.key = "r/" .. profile .. "/" .. window.seconds .. "/" .. (known and since or start)
  window.before = known and window.used or 0
end
M.enter = enter

-- What is counted in one window.
function M.used(dictionary, key, before)
  return dictionary:get(key) or before
end

-- Count a call in one window. Returns what is left after it; below zero, the call exceeds the limit.
local function take(window, profile, now)
  if window.ends <= now then enter(window, profile, now) end
  local total = count(window.dictionary, window.key, window.weight, window.before, window.ends, now)
  if window.kept then M.touched[window.key] = window.dictionary end
  return total and window.limit - total
end

local function give_back(window)
  window.dictionary:incr(window.key, -window.weight)
end

local function take_quota(lease, now)
  local total = count(long, lease.quota_key, lease.weight, lease.quota_used, lease.quota_ends, now)
  M.touched[lease.quota_key] = long
  return total and lease.quota - total
end

-- Count a call in all windows of a policy, shortest first. If one refuses, undo the count in the earlier ones.
local function take_all(lease, now)
  local windows = lease.windows
  for i = 1, #windows do
    local left = take(windows[i], lease.profile, now)
    windows[i].left = left
    if not left or (left < 0 and lease.report_only == 0) then
      for j = 1, left and i or i - 1 do give_back(windows[j]) end
      return left, windows[i]
    end
  end
  local over
  for i = 1, #windows do over = over or (windows[i].left < 0 and windows[i]) end
  return over and over.left or windows[1].left, over or windows[1]
end

local function give_back_all(lease)
  if lease.windows then
    for i = 1, #lease.windows do give_back(lease.windows[i]) end
  elseif lease.window then
    give_back(lease.window)
  end
end

-- What is left of the quota, without counting.
local function quota_left(lease)
  return max(0, lease.quota - M.used(long, lease.quota_key, lease.quota_used))
end

-- Fill in what is left of every limit, for the headers of a refusal. A refused call counts nothing.
local function look(lease, now)
  local windows = lease.windows or { lease.window }
  for i = 1, #windows do
    local window = windows[i]
    if window.ends <= now then enter(window, lease.profile, now) end
    window.left = max(0, window.limit - M.used(window.dictionary, window.key, window.before))
  end
  if lease.window then lease.rate_left = lease.window.left end
  if lease.quota > 0 then lease.quota_left = quota_left(lease) end
end

-- Count a call against its profile's limits. Returns nothing if it may pass, else the code of the refusal
-- and the seconds after which to try again. Sets `lease.rate_left` and `quota_left` for the headers.
function M.spend(lease, now)
  local rate_left, window = nil, lease.window
  if window then
    if lease.windows then
      rate_left, window = take_all(lease, now)
    else
      rate_left = take(window, lease.profile, now)
    end
    if not rate_left then
      look(lease, now)
      return OVERLOADED, 1
    end
    if rate_left < 0 and lease.report_only == 0 then
      if not lease.windows then give_back(window) end
      look(lease, now)
      return RATE_LIMITED, window.ends - now
    end
    lease.rate_left = rate_left
  end
  local over = rate_left and rate_left < 0
  if lease.quota > 0 then
    local left = take_quota(lease, now)
    if not left then
      give_back_all(lease)
      look(lease, now)
      return OVERLOADED, 1
    end
    lease.quota_left = left
    if left < 0 and lease.report_only == 0 then
      long:incr(lease.quota_key, -lease.weight)
      give_back_all(lease)
      look(lease, now)
      return QUOTA_EXCEEDED, lease.quota_ends - now
    end
    if left < 0 and not over then return nil, QUOTA_EXCEEDED end
  end
  if over then return nil, RATE_LIMITED end
end

-- The same for the fast path, which does not wait: a code means that the call must take the slow path.
M.quick = M.spend

local function several(lease, now)
  local parts = {}
  for i, window in ipairs(lease.windows) do
    parts[i] = window.name .. ";r=" .. max(0, window.left or window.limit) .. ";t=" .. (window.ends - now)
  end
  if lease.quota > 0 then
    parts[#parts + 1] = '"quota";r=' .. lease.quota_left .. ";t=" .. (lease.quota_ends - now)
  end
  return table.concat(parts, ", ")
end

-- What is left of a limit, or seconds, as LuaJIT's integer: it becomes text in a tenth of a double's time.
-- In brackets, since LuaJIT gives up on a trace with more than 15 tail calls.
local function whole(n)
  return (tobit(max(0, n)))
end
M.whole = whole

-- The RateLimit header's value (draft-ietf-httpapi-ratelimit-headers-10, section 4).
function M.told(lease, now)
  local window = lease.window
  if lease.windows then return several(lease, now) end
  if not window then
    return '"quota";r=' .. whole(lease.quota_left) .. ";t=" .. whole(lease.quota_ends - now)
  end
  local rate = '"rate";r=' .. whole(lease.rate_left) .. ";t=" .. whole(window.ends - now)
  if lease.quota == 0 then return rate end
  return rate .. ', "quota";r=' .. whole(lease.quota_left) .. ";t=" .. whole(lease.quota_ends - now)
end

-- Log details of a limit that refused a call with a weight above 1.
local function weighed(lease, details)
  if lease.weight > 1 then details.weight = "" .. lease.weight end
  return details
end

-- Log details of a limit that refused a call.
function M.described(lease, code)
  if code == RATE_LIMITED then
    local window = lease.window
    for _, each in ipairs(lease.windows or {}) do
      if each.left < lease.weight then
        window = each
        break
      end
    end
    return weighed(lease, { rate_limit = window.text, rate_interval = "" .. window.seconds })
  end
  return weighed(lease, {
    quota_limit = "" .. lease.quota, quota_end = "" .. lease.quota_ends,
    quota_counted = "" .. M.used(long, lease.quota_key, lease.quota_used),
  })
end

local function used_of(name, limit, used, ends, now)
  return {
    window = name, limit = limit, used = used, remaining = max(0, limit - used), reset = ends - now,
    resets_at = os.date("!%Y-%m-%dT%H:%M:%SZ", ends),
  }
end

-- The use of every limit, without counting: the windows, shortest first, and the quota.
function M.usage(lease, now)
  local list = {}
  for i, window in ipairs(lease.windows or { lease.window }) do
    if window.ends <= now then enter(window, lease.profile, now) end
    local used = M.used(window.dictionary, window.key, window.before)
    list[i] = used_of(NAMES[window.seconds], window.limit, used, window.ends, now)
  end
  if lease.quota > 0 then
    list[#list + 1] = used_of("quota", lease.quota, M.used(long, lease.quota_key, lease.quota_used),
      lease.quota_ends, now)
  end
  return list
end

-- The total of a counter by its key (`contract.LIMIT_KEY`), or nil if nothing is counted yet.
function M.counted(key)
  return long:get(key) or short:get(key)
end

-- Called a few times a second.
function M.tick() end

-- What of a counter this gateway was granted and has not spent; nil: it counts alone.
function M.held() end

-- What this gateway was granted of shared windows, and for how many seconds that is kept, by their keys.
function M.granted()
  return {}
end

-- Delete expired entries when less than a third of the memory is free.
function M.tidy()
  for _, dictionary in ipairs({ short, long }) do
    if dictionary:free_space() < dictionary:capacity() / 3 then dictionary:flush_expired(5000) end
  end
end

return M

-- Limits that several gateways share. The authority grants this gateway a block of a window, and calls spend it
-- here; a call that finds none left asks for the next. So a limit is exact over all gateways, and most calls cost
-- what they cost on one.
--
-- A window has these entries in its dictionary, by its key and
--   (nothing)  what is left of the blocks; a call takes its weight, and puts it back if that was too much
--   #c         what is counted over all gateways, if all of that is spent
--   #l         what may still be granted
--   #g         what this gateway was granted since its start
--   #m         the limit by which it was granted: after a change of the limit the rest is given back first
--   #f         the weight from which the authority refused; below zero: since the store was away. It expires soon.
--   #w         set while a worker asks

local contract = require "contract"
local limits = require "ostiary.limits"
local semaphore = require "ngx.semaphore"
local upcall = require "ostiary.upcall"

local long, short, state = ngx.shared.limits_long, ngx.shared.limits_short, ngx.shared.state
local gmatch, gsub, match, max, min = string.gmatch, string.gsub, string.match, math.max, math.min
local pcall, sleep, time, timer_at, tonumber = pcall, ngx.sleep, ngx.time, ngx.timer.at, tonumber

local M = {}

local AFTERLIFE, enter = limits.AFTERLIFE, limits.enter
local codes, STATES = contract.codes, contract.store_states
local OVERLOADED, UNAVAILABLE, AWAY = codes.overloaded, codes.authority_unavailable, codes.limits_unavailable
local RATE_LIMITED, QUOTA_EXCEEDED = codes.rate_limited, codes.quota_exceeded
-- Seconds for which a refusal of the authority is remembered, and one while the store is away.
local FULL_SECONDS, AWAY_SECONDS = 1, 0.25
-- Calls of a worker that may wait for one window, how long, and how often one tries.
local MOST_WAITING, WAIT_SECONDS, TRIES = 512, 2, 20
-- Seconds that another worker may take to ask, and milliseconds between two looks whether it has.
local LOCK_SECONDS, LOOK_SECONDS, LOOKS = 3, 0.001, 2000

-- The last answer that this gateway got did not come from the store. Each worker looks a few times a second.
local alone = false
-- Key of a window → the calls of this worker that wait for it.
local asking = {}

-- What `limits.enter` does not know. A window of a changed limit is stale until what it holds is given back.
local function enter_shared(window, profile, now)
  if window.seconds then enter(window, profile, now) end
  local key, dictionary = window.key, window.dictionary
  window.left_key, window.entered, window.seen = key .. "#l", true, 0
  local by = dictionary:get(key .. "#m")
  window.stale = by ~= nil and by ~= window.limit
end

-- Count a call if this gateway has enough left; nil: it has not.
local function try(window, profile, now)
  if window.ends <= now or not window.entered then enter_shared(window, profile, now) end
  if window.stale then return nil end
  local dictionary = window.dictionary
  local left = dictionary:incr(window.key, -window.weight)
  if not left then return nil end
  if left < 0 then
    dictionary:incr(window.key, window.weight)
    return nil
  end
  if window.kept then limits.touched[window.key] = dictionary end
  return left
end

-- What is left of a limit over all gateways, if this one has `left`. It is looked up when that has grown, since a
-- block has come then, and once a second.
local function over_all(window, left, now)
  if left >= window.seen or window.looked ~= now then
    window.rest, window.looked = window.dictionary:get(window.left_key) or 0, now
  end
  window.seen = left
  return left + window.rest
end

local function is_room(dictionary, key, value, seconds)
  local ok, why = dictionary:safe_set(key, value, seconds)
  return ok or why == "exists"
end

local function read(text)
  local mark = contract.answers.grant .. "\t"
  if not text or text:sub(1, 2) ~= mark then return nil end
  local values, i = {}, 0
  for word in gmatch(text, "\t(%d+)") do
    i = i + 1
    if not contract.grant[i] then return nil end
    values[contract.grant[i]] = tonumber(word)
  end
  return i == #contract.grant and values or nil
end

-- Take out what is left of earlier blocks; returns how much that was.
local function take_out(dictionary, key)
  local left = dictionary:get(key) or 0
  if left <= 0 then return 0 end
  local after = dictionary:incr(key, -left)
  if not after then return 0 end
  if after < 0 then
    -- Calls have taken some since.
    dictionary:incr(key, -after)
    left = left + after
  end
  return max(0, left)
end

-- Put an answer into the dictionary. Whether there was room.
local function keep(at, answer)
  local dictionary, key, seconds = at.dictionary, at.key, at.ends - time() + AFTERLIFE
  if seconds <= 0 then return true end
  local ok, why = dictionary:safe_add(key, 0, seconds)
  if not ok and why ~= "exists" then return false end
  ok, why = dictionary:safe_add(key .. "#g", 0, seconds)
  if not ok and why ~= "exists" then return false end
  if not is_room(dictionary, key .. "#c", answer.counted, seconds)
    or not is_room(dictionary, key .. "#l", answer.left, seconds)
    or not is_room(dictionary, key .. "#m", at.limit, seconds) then return false end
  if answer.granted > 0 then
    dictionary:incr(key .. "#g", answer.granted)
    dictionary:incr(key, answer.granted)
  end
  return true
end

-- Ask the authority about the window `at`. Returns its answer, or nothing and a code.
local function exchange(at, need, least)
  local dictionary, key = at.dictionary, at.key
  local granted, returned = dictionary:get(key .. "#g") or 0, 0
  local by = dictionary:get(key .. "#m")
  if by and by ~= at.limit then
    returned = take_out(dictionary, key)
    dictionary:incr(key .. "#g", -returned)
    dictionary:delete(key .. "#f")
  end
  local answer = read(upcall.ask_for_block({
    window = key, ends = at.ends, limit = at.limit, bound = at.bound, need = need, least = least,
    granted = granted, returned = returned, counted = dictionary:get(key .. "#c") or at.before, period = at.period,
    birth = state:get("birth"),
  }))
  if not answer then return nil, UNAVAILABLE end
  alone = answer.store ~= STATES.answers
  state:set("limits_alone", alone)
  if not keep(at, answer) then return nil, OVERLOADED end
  return answer
end

local function lock(at, enough)
  local dictionary, key = at.dictionary, at.key
  for _ = 1, LOOKS do
    local ok, why = dictionary:safe_add(key .. "#w", 1, LOCK_SECONDS)
    if ok then return true end
    if why ~= "exists" then return false, OVERLOADED end
    sleep(LOOK_SECONDS)
    if (dictionary:get(key) or 0) >= enough then return false end
  end
  return false, OVERLOADED
end

-- The refusal that is remembered of a window; nil: none, or only of heavier calls.
local function remembered(at, weight)
  local from = at.dictionary:get(at.key .. "#f")
  if not from or weight < math.abs(from) then return nil end
  return from < 0 and AWAY or at.full
end

-- Get the next block, for `place.need` calls or in advance. Nothing: try again; else the code of a refusal.
local function fetch(at, place, enough)
  local locked, why = lock(at, enough)
  if not locked then return why end
  local dictionary, key = at.dictionary, at.key
  local ok, answer, code = pcall(function()
    if not at.stale and (dictionary:get(key) or 0) >= enough then return false end
    local held = not at.stale and remembered(at, place.least)
    if held then return nil, held end
    return exchange(at, place.need, place.least)
  end)
  dictionary:delete(key .. "#w")
  if not ok then
    ngx.log(ngx.ERR, "limits: ", answer)
    return UNAVAILABLE
  end
  if answer == false then return nil end
  if not answer then return code end
  at.low = answer.low
  if answer.granted > 0 or at.bound == 0 then return nil end
  local away = answer.store == STATES.refuse
  dictionary:safe_set(key .. "#f", away and -place.least or place.least, away and AWAY_SECONDS or FULL_SECONDS)
  return away and AWAY or at.full
end

-- A window as it is now: while a call waits, another may enter the next one.
local function snapshot(window, lease)
  return {
    key = window.key, dictionary = window.dictionary, limit = window.limit, ends = window.ends, stale = window.stale,
    before = window.before, bound = lease.report_only == 1 and 0 or 1, full = window.full or RATE_LIMITED,
    period = window.period or "",
  }
end

-- Have the next block of a window fetched, by this call or one that asks already. As `fetch`.
local function refill(window, lease)
  local at, weight = snapshot(window, lease), window.weight
  local place = asking[at.key]
  if place then
    if place.waiting >= MOST_WAITING then return OVERLOADED end
    place.waiting = place.waiting + 1
    place.need, place.least = place.need + weight, min(place.least, weight)
    place.semaphore = place.semaphore or semaphore.new()
    local ok = place.semaphore:wait(WAIT_SECONDS)
    place.waiting = place.waiting - 1
    return not ok and OVERLOADED or nil
  end
  place = { waiting = 0, need = weight, least = weight }
  asking[at.key] = place
  local ok, code = pcall(fetch, at, place, weight)
  asking[at.key] = nil
  if place.waiting > 0 then place.semaphore:post(place.waiting) end
  if not ok then
    ngx.log(ngx.ERR, "limits: ", code)
    return UNAVAILABLE
  end
  window.low = at.low or window.low
  return code
end

-- Fetch a block before the last one is spent.
local function fetch_ahead(premature, at, window)
  if not premature and not asking[at.key] and not remembered(at, 1) then
    local place = { waiting = 0, need = 1, least = 1 }
    asking[at.key] = place
    local ok, why = pcall(fetch, at, place, window.low)
    asking[at.key] = nil
    if place.waiting > 0 then place.semaphore:post(place.waiting) end
    if not ok then ngx.log(ngx.ERR, "limits: ", why) end
    window.low = at.low or window.low
  end
  window.ahead = false
end

local function look_ahead(window, lease)
  if window.ahead then return end
  window.ahead = timer_at(0, fetch_ahead, snapshot(window, lease), window) and true or false
end

-- A lease's quota as a window.
local function quota_of(lease)
  if lease.quota == 0 then return nil end
  return {
    limit = lease.quota, dictionary = long, kept = true, key = lease.quota_key, ends = lease.quota_ends,
    weight = lease.weight, before = lease.quota_used, full = QUOTA_EXCEEDED, period = lease.quota_period,
  }
end

local function prepared(lease)
  local all = {}
  for i, window in ipairs(lease.windows or { lease.window }) do all[i] = window end
  lease.quota_window = quota_of(lease)
  all[#all + 1] = lease.quota_window
  lease.shared = all
  return all
end

-- --- what replaces functions of `limits` ------------------------------------------------------------

-- Count a call without waiting; a code: it must take the slow path.
local function quick(lease, now)
  if not lease.shared then return OVERLOADED end
  local window, quota = lease.window, lease.quota_window
  local key, dictionary
  if window then
    local left = try(window, lease.profile, now)
    if not left then return OVERLOADED end
    if left < (window.low or 0) then look_ahead(window, lease) end
    key, dictionary = window.key, window.dictionary
    if lease.told then lease.rate_left = over_all(window, left, now) end
  end
  if quota then
    local left = try(quota, lease.profile, now)
    if not left then
      if key then dictionary:incr(key, lease.weight) end
      return OVERLOADED
    end
    if left < (quota.low or 0) then look_ahead(quota, lease) end
    if lease.told then lease.quota_left = over_all(quota, left, now) end
  end
end

-- Count a call in one window. Returns what this gateway has left of it, or nothing and the code of a refusal.
-- Last result: whether the call waited.
local function take(window, lease)
  local left = try(window, lease.profile, time())
  if left then return left, nil, false end
  for _ = 1, TRIES do
    local code = not window.stale and lease.report_only == 0 and remembered(snapshot(window, lease), window.weight)
    code = code or refill(window, lease)
    if code then return nil, code, true end
    -- The lease's first call in this window, or the first after a change of the limit.
    window.entered = false
    left = try(window, lease.profile, time())
    if left then return left, nil, true end
  end
  return nil, OVERLOADED, true
end

local function put_back(taken)
  for i = 1, #taken do taken[i].dictionary:incr(taken[i].key, taken[i].weight) end
end

-- What was counted for the lease's last call, to give it back.
local last

function M.give_back()
  if last then put_back(last) end
  last = nil
end

-- Fill in what is left of every limit, for the headers of a refusal.
local function look(lease)
  for _, window in ipairs(lease.shared) do
    local dictionary, key = window.dictionary, window.key
    local rest = dictionary:get(key .. "#l")
    window.left = rest and rest + max(0, dictionary:get(key) or 0) or max(0, window.limit - window.before)
  end
  if lease.window then lease.rate_left = lease.window.left end
  if lease.quota_window then lease.quota_left = lease.quota_window.left end
end

-- As `limits.spend`. Third result: the call waited for the authority.
local function spend(lease)
  local taken, waited, over = {}, false, nil
  for _, window in ipairs(lease.shared or prepared(lease)) do
    local left, code, has_waited = take(window, lease)
    waited = waited or has_waited
    if left then
      taken[#taken + 1] = { dictionary = window.dictionary, key = window.key, weight = window.weight }
      if left < (window.low or 0) then look_ahead(window, lease) end
      window.seen = 0
      window.left = over_all(window, left, time())
      if lease.report_only == 1 and not over and limits.used(window.dictionary, window.key, 0) > window.limit then
        over = window.full or RATE_LIMITED
      end
    elseif lease.report_only == 0 then
      put_back(taken)
      look(lease)
      local refusing = code == RATE_LIMITED or code == QUOTA_EXCEEDED
      return code, refusing and window.ends - time() or 1, waited
    end
  end
  if lease.window then lease.rate_left = lease.window.left end
  if lease.quota_window then lease.quota_left = lease.quota_window.left end
  last = taken
  return nil, over, waited
end

-- What is counted in one window over all gateways: what this one has left is not spent.
local function used(dictionary, key, before)
  local counted = dictionary:get(key .. "#c")
  return counted and max(0, counted - max(0, dictionary:get(key) or 0)) or before
end

local function dictionary_of(key)
  return long:get(key .. "#c") and long or short:get(key .. "#c") and short or nil
end

local function counted(key)
  local dictionary = dictionary_of(key)
  return dictionary and used(dictionary, key, 0)
end

local function held(key)
  local dictionary = dictionary_of(key)
  return dictionary and max(0, dictionary:get(key) or 0)
end

local function granted()
  local found = {}
  for _, dictionary in ipairs({ short, long }) do
    for _, entry in ipairs(dictionary:get_keys(0)) do
      local key = match(entry, "^(.+)#g$")
      local amount, seconds = key and dictionary:get(entry), key and dictionary:ttl(entry)
      if amount and amount > 0 and seconds then found[key] = { amount, math.floor(seconds) } end
    end
  end
  return found
end

-- Put a module's functions in the place of those that count on one gateway.
function M.replace(of)
  local told, usage = of.told, of.usage
  of.spend, of.quick, of.give_back = spend, quick, M.give_back
  function of.tick() alone = state:get("limits_alone") or false end
  of.used, of.counted, of.held, of.granted = used, counted, held, granted
  -- A parameter says that this gateway counts alone.
  function of.told(lease, now)
    local text = told(lease, now)
    return alone and gsub(text, ",", ";local=?1,") .. ";local=?1" or text
  end
  -- The figures of all gateways, not those of this one's last block.
  function of.usage(lease, now)
    for _, window in ipairs(lease.shared or prepared(lease)) do
      if window.ends <= now or not window.entered then enter_shared(window, lease.profile, now) end
      exchange(snapshot(window, lease), 0, 1)
    end
    return usage(lease, now)
  end
end

return M

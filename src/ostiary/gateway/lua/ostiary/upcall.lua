-- Asking the authority about a call that has no lease. A question is its length, a line end, and the
-- fields of `contract.question`, one a line; the answer is framed alike.
--
-- After any failure there is no answer, and the call is refused. The upcalls of one address that run at the
-- same time are bounded, so that a flood from it does not delay the first calls of others.

local contract = require "contract"
local semaphore = require "ngx.semaphore"
local callers = require "ostiary.callers"

local state = ngx.shared.state
local concat, find, ipairs, tonumber = table.concat, string.find, ipairs, tonumber

local M = {}

local settings
-- Milliseconds. An answer that takes longer would come after the caller has left.
local CONNECT_MS, SEND_MS, ANSWER_MS = 500, 500, 2000
-- Seconds that a call waits for its address's turn, and calls of one address that may wait.
local TURN_SECONDS, MOST_WAITING = 1, 64
local LONGEST_ANSWER = 4096
local POOL_SECONDS = 60

-- address → { under way, waiting, semaphore }
local places = {}
local under_way = 0

function M.init_worker(options)
  settings = options
end

local function text_of(question)
  local parts = {}
  for i, name in ipairs(contract.question) do parts[i] = question[name] end
  return concat(parts, "\n")
end

local function exchange(sock, text)
  if not sock:send(#text .. "\n" .. text) then return nil end
  local line = sock:receive("*l")
  local length = line and find(line, "^%d+$") and tonumber(line)
  if not length or length < 1 or length > LONGEST_ANSWER then return nil end
  return sock:receive(length)
end

local function connected()
  local sock = ngx.socket.tcp()
  sock:settimeouts(CONNECT_MS, SEND_MS, ANSWER_MS)
  if not sock:connect("unix:" .. settings.upcall_socket) then return nil end
  return sock
end

local function asked(text)
  for _ = 1, 2 do
    local sock = connected()
    if not sock then return nil end
    local reused = (sock:getreusedtimes() or 0) > 0
    local answer = exchange(sock, text)
    if answer then
      sock:setkeepalive(POOL_SECONDS * 1000, settings.upcall_pool)
      return answer
    end
    sock:close()
    -- A connection from the pool may have ended with an authority that stopped.
    if not reused then return nil end
  end
end

local function enter(group)
  local place = places[group]
  if not place then
    place = { n = 0, waiting = 0 }
    places[group] = place
  end
  if place.n >= settings.upcalls_per_address then
    if place.waiting >= MOST_WAITING then return nil end
    place.semaphore = place.semaphore or semaphore.new()
    place.waiting = place.waiting + 1
    local ok = place.semaphore:wait(TURN_SECONDS)
    place.waiting = place.waiting - 1
    if not ok then return nil end
  end
  place.n = place.n + 1
  return place
end

local function leave(group, place)
  place.n = place.n - 1
  if place.waiting > 0 then
    place.semaphore:post(1)
  elseif place.n == 0 then
    places[group] = nil
  end
end

local function exchanged(text)
  local ok, answer = pcall(asked, text)
  state:incr("upcalls_asked", 1, 0)
  if not ok or not answer then
    state:incr("upcalls_failed", 1, 0)
    return nil
  end
  return answer
end

local function answered(question)
  return exchanged(text_of(question))
end

-- The authority's answer as text, or nil. Second result: whether there was no room to ask.
function M.ask(question)
  if under_way >= settings.upcalls then
    state:incr("upcalls_refused", 1, 0)
    return nil, true
  end
  local group = callers.group(question.address)
  under_way = under_way + 1
  -- An error must not keep the place that was counted.
  local ok, place = pcall(enter, group)
  if not ok or not place then
    under_way = under_way - 1
    state:incr("upcalls_refused", 1, 0)
    return nil, true
  end
  local answer = answered(question)
  leave(group, place)
  under_way = under_way - 1
  return answer
end

-- The same for an open call. It does not wait behind its caller's first calls: the caller of this function
-- bounds the number of such questions.
M.ask_again = answered

-- The same for a block of a limit; `fields` are those of `contract.ask`. Such questions are bounded by the caller.
function M.ask_for_block(fields)
  local parts = { contract.asking }
  for i, name in ipairs(contract.ask) do parts[i + 1] = fields[name] end
  return exchanged(concat(parts, "\n"))
end

return M
